"""The data of one key, ready to be compared and fitted: bytes of objects, or rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from job import reader
from job.plan.fingerprint import content_digest
from job.reader import earlier
from job.reader.key_types import declared_rows, key_levels, typed_rows
from job.reader.spec import ReadSpec
from job.reader.table_file import FILE, LINE
from job.reader.table_scan import TEXTS, TableScan
from job.worker import row_order


class Blobs:
    """The bytes of a key's objects.

    Parameters
    ----------
    blobs
        Name and bytes (any buffer) of each object, sorted by name. `rows` empties the list, to free memory for the fit.
    """

    __slots__ = ("_blobs",)

    def __init__(self, blobs: list[tuple[str, Any]]) -> None:
        self._blobs = blobs

    def content(self) -> str:
        """SHA-256 of the bytes of all objects."""
        return content_digest(blob for _, blob in self._blobs)

    def rows(self, spec: ReadSpec) -> pa.Table:
        """All rows of the objects, in the order of their names."""
        table = reader.read(self._blobs, spec)
        self._blobs.clear()
        return table

    def as_before(self, spec: ReadSpec, version: int) -> bool:
        """Whether version 1 of the reading rules gives the same rows as the current version."""
        return earlier.same_rows(self._blobs, spec)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ([(name, bytes(blob)) for name, blob in self._blobs],)


class NoRows:
    """The payload of a key without data, for a model that forecasts without input."""

    __slots__ = ()

    def content(self) -> str:
        """A constant."""
        return content_digest([b""])

    def rows(self, spec: ReadSpec) -> pa.Table:
        """A table without rows."""
        return pa.table({})

    def as_before(self, spec: ReadSpec, version: int) -> bool:
        """True, as no rows are read."""
        return True


class Rows:
    """The rows of a key, in any order. They are sorted, so that the order does not matter.

    Parameters
    ----------
    table
        All rows of the key. `rows` drops the reference to it.
    """

    __slots__ = ("_held",)

    def __init__(self, table: pa.Table) -> None:
        self._held = [row_order.ordered(table)]

    def content(self) -> str:
        """SHA-256 of the rows, which does not depend on their order."""
        return row_order.digest(self._held[0])

    def as_before(self, spec: ReadSpec, version: int) -> bool:
        """False: the digest is of the rows, not of bytes that could be read otherwise."""
        return False

    def rows(self, spec: ReadSpec) -> pa.Table:
        """The rows, sorted."""
        return self._held.pop()


class TableRows:
    """The rows of a key in the order of the table's files, with their digest.

    Parameters
    ----------
    held
        A list with the rows as its only element. `rows` empties it, to free memory for the fit.
    digest
        Digest of the rows (`job.worker.row_digest`).
    scan
        How the files of the table are read.
    files
        Names of the table's files, for messages, if the rows hold the number of their file.
    typed
        Whether the rows have their final types, but for the columns of directories.
    """

    __slots__ = ("_digest", "_files", "_held", "_scan", "_typed")

    def __init__(
        self, held: list[pa.Table], digest: str, scan: TableScan, files: tuple[str, ...], *, typed: bool = False
    ) -> None:
        self._held, self._digest, self._scan, self._files, self._typed = held, digest, scan, files, typed

    def content(self) -> str:
        """Digest of the rows, which does not depend on their order."""
        return self._digest

    def as_before(self, spec: ReadSpec, version: int) -> bool:
        """False: the digest is of the rows, not of bytes that could be read otherwise."""
        return False

    def rows(self, spec: ReadSpec) -> pa.Table:
        """The rows, with the types that the estimator gets.

        Raises
        ------
        PartitionError
            ``schema_mismatch``: a text does not have the declared type.
        """
        levels = [] if self._scan.typed else [name for name in self._scan.levels if name in self._scan.key]
        table = key_levels(self._held.pop(), levels)
        if self._typed:
            return table
        if self._scan.kind not in TEXTS:
            return declared_rows("the table", table, spec)
        place = place_of(table, self._files)
        if LINE in table.column_names:
            table = table.drop_columns([LINE, FILE])
        return typed_rows(table, spec, self._scan.levels, place)

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), typed=self._typed), (self._held, self._digest, self._scan, self._files)


def place_of(table: pa.Table, names: Sequence[str]) -> Callable[[int], str]:
    """A function that gives the file and the line of a row, or its number if the rows do not hold them.

    Parameters
    ----------
    table
        Rows of one key.
    names
        Names of the table's files, by number.
    """
    if LINE not in table.column_names:
        return lambda row: f"row {row + 1} of this key"
    lines, files = table.column(LINE), table.column(FILE)
    return lambda row: f"{names[files[row].as_py()]}: line {lines[row].as_py()}"
