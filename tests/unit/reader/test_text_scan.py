"""A csv file of a table, in pieces: what is read for the header, and where errors say that they are."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from job.errors import PartitionError
from job.reader import text_scan
from job.reader.number_columns import NumberColumns
from job.reader.spec import ReadSpec
from job.reader.table_file import Piece
from job.reader.text_scan import TextTable

ROWS = b"".join(b"k%d,%d\n" % (at, at) for at in range(50))
BAD = {
    b"k9,1,2\n": (r"a\.csv: line 52 has 3 fields, the header 2", "bad_row"),
    b"k9,\xff\n": (r"a\.csv: column 'x', line 52 is not UTF-8 text", "encoding"),
    b'k9,"1\n': (r"a\.csv: in the row that starts in line 52 a quote is opened and not closed", "corrupt_csv"),
}


class Counted(io.BytesIO):
    """A file that counts the bytes that are read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.taken = 0

    def size(self) -> int:
        return len(self.getvalue())

    def between(self, begin: int, end: int) -> bytes:
        self.taken += end - begin
        return self.getvalue()[begin:end]

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        self.taken += len(found)
        return found


def check(row: bytes, act: Callable[[TextTable], object]) -> None:
    message, reason = BAD[row]
    numbers = NumberColumns(ReadSpec(), "k").file()
    file = TextTable("a.csv", Counted(b"k,x\n" + ROWS + row), None, ReadSpec(), "csv", numbers=numbers)
    with pytest.raises(PartitionError, match=message) as caught:
        act(file)
    assert caught.value.reason == reason


@pytest.mark.parametrize("row", [row for row, (_, reason) in BAD.items() if reason != "encoding"])
def test_an_error_that_counting_finds_in_a_later_block_names_its_line_in_the_file(
    row: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_scan, "BLOCK", 64)
    check(row, lambda file: [portion.load() for portion in file.portions(["k"])])


@pytest.mark.parametrize("row", [row for row, (_, reason) in BAD.items() if reason != "corrupt_csv"])
def test_an_error_in_the_rows_of_a_later_block_names_its_line_in_the_file(row: bytes) -> None:
    begin = 4 + len(ROWS)
    piece = Piece(part=1, begin=begin, end=begin + len(row), line=52)
    check(row, lambda file: list(file.rows(piece, ["k", "x"])))


def test_a_header_is_found_without_reading_the_file() -> None:
    data = Counted(b"k,x\n" + ROWS * 20_000)
    assert TextTable("a.csv", data, None, ReadSpec(), "csv").schema().names == ["k", "x"]
    assert data.taken <= 1 << 16


def test_a_header_that_is_longer_than_a_read_is_found() -> None:
    names = [f"column_{at:05d}" for at in range(10_000)]
    data = Counted(",".join(names).encode() + b"\n" + b",".join([b"1"] * 10_000) + b"\n")
    assert TextTable("a.csv", data, None, ReadSpec(), "csv").schema().names == names


def test_a_block_in_another_encoding_is_decoded_once_while_its_rows_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoded = []
    to_utf8 = text_scan.to_utf8

    def watched(name: str, data: bytes, *rest: object, **options: object) -> bytes:
        decoded.append(bytes(data))
        return bytes(to_utf8(name, data, *rest, **options))

    monkeypatch.setattr(text_scan, "to_utf8", watched)
    spec = ReadSpec(encoding="latin-1")
    rows = 'ké,1\nká,"2"\n'.encode("latin-1")
    numbers = NumberColumns(spec, "k").file()
    file = TextTable("a.csv", Counted(b"k,x\n" + rows), None, spec, "csv", numbers=numbers)

    (portion,) = file.portions(["k"])
    _, keys = portion.load()

    assert keys.column("k").to_pylist() == ["ké", "ká"]
    assert numbers.forms == {"x": "whole"}
    assert decoded == [rows]
