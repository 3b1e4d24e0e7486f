"""CSV and JSON lines files of a table, in blocks of whole rows.

A plain file is cut into ranges of bytes that can be read separately. A compressed file, or one in an encoding such as
UTF-16, is one piece; it is decoded and cut into blocks while it is read. For csv the header is put before each block.
The readers of whole objects then parse it strictly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from job.errors import PartitionError
from job.reader.decompress import inflate
from job.reader.json_lines import read_json
from job.reader.spec import ReadSpec, declared_types
from job.reader.table_file import LINE, Piece, Portion
from job.reader.text_blocks import BLOCK, Block, blocks
from job.reader.text_csv import read_csv, to_utf8
from job.reader.text_stream import stream

_WIDE = re.compile(r"utf[-_]?(16|32|7)|ucs|hz|iso2022", re.IGNORECASE)
"""Encodings in which a byte with the value of a line break may be a part of another character."""
_LINE = re.compile(r"\bline (\d+)")


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

    Raises
    ------
    PartitionError
        The errors of `job.reader.read`, with the line in the file; by ``schema`` and while rows are read.
    """

    def __init__(self, name: str, file: Any, codec: str | None, spec: ReadSpec, kind: str) -> None:
        self._name, self._file, self._codec, self._kind = name, file, codec, kind
        self._spec = spec
        self._delimiter = "\t" if kind == "tsv" and spec.delimiter == "," else spec.delimiter
        self._wide = bool(_WIDE.match(spec.encoding))
        self._header: bytes | None = None
        self._names: list[str] | None = None

    @property
    def splits(self) -> bool:
        """Whether the file can be read in several pieces."""
        return self._codec is None and not self._wide

    def schema(self) -> pa.Schema:
        """See `TableFile`. For csv the columns of the header, as texts; empty for json."""
        if self._kind == "json":
            return pa.schema([])
        if self._names is None:
            first = next(self._blocks(), None)
            self._take_header(first)
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
                table = self._parse(block, None if self._kind == "json" else list(key))
                present = [each for each in key if each in table.column_names]
                keys = table.select(present) if present else pa.table({"": pa.nulls(table.num_rows)})
                return table.schema if self._kind == "json" else self.schema(), keys

            yield Portion(piece=piece, load=load)

    def rows(self, piece: Piece, columns: Sequence[str]) -> Iterator[pa.Table]:
        """See `TableFile`. The values of csv are texts."""
        found: Iterator[Block]
        if self.splits:
            self.schema()
            found = iter([Block(piece.begin, piece.line, bytes(self._file.between(piece.begin, piece.end)))])
        else:
            found = self._data()
        for block in found:
            table = self._parse(block, [each for each in columns if each != LINE])
            if LINE in columns:
                # In a block with quoted line breaks, the number may be lower than the real line of the row.
                lines = pa.array(np.arange(block.line, block.line + table.num_rows))
                table = table.append_column(LINE, lines)
            yield table.select([each for each in columns if each in table.column_names])

    # -- blocks

    def _blocks(self) -> Iterator[Block]:
        """All blocks of the file; for csv the first one is the header."""
        quote = None if self._kind == "json" else self._spec.quote.encode()
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
        return blocks(next_bytes, quote, name=self._name, size=BLOCK)

    def _data(self) -> Iterator[Block]:
        """The blocks without the header."""
        found = self._blocks()
        if self._kind == "json":
            return found
        self._take_header(next(found, None))
        return found

    def _take_header(self, block: Block | None) -> None:
        self._header = block.data if block is not None else b""
        if self._header and not self._header.endswith((b"\n", b"\r")):
            self._header += b"\n"
        table = self._csv(self._header, None) if self._header else None
        self._names = table.column_names if table is not None else []

    # -- parsing

    def _parse(self, block: Block, columns: list[str] | None) -> pa.Table:
        try:
            if self._kind == "json":
                table = read_json(self._name, block.data, self._encoding, declared_types(self._spec.schema))
                return pa.table({}) if table is None else table
            assert self._header is not None
            table = self._csv(self._header + block.data, columns)
            assert table is not None
            return table
        except PartitionError as error:
            raise self._placed(error, block) from error

    def _csv(self, text: bytes, columns: list[str] | None) -> pa.Table | None:
        needed = None if columns is None else tuple(each for each in columns if each in (self._names or ()))
        # All columns as texts: declared types are applied later, for each key.
        spec = replace(self._spec, encoding=self._encoding, needed=needed or None, schema=(), optional=())
        return read_csv(self._name, text, spec, self._delimiter, (), {})

    @property
    def _encoding(self) -> str:
        return "utf-8" if self._wide else self._spec.encoding

    def _placed(self, error: PartitionError, block: Block) -> PartitionError:
        """The error with the line number in the file instead of that in the block."""
        above = 0 if self._header is None else self._header.count(b"\n") or self._header.count(b"\r")

        def moved(match: re.Match[str]) -> str:
            return f"line {int(match[1]) - above - 1 + block.line}"

        return PartitionError(error.reason, _LINE.sub(moved, error.message), hint=error.hint)
