"""An object as a file that can be read at any place: what parquet's readers want. Nothing is kept but its pin."""

from __future__ import annotations

import io
from typing import Any

from job.store.base import Store


class StoredFile(io.RawIOBase):
    """A pinned object, read in parts.

    Parameters
    ----------
    store
        Where it lies.
    name
        Below the store.
    size
        Bytes, as listed.
    etag
        The listed ETag: other bytes than those raise `job.errors.ChangedError`, at whatever read.
    """

    def __init__(self, store: Store, name: str, size: int, etag: str | None) -> None:
        super().__init__()
        self._store, self._name, self._size, self._etag = store, name, size, etag
        self._at = 0

    def close(self) -> None:
        """Does nothing: a reader that closes the file, as Arrow's readers do, leaves it usable."""

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.RawIOBase`."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def size(self) -> int:
        """Bytes."""
        return self._size

    def read(self, size: int | None = -1) -> bytes:
        """See `io.RawIOBase`; never fewer bytes than asked for before the end."""
        end = self._size if size is None or size < 0 else min(self._size, self._at + size)
        data = self.between(self._at, end)
        self._at = max(self._at, end)
        return data if isinstance(data, bytes) else bytes(data)

    def readinto(self, buffer: Any) -> int:
        """See `io.RawIOBase`."""
        data = self.read(memoryview(buffer).nbytes)
        memoryview(buffer).cast("B")[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        """See `io.RawIOBase`."""
        return self.read()

    def between(self, begin: int, end: int) -> Any:
        """Read any part; the position stays."""
        if begin >= end:
            return b""
        return self._store.part(self._name, begin, end, if_match=self._etag)
