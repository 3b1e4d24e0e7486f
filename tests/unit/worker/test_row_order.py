"""Rows without an order: one order, and a digest that does not depend on how they came."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.worker.row_order import digest, ordered

TABLE = st.lists(
    st.fixed_dictionaries(
        {
            "number": st.none() | st.integers(-3, 3),
            "real": st.none() | st.sampled_from([0.5, -1.0, float("nan"), float("inf")]),
            "text": st.none() | st.sampled_from(["", "a", "é", "a\0"]),
            "flag": st.none() | st.booleans(),
            "day": st.none() | st.sampled_from([date(2020, 1, 1), date(1960, 5, 5)]),
            "time": st.none() | st.just(datetime(2021, 1, 1, tzinfo=UTC)),
            "money": st.none() | st.just(Decimal("1.50")),
            "list": st.none() | st.lists(st.integers(0, 2), max_size=2),
            "raw": st.none() | st.sampled_from([b"", b"\0"]),
        }
    ),
    max_size=12,
)
SCHEMA = pa.schema(
    {
        "number": pa.int64(),
        "real": pa.float64(),
        "text": pa.string(),
        "flag": pa.bool_(),
        "day": pa.date32(),
        "time": pa.timestamp("us", "UTC"),
        "money": pa.decimal128(5, 2),
        "list": pa.list_(pa.int64()),
        "raw": pa.binary(),
    }
)


@given(TABLE, st.randoms(use_true_random=False), st.integers(0, 12))
def test_the_digest_is_the_same_for_every_order_and_every_chunking(rows: list[dict], shuffle, cut: int) -> None:
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    shuffled = list(rows)
    shuffle.shuffle(shuffled)
    other = pa.Table.from_pylist(shuffled, schema=SCHEMA)
    other = pa.concat_tables([other.slice(0, cut), other.slice(cut)])
    assert digest(ordered(table)) == digest(ordered(other))
    assert ordered(ordered(table)).equals(ordered(table)) or "nan" in str(rows)


@given(TABLE, TABLE)
def test_different_rows_have_different_digests(one: list[dict], other: list[dict]) -> None:
    tables = [pa.Table.from_pylist(rows, schema=SCHEMA) for rows in (one, other)]
    same = sorted(map(repr, one)) == sorted(map(repr, other))
    assert (digest(ordered(tables[0])) == digest(ordered(tables[1]))) == same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.table({"a": ["x", ""]}), pa.table({"a": ["x", None]})),
        (pa.table({"a": [""]}), pa.table({"a": pa.array([None], pa.string())})),
        (pa.table({"a": [0.0]}), pa.table({"a": pa.array([None], pa.float64())})),
        (pa.table({"a": ["ab", "c"]}), pa.table({"a": ["a", "bc"]})),
        (pa.table({"a": [1]}), pa.table({"b": [1]})),
        (pa.table({"a": [1]}), pa.table({"a": [1.0]})),
        (pa.table({"a": [1, 1]}), pa.table({"a": [1]})),
        (pa.table({"a": [1], "b": [2]}), pa.table({"a": [2], "b": [1]})),
    ],
)
def test_what_is_not_the_same_data_differs(one: pa.Table, other: pa.Table) -> None:
    assert digest(ordered(one)) != digest(ordered(other))


def test_what_lies_under_a_null_and_before_a_slice_does_not_count() -> None:
    dirty = pa.Array.from_buffers(
        pa.int64(), 2, [pa.py_buffer(b"\x01"), pa.py_buffer(np.array([7, 99], np.int64).tobytes())]
    )
    assert digest(pa.table({"a": dirty})) == digest(pa.table({"a": [7, None]}))
    assert digest(pa.table({"a": pa.array(["q", "x", "yy"]).slice(1)})) == digest(pa.table({"a": ["x", "yy"]}))


def test_rows_are_sorted_by_columns_from_left_to_right() -> None:
    table = pa.table({"day": [2, 1, 1], "x": [0.0, 5.0, 3.0]})
    assert ordered(table).to_pydict() == {"day": [1, 1, 2], "x": [3.0, 5.0, 0.0]}
