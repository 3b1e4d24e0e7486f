"""A file of a table, in pieces that can be read separately: the interface of the formats in `job.reader.table_scan`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import pyarrow as pa

LINE, FILE = "__manyfit_line", "__manyfit_file"
"""Names of extra columns: the line of each row in a text file, and the number of the row's file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A part of a file that can be read alone: a row group, a record batch, or a range of bytes."""

    part: int
    """number of the row group, record batch or block in the file, from 0"""
    begin: int = 0
    """text: position of its first byte"""
    end: int = 0
    """text: position after its last byte"""
    line: int = 1
    """text: number of its first line, from 1"""
    rows: int = 0
    """number of rows; 0 until they are counted"""
    bytes: int = 0
    """its size in bytes, as a measure of the cost of reading it; 0 if unknown"""


PIECE = pa.struct([(each.name, pa.int32() if each.name == "part" else pa.int64()) for each in fields(Piece)])
"""The fields of a `Piece` in Arrow tables."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Portion:
    """Some rows of a piece, for counting the rows of each key."""

    piece: Piece
    """the piece that the rows belong to; several portions may share one"""
    load: Callable[[], tuple[pa.Schema, pa.Table]]
    """reads the portion, in any thread: returns the schema of the file, and a table of the key columns"""


class TableFile(Protocol):
    """One opened file."""

    def schema(self) -> pa.Schema:
        """All columns of the file; empty for JSON, whose columns are known only from the rows."""

    def portions(self, key: Sequence[str]) -> Iterator[Portion]:
        """All rows of the file, in order, with the key columns, to count the rows of each key."""

    def rows(self, piece: Piece, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The rows of a piece, in order, with these columns; columns that the file lacks are left out."""


class RandomAccess(Protocol):
    """Bytes that can be read at any place (`job.store.stored_file.StoredFile`)."""

    def size(self) -> int:
        """The number of bytes."""

    def between(self, begin: int, end: int) -> Any:
        """The bytes from position ``begin`` to before ``end``."""

    def read(self, size: int | None = -1) -> bytes:
        """The next bytes, at most ``size``; all that are left for -1."""

    def again(self) -> RandomAccess:
        """The same bytes with a position of their own, for another thread."""
