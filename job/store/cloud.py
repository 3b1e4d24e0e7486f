"""Object storage through obstore: GCS, Azure, and the base class of `job.store.s3`.

obstore's runtime does not survive a fork. So each process has its own clients: `job.store.link` makes them at the first
operation, and keeps them. `job.store.faults` translates obstore's errors.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import obstore as client_library
import pyarrow as pa
from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError

from job.errors import NotFoundError, PartitionError, UnreachableError
from job.keys import ObjectInfo
from job.store.address import delta_uri, folder_prefix
from job.store.base import LISTING, Progress, Store
from job.store.faults import from_obstore, gave_up, status_of
from job.store.link import Link, link_of
from job.store.trust import trust

if TYPE_CHECKING:
    from typing_extensions import Buffer

obstore: Any = client_library  # its own types would have to be spelled out for each call
_RAISED = (BaseError, OSError, ValueError)
_BULK = 16_000_000
_DELETE_BATCH = 1000
_WRITE_ID = "manyfitwrite"
"""Name of the metadata of an object that identifies the write. Azure allows only letters."""


class CloudStore(Store):
    """A bucket or container, and a prefix in it."""

    _cached: Link | None = None
    _reached = False

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name != "_cached"}
        # If this process has reached the store, the process that unpickles it retries patiently from the start.
        state["_reached"] = self._reached or (self._cached is not None and self._cached.reached)
        return state

    @property
    def _link(self) -> Link:
        link = self._cached
        if link is None or link.pid != os.getpid():
            link = self._cached = link_of(self._link_type(), self.address, self.settings, self.what)
            link.reached = link.reached or self._reached
        return link

    def _link_type(self) -> type[Link]:
        return Link

    def _fail(self, error: BaseException, action: str, name: str) -> Exception:
        if isinstance(error, ValueError) and "parse path" in str(error):
            return PartitionError("unsupported_key", f"the object's name {name!r} cannot be addressed: {error}")
        return from_obstore(error, self._link.place, action, name)

    # -- listing --------------------------------------------------------------------------------------------------

    def list(self, prefix: str = "", *, progress: Progress | None = None) -> pa.Table:
        """See `Store.list`."""
        root = self.address.key("")
        link = self._link
        batches = []
        total = 0
        try:
            start = (root + folder_prefix(prefix)).rstrip("/") or None
            for page in obstore.list(link.client(), start, chunk_size=1000):
                columns = [[row[key] for row in page] for key in ("path", "size", "e_tag", "last_modified")]
                columns[0] = [path[len(root) :] for path in columns[0]]
                arrays = [pa.array(column, field.type) for column, field in zip(columns, LISTING, strict=True)]
                batches.append(pa.RecordBatch.from_arrays(arrays, schema=LISTING))
                total += len(page)
                if progress:
                    progress(total)
        except _RAISED as error:
            raise self._fail(error, "list", prefix) from error
        link.reached = True
        return pa.Table.from_batches(batches, LISTING)

    def prefixes(self, prefix: str = "") -> Sequence[str]:
        """See `Store.prefixes`."""
        link = self._link
        try:
            start = self.address.key(folder_prefix(prefix)).rstrip("/") or None
            found = obstore.list_with_delimiter(link.client(), start)
        except _RAISED as error:
            raise self._fail(error, "list", prefix) from error
        link.reached = True
        return sorted(path.rstrip("/").rpartition("/")[2] for path in found["common_prefixes"])

    # -- reading --------------------------------------------------------------------------------------------------

    def get(self, name: str, *, if_match: str | None = None) -> Buffer:
        """See `Store.get`."""
        options = {"if_match": if_match} if if_match else None
        return self._read(name, options)

    def part(self, name: str, begin: int, end: int, *, if_match: str | None = None) -> Buffer:
        """See `Store.part`."""
        if end <= begin:
            return b""
        options: dict[str, Any] = {"range": (begin, end)}
        return self._read(name, {**options, "if_match": if_match} if if_match else options)

    def _read(self, name: str, options: dict[str, Any] | None) -> Buffer:
        self._check(name)
        link = self._link
        try:
            data: Buffer = obstore.get(link.client(), self.address.key(name), options=options).bytes()
        except _RAISED as error:
            raise self._fail(error, "read", name) from error
        link.reached = True
        return data

    def head(self, name: str) -> ObjectInfo | None:
        """See `Store.head`."""
        self._check(name)
        link = self._link
        try:
            found = obstore.head(link.client(), self.address.key(name))
        except _RAISED as error:
            failure = self._fail(error, "look up", name)
            # An answer to HEAD has no body: a missing bucket looks like a missing object. The next request tells.
            if isinstance(error, FileNotFoundError) and isinstance(failure, NotFoundError):
                return None
            raise failure from error
        link.reached = True
        return ObjectInfo(
            name=name, size=found["size"], etag=found["e_tag"], modified=found["last_modified"].timestamp()
        )

    # -- writing --------------------------------------------------------------------------------------------------

    def create(self, name: str, data: bytes) -> bool:
        """See `Store.create`.

        obstore does not repeat a create whose answer was lost. It repeats one after a server error, and the repeated
        create may be refused because the first one has written the object. So each create has a unique id in the
        object's metadata, and is repeated with the same bytes and id. If the store answers "exists", the id tells
        whether this call wrote the object.
        """
        self._check(name)
        if self.settings.single_writer and self.head(name) is not None:
            return False
        link, key = self._link, self.address.key(name)
        write = uuid4().hex
        pauses = link.pauses()
        while True:
            client = link.client(bulk=len(data) > _BULK)
            try:
                obstore.put(client, key, data, mode="create", attributes={_WRITE_ID: write}, use_multipart=False)
            except AlreadyExistsError:
                found = self._writer(key, name)
                if found is not None:
                    link.reached = True
                    return found == write
                # 409: another create of this object was in progress, and failed.
                failure: Exception = link.place.unreachable("409 conflicting writes")
            except _RAISED as error:
                if self.settings.single_writer and _not_supported(error):
                    self.put(name, data)
                    return True
                failure = self._fail(error, "write", name)
                if not isinstance(failure, UnreachableError) or gave_up(error):
                    raise failure from error
            else:
                link.reached = True
                return True
            pause = next(pauses, None)
            if pause is None:
                raise failure
            time.sleep(pause)

    def _writer(self, key: str, name: str) -> str | None:
        """The write id of an object; "" if it has none, None if there is no object."""
        try:
            found = obstore.get(self._link.client(), key, options={"head": True})
        except FileNotFoundError:
            return None
        except _RAISED as error:
            raise self._fail(error, "look up", name) from error
        return str(found.attributes.get(_WRITE_ID, ""))

    def put(self, name: str, data: bytes) -> None:
        """See `Store.put`."""
        self._check(name)
        link = self._link
        pauses = link.pauses()
        while True:
            try:
                obstore.put(link.client(bulk=len(data) > _BULK), self.address.key(name), data, use_multipart=False)
            except _RAISED as error:
                failure = self._fail(error, "write", name)
                pause = next(pauses, None)
                if status_of(error) != 409 or pause is None:
                    raise failure from error
                time.sleep(pause)
            else:
                link.reached = True
                return

    def delete(self, names: Iterable[str]) -> int:
        """See `Store.delete`."""
        link = self._link
        count = 0
        given = iter(names)
        while batch := [*itertools.islice(given, _DELETE_BATCH)]:
            for name in batch:
                self._check(name)
            keys = [self.address.key(name) for name in batch]
            try:
                obstore.delete(link.client(), keys)
            except FileNotFoundError:
                self._delete_one_by_one(keys)
            except _RAISED as error:
                if not _not_supported(error):
                    raise self._fail(error, "delete", batch[0]) from error
                self._delete_one_by_one(keys)
            count += len(batch)
        return count

    def _delete_one_by_one(self, keys: Sequence[str]) -> None:
        for key in keys:
            try:
                obstore.delete(self._link.client(bulk_delete=False), key)
            except FileNotFoundError:
                continue
            except _RAISED as error:
                raise self._fail(error, "delete", key) from error

    # -- the rest -------------------------------------------------------------------------------------------------

    def delta(self) -> tuple[str, dict[str, str]]:
        """See `Store.delta`."""
        if not self._link.reached:
            # deltalake would retry a wrong endpoint for minutes, and its error would say less.
            self.check()
        certificate = self._link.certificate()
        if certificate:
            trust(certificate)
        return delta_uri(self.address), self._link.delta_options()


def _not_supported(error: BaseException) -> bool:
    return (
        isinstance(error, NotSupportedError) or status_of(error) in (405, 501) or "NotImplemented" in str(error)[:1500]
    )
