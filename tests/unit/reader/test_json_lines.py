"""JSON lines: texts stay texts, and whole numbers are never rounded without a word."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.errors import PartitionError
from job.reader import ReadSpec, read


def one(*values: Any, **options: Any) -> pa.ChunkedArray:
    text = "\n".join(json.dumps({"x": value}) for value in values)
    return read([("a.jsonl", text.encode())], ReadSpec(**options))["x"]


@pytest.mark.parametrize(
    "values",
    [
        ["2024-01-01", "2024-01-02"],
        ["2024-01-01 10:00:00", None],
        ["2024-01-01T10:00:00Z"],
        ["08:00"],
        ["007", "8"],
        [{"at": "2024-01-01", "all": ["2024-01-01"]}],
        [18446744073709551615, 1],
        [9223372036854775807, -1],
        [9007199254740992, 1.5],
        [1e300, 1.5],
        [{"n": 9007199254740992}, {"n": 1.5}],
    ],
    ids=str,
)
def test_values_are_those_of_the_text(values: list[Any]) -> None:
    assert one(*values).to_pylist() == values


@given(values=st.lists(st.none() | st.text(st.characters(codec="utf-8")), min_size=1))
def test_texts_are_never_anything_else(values: list[str | None]) -> None:
    assert one(*values).to_pylist() == values


@pytest.mark.parametrize(
    ("values", "row"),
    [
        ([1, 89014103211118510721], 2),
        ([1.5, 9007199254740993], 2),
        ([9007199254740993, 1.5], 1),
        ([{"n": 1.5}, {"n": 9007199254740993}], 2),
        ([[1.5, 9007199254740993]], 1),
    ],
    ids=str,
)
def test_a_whole_number_that_would_be_rounded_fails_by_row(values: list[Any], row: int) -> None:
    with pytest.raises(PartitionError, match=rf"a\.jsonl: column 'x', row {row} is a whole number") as caught:
        one(*values)
    assert caught.value.reason == "inexact_number"


def test_the_ways_out_of_the_message_work() -> None:
    ids = [89014103211118510720, 89014103211118510721]
    assert one(*ids, schema=(("x", "string"),)).to_pylist() == [str(each) for each in ids]
    assert one(*ids, schema=(("x", "float64"),)).to_pylist() == [float(each) for each in ids]
