"""A store in the memory of this process, for tests. All stores of the same name share one dictionary."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa

from job.errors import ChangedError, NotFoundError, StoreError
from job.keys import ObjectInfo
from job.store.address import folder_prefix
from job.store.base import LISTING, Progress, Store


@dataclass
class _Objects:
    lock: threading.Lock = field(default_factory=threading.Lock)
    objects: dict[str, tuple[bytes, str, float]] = field(default_factory=dict)
    versions: itertools.count[int] = field(default_factory=itertools.count)


_REGISTRY: dict[str, _Objects] = {}
_REGISTRY_LOCK = threading.Lock()


class MemoryStore(Store):
    """Object storage as a dictionary. It is linearizable, and ends with the process."""

    @property
    def _memory(self) -> _Objects:
        with _REGISTRY_LOCK:
            return _REGISTRY.setdefault(self.address.bucket, _Objects())

    def list(self, prefix: str = "", *, progress: Progress | None = None) -> pa.Table:
        """See `Store.list`."""
        root = self.address.key("")
        start = root + folder_prefix(prefix)
        with self._memory.lock:
            found = sorted((key, value) for key, value in self._memory.objects.items() if key.startswith(start))
        if progress:
            progress(len(found))
        columns = [
            [key[len(root) :] for key, _ in found],
            [len(data) for _, (data, _, _) in found],
            [etag for _, (_, etag, _) in found],
            [datetime.fromtimestamp(modified, UTC) for _, (_, _, modified) in found],
        ]
        return pa.table(
            [pa.array(column, field.type) for column, field in zip(columns, LISTING, strict=True)], schema=LISTING
        )

    def prefixes(self, prefix: str = "") -> Sequence[str]:
        """See `Store.prefixes`."""
        start = folder_prefix(prefix)
        names = (name[len(start) :] for name in self.list(start)["name"].to_pylist())
        return sorted({name.partition("/")[0] for name in names if "/" in name})

    def get(self, name: str, *, if_match: str | None = None) -> bytes:
        """See `Store.get`."""
        self._check(name)
        with self._memory.lock:
            found = self._memory.objects.get(self.address.key(name))
        if found is None:
            raise NotFoundError(f"{name!r} does not exist in {self.uri}")
        if if_match is not None and if_match != found[1]:
            raise ChangedError(f"{name!r} in {self.uri} is not the object that was listed")
        return found[0]

    def head(self, name: str) -> ObjectInfo | None:
        """See `Store.head`."""
        self._check(name)
        with self._memory.lock:
            found = self._memory.objects.get(self.address.key(name))
        return None if found is None else ObjectInfo(name=name, size=len(found[0]), etag=found[1], modified=found[2])

    def create(self, name: str, data: bytes) -> bool:
        """See `Store.create`."""
        self._check(name)
        with self._memory.lock:
            if self.address.key(name) in self._memory.objects:
                return False
            self._write(name, data)
        return True

    def put(self, name: str, data: bytes) -> None:
        """See `Store.put`."""
        self._check(name)
        with self._memory.lock:
            self._write(name, data)

    def _write(self, name: str, data: bytes) -> None:
        etag = f'"{next(self._memory.versions):x}"'
        self._memory.objects[self.address.key(name)] = (bytes(data), etag, datetime.now(UTC).timestamp())

    def delete(self, names: Iterable[str]) -> int:
        """See `Store.delete`."""
        given = [self.address.key(name) for name in names]
        with self._memory.lock:
            for key in given:
                self._memory.objects.pop(key, None)
        return len(given)

    def delta(self) -> tuple[str, dict[str, str]]:
        """Always raises StoreError: the memory stores of deltalake are not shared between handles."""
        raise StoreError(f"{self.uri} cannot hold a Delta table", hint="Use a folder; on a tmpfs it is memory as well.")
