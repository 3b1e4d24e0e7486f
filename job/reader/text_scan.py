"""CSV and JSON lines files of a table, in blocks of whole rows.

A plain file is cut into ranges of bytes that can be read separately. A compressed file, or one in an encoding such as
UTF-16, is one piece; it is decoded and cut into blocks while it is read. For csv the header is put before each block.
The readers of whole objects then parse it strictly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from job.errors import PartitionError
from job.reader.decompress import inflate
from job.reader.json_lines import read_json
from job.reader.number_columns import FileNumbers
from job.reader.spec import ReadSpec, declared_types
from job.reader.table_file import LINE, Piece, Portion
from job.reader.text_blocks import BLOCK, Block, blocks
from job.reader.text_csv import NotOfType, check_quotes, read_csv, read_rows
from job.reader.text_encoding import to_utf8
from job.reader.text_stream import stream

_WIDE = re.compile(r"utf[-_]?(16|32|7)|ucs|hz|iso2022", re.IGNORECASE)
"""Encodings in which a byte with the value of a line break may be a part of another character."""
_PLACE = re.compile(r"\b(?:line|row) (\d+)")
_HEADER = 1 << 16
"""Number of bytes that are read at a time to find the header."""
_SAMPLE = 1 << 15


class TextTable:
    """One csv, tsv or JSON lines file.

    Parameters
    ----------
    name
        Name of the file, used only in messages.
    file
        The bytes of the file (`job.reader.table_file.RandomAccess`).
    codec
        The compression, or None.
    spec
        The settings of the reader.
    kind
        csv, tsv or json.
    numbers
        Collects which columns hold only numbers, while `portions` are read.
    types
        Columns that hold only numbers, with their types; csv has texts in the others.

    Raises
    ------
    PartitionError
        The errors of `job.reader.read`, with the line in the file; by ``schema`` and while rows are read.
    """

    def __init__(
        self,
        name: str,
        file: Any,
        codec: str | None,
        spec: ReadSpec,
        kind: str,
        *,
        numbers: FileNumbers | None = None,
        types: Mapping[str, pa.DataType] | None = None,
    ) -> None:
        self._name, self._file, self._codec, self._kind = name, file, codec, kind
        self._spec = spec
        self._delimiter = "\t" if kind == "tsv" and spec.delimiter == "," else spec.delimiter
        self._wide = bool(_WIDE.match(spec.encoding))
        self._names: list[str] | None = None
        self._numbers, self._types = numbers, types or {}
        # All columns as texts: declared types are applied later, for each key.
        self._read = replace(spec, encoding=self._encoding, needed=None, schema=(), optional=())

    @property
    def splits(self) -> bool:
        """Whether the file can be read in several pieces."""
        return self._codec is None and not self._wide

    def schema(self) -> pa.Schema:
        """See `TableFile`. For csv the columns of the header, as texts; empty for json."""
        if self._kind == "json":
            return pa.schema([])
        if self._names is None:
            self._take_header(next(self._blocks(_HEADER), None))
        assert self._names is not None
        return pa.schema([(name, pa.string()) for name in self._names])

    def portions(self, key: Sequence[str]) -> Iterator[Portion]:
        """See `TableFile`."""
        for number, block in enumerate(self._data()):
            part = number if self.splits else 0
            piece = Piece(part=part, begin=block.begin, end=block.end, line=block.line, bytes=len(block.data))
            if not self.splits:
                piece = Piece(part=0, begin=0, end=self._file.size(), bytes=self._file.size())

            def load(block: Block = block) -> tuple[pa.Schema, pa.Table]:
                table = self._keys(block, key)
                present = [each for each in key if each in table.column_names]
                keys = table.select(present) if present else pa.table({"": pa.nulls(table.num_rows)})
                return table.schema if self._kind == "json" else self.schema(), keys

            yield Portion(piece=piece, load=load)

    def rows(self, piece: Piece, columns: Sequence[str]) -> Iterator[pa.Table]:
        """See `TableFile`. The values of csv are texts, but for the columns that were found to be numbers."""
        found: Iterator[Block]
        if self.splits:
            self.schema()
            text = bytes(self._file.between(piece.begin, piece.end))
            found = iter([Block(piece.begin, piece.line, text)])
        else:
            found = self._data()
        for block in found:
            try:
                table = self._parse(block, [each for each in columns if each != LINE], self._types)
            except NotOfType as error:
                message = f"{self._name}: column {error.column!r} held only numbers when its rows were counted"
                raise PartitionError(
                    "input_changed", message, hint="Run again when nothing writes to the table."
                ) from error
            if LINE in columns:
                # In a block with quoted line breaks, the number may be lower than the real line of the row.
                lines = pa.array(np.arange(block.line, block.line + table.num_rows))
                table = table.append_column(LINE, lines)
            yield table.select([each for each in columns if each in table.column_names])

    # -- blocks

    @property
    def _quote(self) -> bytes | None:
        return None if self._kind == "json" else self._spec.quote.encode()

    def _blocks(self, size: int = BLOCK) -> Iterator[Block]:
        """All blocks of the file; for csv the first one is the header."""
        self._file.seek(0)
        if self._wide:
            data = self._file.between(0, self._file.size())
            if self._codec is not None:
                data = inflate(
                    self._name, data, self._codec, max_bytes=self._spec.max_bytes, max_ratio=self._spec.max_ratio
                )
            text = memoryview(to_utf8(self._name, data, self._spec.encoding))
            at = 0

            def read(size: int) -> bytes:
                nonlocal at
                piece = bytes(text[at : at + size])
                at += len(piece)
                return piece

            next_bytes: Callable[[int], bytes] = read
        else:
            next_bytes = stream(self._name, self._file, self._codec, max_ratio=self._spec.max_ratio)
        return blocks(next_bytes, self._quote, name=self._name, size=size)

    def _data(self) -> Iterator[Block]:
        """The blocks without the header."""
        found = self._blocks()
        if self._kind == "json":
            return found
        self._take_header(next(found, None))
        return found

    def _take_header(self, block: Block | None) -> None:
        header = b"" if block is None else block.data
        table = read_csv(self._name, header, self._read, self._delimiter, (), {}) if header else None
        self._names = table.column_names if table is not None else []

    # -- parsing

    def _keys(self, block: Block, key: Sequence[str]) -> pa.Table:
        """The key columns of a block, and possibly others."""
        if self._numbers is None or self._kind == "json":
            return self._parse(block, list(key))
        names = self._names or []
        present = [each for each in key if each in names]
        block = self._in_utf8(block)
        cut = len(block.data) if len(block.data) <= _SAMPLE else block.data.rfind(b"\n", 0, _SAMPLE) + 1
        few = Block(block.begin, block.line, block.data[:cut])
        self._numbers.sample(names, lambda columns, types: self._csv(few, columns, types))
        table = self._numbers.read(names, present, lambda columns, types: self._csv(block, columns, types))
        self._check(block, table.num_rows)
        return table

    def _parse(self, block: Block, columns: list[str], types: Mapping[str, pa.DataType] | None = None) -> pa.Table:
        if self._kind != "json":
            return self._csv(self._in_utf8(block), columns, types or {})
        with self._placed(block):
            table = read_json(self._name, block.data, self._encoding, declared_types(self._spec.schema))
        return pa.table({}) if table is None else table

    def _csv(self, block: Block, columns: Sequence[str], types: Mapping[str, pa.DataType]) -> pa.Table:
        """The rows of a block in UTF-8."""
        names = self._names or []
        chosen = [each for each in columns if each in names] or names[:1]
        quoted = self._spec.quote.encode() in block.data
        with self._placed(block):
            return read_rows(self._name, block.data, names, self._read, self._delimiter, chosen, types, quoted=quoted)

    def _check(self, block: Block, rows: int) -> None:
        """Raise ``corrupt_csv`` if a quote of the block is not closed. Once is enough, when the rows are counted."""
        if block.quotes:
            with self._placed(block):
                check_quotes(
                    self._name, block.data, self._delimiter, self._spec.quote, rows, block.breaks, block.quotes
                )

    def _in_utf8(self, block: Block) -> Block:
        """The block with its text in UTF-8."""
        with self._placed(block):
            text: bytes = to_utf8(self._name, block.data, self._encoding, first=False)
        if text is block.data:
            return block
        quotes = text.count(self._spec.quote.encode())
        return replace(block, data=text, breaks=text.count(b"\n") or text.count(b"\r"), quotes=quotes)

    @property
    def _encoding(self) -> str:
        return "utf-8" if self._wide else self._spec.encoding

    @contextmanager
    def _placed(self, block: Block) -> Iterator[None]:
        """Errors within name the line in the file instead of that in the block."""

        def moved(match: re.Match[str]) -> str:
            return f"line {int(match[1]) - 1 + block.line}"

        try:
            yield
        except PartitionError as error:
            raise PartitionError(error.reason, _PLACE.sub(moved, error.message), hint=error.hint) from error
