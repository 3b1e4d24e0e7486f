"""Rows out of Spark's batches, one key at a time: wherever batches end, and never a key in two pieces."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.engine.spark.gather import AT, TASK, key_columns, runs
from job.errors import AccountingError
from job.plan.spark_read import TableRead
from job.reader import KEY_FIELD


def batches(lengths: list[int], ends: list[int]) -> Iterator[pa.RecordBatch]:
    at = [number for number, length in enumerate(lengths) for _ in range(length)]
    rows = pa.RecordBatch.from_pydict(
        {TASK: pa.array([3] * len(at), pa.int32()), AT: pa.array(at, pa.int32()), "value": list(range(len(at)))}
    )
    bounds = [0, *sorted(min(end, len(at)) for end in ends), len(at)]
    for low, high in itertools.pairwise(bounds):
        yield rows.slice(low, high - low)


@given(st.lists(st.integers(1, 7), min_size=1, max_size=8), st.lists(st.integers(0, 40), max_size=10))
def test_every_key_comes_once_with_all_its_rows_wherever_batches_end(lengths: list[int], ends: list[int]) -> None:
    found = list(runs(batches(lengths, ends)))
    assert [(task, at) for task, at, _ in found] == [(3, number) for number in range(len(lengths))]
    values = [[value for part in parts for value in part.column("value").to_pylist()] for _, _, parts in found]
    assert [len(each) for each in values] == lengths
    assert list(itertools.chain(*values)) == list(range(sum(lengths)))


def test_a_key_that_comes_apart_is_our_bug_and_never_two_models() -> None:
    rows = pa.RecordBatch.from_pydict({TASK: pa.array([0, 0, 0], pa.int32()), AT: pa.array([0, 1, 0], pa.int32())})
    with pytest.raises(AccountingError, match="came apart"):
        list(runs(iter([rows])))


def test_key_columns_are_marked_and_those_of_directories_have_the_type_of_their_text() -> None:
    read = TableRead(layout="columns", root="file:/x", format="csv", key=("store", "day"), partitioned=("store",))
    rows = pa.table({"store": ["01", "01"], "day": [5, 5], "x": [1.0, 2.0]})
    found = key_columns(rows, "store=01/day=5", read)
    assert found.to_pydict() == {"day": [5, 5], "x": [1.0, 2.0], "store": [1, 1]}
    assert [name for name in found.column_names if found.schema.field(name).metadata == KEY_FIELD] == ["day", "store"]
