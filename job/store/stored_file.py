"""An object as a seekable file, as Parquet readers need it. Only its name, size and ETag are held."""

from __future__ import annotations

import io
from typing import Any

from job.store.base import Store


class StoredFile(io.RawIOBase):
    """A pinned object, read in parts.

    Parameters
    ----------
    store
        The store of the object.
    name
        Name of the object in the store.
    size
        Its size in bytes, from the listing.
    etag
        Its ETag, from the listing. If the object has changed, a read raises `job.errors.ChangedError`.
    """

    def __init__(self, store: Store, name: str, size: int, etag: str | None) -> None:
        super().__init__()
        self._store, self._name, self._size, self._etag = store, name, size, etag
        self._at = 0

    def again(self) -> StoredFile:
        """The same object with a position of its own, for another thread."""
        return StoredFile(self._store, self._name, self._size, self._etag)

    def close(self) -> None:
        """Does nothing, so that the file stays usable after a reader has closed it, as Arrow's readers do."""

    def readable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Always true."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.RawIOBase`."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """The position at which the next read begins."""
        return self._at

    def size(self) -> int:
        """The size in bytes."""
        return self._size

    def read(self, size: int | None = -1) -> bytes:
        """See `io.RawIOBase`. Returns fewer bytes than requested only at the end of the file."""
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
        """Read the bytes from ``begin`` up to, but not including, ``end``. The position does not change."""
        if begin >= end:
            return b""
        return self._store.part(self._name, begin, end, if_match=self._etag)
