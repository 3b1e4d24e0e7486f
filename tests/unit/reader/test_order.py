from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.errors import PartitionError
from job.reader import KEY_FIELD, order


def rows(**columns: Any) -> pa.Table:
    return pa.table(columns)


@pytest.mark.parametrize(
    "ordered",
    [
        [9, 10, 100],
        [-1.5, 0.0, 1e300],
        [False, False, True],
        [Decimal("9.10"), Decimal("10.00"), Decimal("100.00")],
        [dt.date(2024, 1, 2), dt.date(2024, 1, 10), dt.date(2025, 1, 1)],
        [dt.datetime(2024, 1, 2), dt.datetime(2024, 1, 10), dt.datetime(2025, 1, 1)],
        [dt.time(9), dt.time(9, 30), dt.time(10)],
        [dt.timedelta(seconds=9), dt.timedelta(seconds=10), dt.timedelta(days=1)],
        ["2024-01-02", "2024-01-10", "2025-01-01"],
        ["2024-01-02", "2024-01-02 10:00", "2024-01-02T10:00:00.5"],
        ["2024-06-01T12:00:00+09:00", "2024-06-01T08:00:00+02:00", "2024-06-01T07:00:00Z"],
        ["0900-01-01", "1700-01-01", "9999-12-31"],
        ["09:00", "09:30", "10:00"],
        pa.array(["2024-01-02", "2024-01-10", "2025-01-01"]).dictionary_encode(),
        pa.array(["2024-01-02", "2024-01-10", "2025-01-01"], pa.large_string()),
    ],
    ids=str,
)
def test_rows_are_ordered_by_value(ordered: Any) -> None:
    column = pa.array(ordered)
    for picked in ([2, 0, 1], [1, 2, 0], [2, 1, 0]):
        table = rows(at=column, row=pa.array([0, 1, 2])).take(picked)
        assert order.sort(table, ["at"])["at"].to_pylist() == column.to_pylist()


@given(values=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1))
def test_rows_that_are_equal_stay_as_they_were_and_columns_count_from_the_left(values: list[tuple[int, int]]) -> None:
    table = rows(a=[a for a, _ in values], b=[b for _, b in values], row=list(range(len(values))))
    want = sorted(range(len(values)), key=lambda at: values[at])
    assert order.sort(table, ["a", "b"])["row"].to_pylist() == want


def test_columns_that_order_are_no_features_unless_they_are_named() -> None:
    table = order.sort(rows(at=[2, 1], x=[1, 2]), ["at"])
    assert table.schema.field("at").metadata == KEY_FIELD
    assert table.schema.field("x").metadata is None


@pytest.mark.parametrize(
    ("column", "reason", "words"),
    [
        (
            ["31/12/2024", "30/11/2024"],
            "bad_time",
            r"row 1 is not an ISO date or time.*input\.times: \{at: '%d/%m/%Y'\}",
        ),
        (["2024-01-05", "2024-1-6"], "bad_time", "row 2 is not an ISO date or time"),
        (["2024-01-05T10:00Z", "2024-01-05T10:00"], "bad_time", "offset from UTC"),
        (["", ""], "bad_time", "row 1"),
        ([1, None], "missing_values", "missing in 1 of 2 rows"),
        ([1.0, float("nan")], "missing_values", "missing in 1 of 2 rows"),
        ([None, None], "missing_values", "missing in 2 of 2 rows"),
        ([b"a", b"b"], "bad_time", "has no order"),
        ([[1], [2]], "bad_time", "has no order"),
    ],
)
def test_what_has_no_order_is_refused_with_the_way_out(column: list[Any], reason: str, words: str) -> None:
    with pytest.raises(PartitionError, match="(?s)" + words) as caught:
        order.sort(rows(at=column), ["at"])
    assert caught.value.reason == reason
    assert "2024" not in caught.value.message


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(PartitionError, match=r"input\.order_by: column 'day' not there") as caught:
        order.sort(rows(at=[1]), ["day"])
    assert caught.value.reason == "missing_column"
