"""A file of a table, in pieces that can be read separately: the interface of the formats in `job.reader.table_scan`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

LINE, FILE = "__manyfit_line", "__manyfit_file"
"""Columns that a reader can be asked for: of a text the line of each row; the number of the file, where it is given."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A part of a file that is read by itself: a row group, or a range of bytes."""

    part: int
    """number in the file: of the row group, of the block"""
    begin: int = 0
    """text: its first byte"""
    end: int = 0
    """text: the byte behind its last"""
    line: int = 1
    """text: number of its first line"""
    rows: int = 0
    """rows, once they are counted"""
    bytes: int = 0
    """its stored size, as a measure of the cost of reading it"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Portion:
    """Some rows of a piece that are about to be counted."""

    piece: Piece
    """whose rows these are; several portions may have one piece"""
    load: Callable[[], tuple[pa.Schema, pa.Table]]
    """reads it: the types found in it, and the key columns of its rows"""


class TableFile(Protocol):
    """One opened file."""

    def schema(self) -> pa.Schema:
        """Its columns, all of them; None-typed where only the rows tell."""

    def portions(self, key: Sequence[str]) -> Iterator[Portion]:
        """All of its rows, in order, for counting by key columns."""

    def rows(self, piece: Piece, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The rows of a piece, in order, with some columns; those that it does not have are left out."""


class RandomAccess(Protocol):
    """Bytes that can be read at any place (`job.store.stored_file.StoredFile`)."""

    def size(self) -> int:
        """How many."""

    def between(self, begin: int, end: int) -> Any:
        """Some of them."""

    def read(self, size: int | None = -1) -> bytes:
        """The next ones."""
