"""A large text in blocks of whole rows, wherever the blocks would cut it."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job.errors import PartitionError
from job.reader import text_blocks
from job.reader.text_blocks import Block, blocks

FIELDS = st.text(st.sampled_from('ab",\n\r é'), max_size=6)


def cut(text: bytes, size: int) -> list[Block]:
    return list(blocks(io.BytesIO(text).read, b'"', name="a.csv", size=size))


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(st.tuples(FIELDS, FIELDS), min_size=1, max_size=12), size=st.integers(1, 40), end=st.booleans())
def test_rows_of_the_blocks_are_the_rows_of_the_text(rows: list[tuple[str, str]], size: int, end: bool) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([("k", "x"), *rows])
    text = out.getvalue().encode()
    text = text if end else text.rstrip(b"\n")
    found = cut(text, size)
    assert b"".join(block.data for block in found) == text
    assert [block.begin for block in found] == [sum(len(each.data) for each in found[:at]) for at in range(len(found))]
    parsed = [list(csv.reader(io.StringIO(block.data.decode(), newline=""))) for block in found]
    assert parsed[0] == [["k", "x"]]
    assert [tuple(row) for part in parsed[1:] for row in part] == rows
    for block in found:
        assert block.line == 1 + text[: block.begin].count(b"\n")


def test_a_quote_that_is_never_closed_ends_with_the_line_instead_of_filling_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(text_blocks, "LARGEST_ROW", 1000)
    text = b"k,x\n" + b"a,1\n" * 50 + b'a,"1\n' + b"a,1\n" * 1000
    with pytest.raises(PartitionError, match=r"a\.csv: in the block that starts in line \d+ a quote is opened"):
        cut(text, 64)


def test_carriage_returns_alone_end_rows_where_no_line_feed_does() -> None:
    assert [block.data for block in cut(b"k,x\ra,1\rb,2\r", 6)] == [b"k,x\r", b"a,1\rb,2\r"]
