"""S3 and what speaks its language: obstore moves the data, boto3 lists and finds the credentials.

Credentials come from boto3's whole chain (environment, profile, web identity, container, machine) and are handed to
obstore by a callback that boto3 refreshes. None are ever kept in a store, so none are pickled.
"""

from __future__ import annotations

import re
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.config
import botocore.exceptions
import botocore.parsers
import pyarrow as pa
import pyarrow.compute
from botocore import UNSIGNED
from botocore.configprovider import ConfiguredEndpointProvider
from obstore import store as obstores
from obstore.exceptions import BaseError

from job.errors import ConfigurationError, UnreachableError
from job.settings import StorageSide
from job.store.address import Address, folder_prefix
from job.store.base import LISTING, Progress
from job.store.cloud import CloudStore
from job.store.faults import from_botocore
from job.store.link import Link
from job.store.listing import Page, parse_page

_obstores: Any = obstores  # its own types would have to be spelled out for each option
_BUCKET = re.compile(r"[A-Za-z0-9.\-_]{1,255}\Z")
_BOTO = (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError)
_BROKEN = (
    botocore.exceptions.HTTPClientError,
    botocore.exceptions.IncompleteReadError,
    botocore.parsers.ResponseParserError,
    ElementTree.ParseError,
    pa.ArrowInvalid,
    ValueError,
)
"""a page that did not arrive whole; botocore does not repeat these by itself"""
_PAGE_TRIES = 4
_CREDENTIALS_TTL = timedelta(minutes=15)


class S3Link(Link):
    """boto3's session and clients, and obstore's, for one bucket."""

    def __init__(self, address: Address, settings: StorageSide, what: str) -> None:
        super().__init__(address, settings, what)
        if not _BUCKET.match(address.bucket):
            raise ConfigurationError(f"{what}.uri names the impossible bucket {address.bucket!r}")
        self._making = threading.RLock()
        self._boto: dict[bool, Any] = {}
        try:
            self.session = boto3.Session(profile_name=settings.profile, region_name=settings.region)
            core = self.session._session
            self.region = self.session.region_name or "us-east-1"
            self.custom_endpoint: str | None = (
                settings.endpoint
                or ConfiguredEndpointProvider(
                    full_config=core.full_config, scoped_config=core.get_scoped_config(), client_name="s3"
                ).provide()
            )
            self._bundle: str | None = settings.ca or core.get_config_variable("ca_bundle")
        except botocore.exceptions.ProfileNotFound as error:
            raise ConfigurationError(
                f"storage.profile {settings.profile or 'AWS_PROFILE'!r}: {error}",
                hint="Correct storage.profile, or AWS_PROFILE in the environment.",
            ) from error
        except _BOTO as error:
            raise ConfigurationError(f"the AWS configuration cannot be used: {error}") from error
        if self.custom_endpoint and urlsplit(self.custom_endpoint).scheme not in ("http", "https"):
            raise ConfigurationError(
                f"storage.endpoint {self.custom_endpoint!r} is not an address",
                hint="Write http://host:port or https://host.",
            )

    @property
    def endpoint(self) -> str:
        """Address of the service."""
        if self.custom_endpoint:
            return self.custom_endpoint.rstrip("/")
        suffix = ".cn" if self.region.startswith("cn-") else ""
        return f"https://s3.{self.region}.amazonaws.com{suffix}"

    @property
    def path_style(self) -> bool:
        """The bucket in the path: by default with an endpoint of one's own, and for names a host cannot have."""
        if self.settings.path_style is not None:
            return self.settings.path_style
        return bool(self.custom_endpoint) or "." in self.address.bucket

    def certificate(self) -> str | None:
        """File with the certificate authority, if one is configured."""
        return self._bundle

    def credentials(self) -> Any:
        """What boto3's chain finds.

        Raises
        ------
        DeniedError
            It finds nothing, or fails.
        """
        try:
            with self._making:
                found = self.session.get_credentials()
        except _BOTO as error:
            raise from_botocore(error, self.place, "open", self.address.uri) from error
        if found is None:
            raise self.place.no_credentials("none in the environment, a profile or this machine's role")
        return found

    def boto(self) -> Any:
        """The boto3 client of this process."""
        patient = self.reached
        with self._making:
            client = self._boto.get(patient)
            if client is None:
                client = self._boto[patient] = self._make_boto()
            return client

    def _make_boto(self) -> Any:
        if not self.settings.anonymous:
            self.credentials()
        checksums = self.settings.checksums or ("when_required" if self.custom_endpoint else "when_supported")
        config = botocore.config.Config(
            connect_timeout=5,
            read_timeout=self.timeout,
            retries={"total_max_attempts": self.retries + 1, "mode": "standard"},
            max_pool_connections=32,
            request_checksum_calculation=checksums,
            response_checksum_validation=checksums,
            user_agent_extra="manyfit",
            s3={"addressing_style": "path" if self.path_style else "virtual"},
            **({"signature_version": UNSIGNED} if self.settings.anonymous else {}),
        )
        client = self.session.client(
            "s3", region_name=self.region, endpoint_url=self.custom_endpoint, config=config, verify=self._bundle
        )
        client.meta.events.register("before-parse.s3.ListObjectsV2", _parse_quickly)
        return client

    def _open(self, options: dict[str, Any], retry: dict[str, Any], bulk_delete: bool) -> Any:
        endpoint = self.endpoint
        if not self.path_style:
            parts = urlsplit(endpoint)
            endpoint = f"{parts.scheme}://{self.address.bucket}.{parts.netloc}{parts.path}"
        config: dict[str, Any] = {
            "endpoint": endpoint,
            "region": self.region,
            "virtual_hosted_style_request": not self.path_style,
            "conditional_put": "etag",
            "disable_tagging": True,
            "disable_bulk_delete": not bulk_delete,
        }
        if self.settings.checksums == "when_supported":
            config["checksum_algorithm"] = "SHA256"
        provider = None
        if self.settings.anonymous:
            config["skip_signature"] = True
        else:
            provider = self._provider()
        try:
            return _obstores.S3Store(
                self.address.bucket,
                config=config,
                client_options=options,
                retry_config=retry,
                credential_provider=provider,
            )
        except (BaseError, ValueError, OSError, TypeError) as error:
            first = str(error).partition("\n")[0]
            raise ConfigurationError(f"{self.what}.uri {self.address.uri!r} cannot be opened: {first}") from error

    def _provider(self) -> Callable[[], dict[str, Any]]:
        found = self.credentials()

        def credentials() -> dict[str, Any]:
            frozen = found.get_frozen_credentials()
            # Only temporary ones have this; boto3 renews a quarter of an hour ahead, obstore asks five minutes ahead.
            end = getattr(found, "_expiry_time", None)
            soon = datetime.now(UTC) + _CREDENTIALS_TTL
            return {
                "access_key_id": frozen.access_key,
                "secret_access_key": frozen.secret_key,
                "token": frozen.token,
                "expires_at": min(end, soon) if end else None,
            }

        return credentials

    def delta_options(self) -> dict[str, str]:
        """Storage options for the deltalake package, with the credentials of this moment."""
        parts = urlsplit(self.endpoint)
        host = parts.netloc if self.path_style else f"{self.address.bucket}.{parts.netloc}"
        options = {
            "aws_endpoint": f"{parts.scheme}://{host}{parts.path}",
            "aws_region": self.region,
            "aws_virtual_hosted_style_request": str(not self.path_style).lower(),
            "timeout": f"{int(self.timeout * 5)}s",
            "connect_timeout": "5s",
            "max_retries": str(self.retries),
        }
        if self.settings.single_writer:
            options["aws_s3_allow_unsafe_rename"] = "true"
        else:
            options["aws_conditional_put"] = "etag"
        if parts.scheme == "http":
            options["aws_allow_http"] = "true"
        if self.settings.anonymous:
            options["aws_skip_signature"] = "true"
            return options
        frozen = self.credentials().get_frozen_credentials()
        options["aws_access_key_id"] = frozen.access_key
        options["aws_secret_access_key"] = frozen.secret_key
        if frozen.token:
            options["aws_session_token"] = frozen.token
        return options


