"""Cuts a large text into blocks of whole rows, without parsing. Line breaks in quotes do not end a row.

In a csv file, quote characters stand around fields, or twice inside a field. So the number of quotes before the end of
a row is even, and a line break ends a row exactly if an even number of quotes comes before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from job.errors import PartitionError

BLOCK = 16 << 20
"""Number of bytes to read at a time; a block ends with the last whole row in them."""
LARGEST_ROW = 256 << 20
"""Bytes of a row at most. A longer one means that a quote is never closed."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some whole rows of a text."""

    begin: int
    """position of its first byte in the text"""
    line: int
    """number of its first line, from 1"""
    data: bytes
    """its bytes"""
    breaks: int = 0
    """number of its line breaks, if they were counted"""
    quotes: int = 0
    """number of its quoting characters, if they were counted"""

    @property
    def end(self) -> int:
        """Position in the text after its last byte."""
        return self.begin + len(self.data)


def blocks(read: Callable[[int], bytes], quote: bytes | None, *, name: str, size: int = BLOCK) -> Iterator[Block]:
    """Cut the text into blocks. The first row (a header) is a block of its own.

    Parameters
    ----------
    read
        Returns the next bytes, at most as many as its argument says, and no bytes at the end.
    quote
        The quoting character; None if line breaks cannot be quoted.
    name
        Name of the file, for messages.
    size
        Approximate number of bytes of a block.

    Raises
    ------
    PartitionError
        ``corrupt_csv``: a quote is not closed within `LARGEST_ROW` bytes.
    """
    rest, begin, line = b"", 0, 1
    first, mark = True, b"\n"
    while True:
        piece = read(size)
        data = rest + piece
        if not data:
            return
        if first and b"\n" not in data and b"\r" in data:
            mark = b"\r"
        if first:
            end = _first(data, quote, mark)
            if end:
                block = _block(begin, line, data[:end], quote, mark)
                yield block
                begin, line, data, first = block.end, line + block.breaks, data[end:], False
        if not piece:
            if data:
                yield _block(begin, line, data, quote, mark)
            return
        end, quotes = _last(data, quote, mark) if not first else (0, 0)
        if not end:
            if len(data) > LARGEST_ROW:
                raise PartitionError(
                    "corrupt_csv",
                    f"{name}: in the block that starts in line {line} a quote is opened and not closed",
                    hint="Quotes inside a quoted field are written twice.",
                )
            rest = data
            continue
        lines = data.count(mark, 0, end)
        yield Block(begin, line, data[:end], lines, quotes)
        begin, line, rest = begin + end, line + lines, data[end:]


def _block(begin: int, line: int, data: bytes, quote: bytes | None, mark: bytes) -> Block:
    return Block(begin, line, data, data.count(mark), 0 if quote is None else data.count(quote))


def _last(data: bytes, quote: bytes | None, mark: bytes) -> tuple[int, int]:
    """Position after the last row that ends in the data (0 if none does), and the number of quotes before it."""
    if quote is None or quote not in data:
        return data.rfind(mark) + 1, 0
    before, at = data.count(quote), len(data)
    while True:
        found = data.rfind(mark, 0, at)
        if found < 0:
            return 0, 0
        before -= data.count(quote, found, at)
        if before % 2 == 0:
            return found + 1, before
        at = found


def _first(data: bytes, quote: bytes | None, mark: bytes) -> int:
    """Position after the first row that is not empty; 0 if no such row ends in the data."""
    at = 0
    while data[at : at + 1] in (b"\n", b"\r"):
        at += 1
    quotes, begin = 0, at
    while True:
        found = data.find(mark, at)
        if found < 0:
            return 0
        quotes += 0 if quote is None else data.count(quote, begin, found)
        if quotes % 2 == 0:
            return found + 1
        begin, at = found, found + 1
