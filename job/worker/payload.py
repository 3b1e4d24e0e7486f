"""What was read for one key, ready to be compared and fitted: bytes of objects, or rows of a table."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from job import reader
from job.plan.fingerprint import content_digest
from job.reader.spec import ReadSpec
from job.worker import row_order


class Blobs:
    """The bytes of a key's objects.

    Parameters
    ----------
    blobs
        Name and bytes (any buffer) of each, in the order of names. Emptied by `rows`: a fit needs the memory.
    """

    __slots__ = ("_blobs",)

    def __init__(self, blobs: list[tuple[str, Any]]) -> None:
        self._blobs = blobs

    def content(self) -> str:
        """SHA-256 of the bytes."""
        return content_digest(blob for _, blob in self._blobs)

    def rows(self, spec: ReadSpec) -> pa.Table:
        """All rows of the objects, in the order of their names."""
        table = reader.read(self._blobs, spec)
        self._blobs.clear()
        return table

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ([(name, bytes(blob)) for name, blob in self._blobs],)


class Rows:
    """The rows of a key, put into one order whatever order they came in.

    Parameters
    ----------
    table
        All rows of the key. `rows` lets go of them.
    """

    __slots__ = ("_held",)

    def __init__(self, table: pa.Table) -> None:
        self._held = [row_order.ordered(table)]

    def content(self) -> str:
        """SHA-256 of the rows, the same for every order of them."""
        return row_order.digest(self._held[0])

    def rows(self, spec: ReadSpec) -> pa.Table:
        """The rows, in one order."""
        return self._held.pop()


class TableRows:
    """The rows of a key in the order of the table's files, with their digest.

    Parameters
    ----------
    held
        The rows, as the only element: `rows` lets go of them.
    digest
        See `job.worker.row_digest`.
    """

    __slots__ = ("_digest", "_held")

    def __init__(self, held: list[pa.Table], digest: str) -> None:
        self._held, self._digest = held, digest

    def content(self) -> str:
        """Digest of the rows, the same for every order of them."""
        return self._digest

    def rows(self, spec: ReadSpec) -> pa.Table:
        """The rows, in the order of the table's files."""
        return self._held.pop()