def _parse_quickly(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    if response_dict.get("status_code") == 200:
        page = parse_page(response_dict["body"])
        if page is not None:
            customized_response_dict["Page"] = page
            response_dict["body"] = b""


class S3Store(CloudStore):
    """A bucket of S3, and a prefix in it."""

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
        batches: list[pa.RecordBatch] = []
        total = 0
        token: str | None = None
        while True:
            page = self._page(root + folder_prefix(prefix), token=token)
            batches.append(page.objects)
            total += page.objects.num_rows
            if progress:
                progress(total)
            token = page.token
            if token is None:
                break
        table = pa.Table.from_batches(batches, LISTING)
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
        """The store's clock, from the Date of an answer; to the second, rounded down."""
        answer = self._answer(Prefix=self.address.key(""), MaxKeys=1)
        date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        try:
            return parsedate_to_datetime(str(date)).astimezone(UTC)
        except ValueError:
            return datetime.now(UTC)

    def _page(self, prefix: str, *, token: str | None = None, delimiter: str | None = None) -> Page:
        given = {"Prefix": prefix, "ContinuationToken": token, "Delimiter": delimiter}
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
                if tries >= _PAGE_TRIES or not link.reached or isinstance(error, botocore.exceptions.ConnectionError):
                    failure = from_botocore(error, link.place, "list", request.get("Prefix", ""))
                    if isinstance(error, ValueError):
                        failure = UnreachableError(
                            f"{link.endpoint} does not answer as an S3 server does: {error}",
                            hint="Check storage.endpoint: is it the S3 port, and not a web console's?",
                        )
                    raise failure from error
                time.sleep(0.2 * tries)
            except _BOTO as error:
                raise from_botocore(error, link.place, "list", request.get("Prefix", "")) from error
            else:
                link.reached = True
                return answer
