"""S3 and compatible servers: obstore reads and writes objects, boto3 lists them.

With obstore one name such as ``p//b`` makes the whole listing fail, and some names are changed. boto3 returns every
name as it is.
"""

from __future__ import annotations

import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import botocore.exceptions
import botocore.parsers
import pyarrow as pa
import pyarrow.compute

from job.errors import ConfigurationError, UnreachableError
from job.store.address import folder_prefix
from job.store.base import LISTING, Progress
from job.store.cloud import CloudStore
from job.store.faults import from_botocore
from job.store.list_page import Page
from job.store.list_ranges import list_ranges
from job.store.s3_link import BOTO_ERRORS, S3Link

_BROKEN = (
    botocore.exceptions.ResponseStreamingError,
    botocore.exceptions.IncompleteReadError,
    botocore.parsers.ResponseParserError,
    ElementTree.ParseError,
    ValueError,
)
"""errors for an answer that is incomplete or damaged; botocore does not repeat such a request by itself"""
_TRIES = 4


class S3Store(CloudStore):
    """A prefix in a bucket of S3."""

    def _link_type(self) -> type[S3Link]:
        return S3Link

    @property
    def _s3(self) -> S3Link:
        link = self._link
        assert isinstance(link, S3Link)
        return link

    def list(self, prefix: str = "", *, progress: Progress | None = None) -> pa.Table:
        """See `Store.list`."""
        root = self.address.key("")
        start = root + folder_prefix(prefix)
        table = list_ranges(lambda token, after: self._page(start, token=token, after=after), start, progress=progress)
        if root:
            names = pa.compute.utf8_slice_codeunits(table["name"], len(root))
            table = table.set_column(0, LISTING.field("name"), names)
        return table

    def prefixes(self, prefix: str = "") -> Sequence[str]:
        """See `Store.prefixes`."""
        start = self.address.key(folder_prefix(prefix))
        found: set[str] = set()
        token: str | None = None
        while True:
            page = self._page(start, token=token, delimiter="/")
            found.update(each[len(start) :].rstrip("/") for each in page.prefixes)
            token = page.token
            if token is None:
                return sorted(found)

    def check(self) -> None:
        """See `Store.check`."""
        self._answer(Prefix=self.address.key(""), MaxKeys=1)

    def now(self) -> datetime:
        """The time by the store's clock, from the Date header of an answer, rounded down to the second."""
        answer = self._answer(Prefix=self.address.key(""), MaxKeys=1)
        date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        try:
            return parsedate_to_datetime(str(date)).astimezone(UTC)
        except ValueError:
            return datetime.now(UTC)

    def _page(
        self, prefix: str, *, token: str | None = None, after: str | None = None, delimiter: str | None = None
    ) -> Page:
        given = {"Prefix": prefix, "ContinuationToken": token, "StartAfter": after, "Delimiter": delimiter}
        page: Page = self._answer(**{name: value for name, value in given.items() if value})["Page"]
        return page

    def _answer(self, **request: Any) -> dict[str, Any]:
        link = self._s3
        tries = 0
        while True:
            try:
                answer: dict[str, Any] = link.boto().list_objects_v2(
                    Bucket=self.address.bucket, EncodingType="url", **request
                )
                if "Page" not in answer:
                    raise ValueError("the answer is not a listing")
            except botocore.exceptions.ParamValidationError as error:
                raise ConfigurationError(f"{self.what}.uri {self.uri!r} cannot be used: {error}") from error
            except _BROKEN as error:
                tries += 1
                if tries >= (_TRIES if link.reached else 2):
                    failure = from_botocore(error, link.place, "list", request.get("Prefix", ""))
                    if isinstance(error, ValueError):
                        failure = UnreachableError(
                            f"{link.endpoint} does not answer as an S3 server does: {error}",
                            hint="Check storage.endpoint: is it the S3 port, and not a web console's?",
                        )
                    raise failure from error
                time.sleep(0.2 * tries)
            except BOTO_ERRORS as error:
                raise from_botocore(error, link.place, "list", request.get("Prefix", "")) from error
            else:
                link.reached = True
                return answer
