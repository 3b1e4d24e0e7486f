"""Columns that directories give."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from job.errors import PartitionError
from job.reader import KEY_FIELD, ReadSpec, levels, read


def parquet(**columns: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def test_each_file_has_the_levels_of_its_own_directories() -> None:
    files = [(f"store=1/month={month}/a.csv", b"x\n1\n2\n") for month in ("01", "02")]
    table = read(files, ReadSpec(hive=True))
    assert table.to_pydict() == {"x": [1, 2, 1, 2], "store": [1] * 4, "month": [1, 1, 2, 2]}
    assert table.schema.field("month").metadata == KEY_FIELD


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["1", "2"], [1, 2]),
        (["1", "2.5"], [1.0, 2.5]),
        (["1", "x"], ["1", "x"]),
        (["1", "__HIVE_DEFAULT_PARTITION__"], [1, None]),
        (["2024-01-01", "2024-01-02"], ["2024-01-01", "2024-01-02"]),
        (["9" * 19, "1"], ["9" * 19, "1"]),
    ],
)
def test_a_level_has_one_type_over_all_files(texts: list[str], values: list[Any]) -> None:
    files = [(f"k={text}/a.csv", b"x\n1\n") for text in texts]
    assert read(files, ReadSpec(hive=True))["k"].to_pylist() == values


@pytest.mark.parametrize("own", [[1, 1], ["1", "1"], [1.0, None]])
def test_a_level_wins_over_a_column_of_its_name_and_is_no_feature(own: list[Any]) -> None:
    table = read([("store=1/a.parquet", parquet(store=own, x=[1.0, 2.0]))], ReadSpec(hive=True))
    assert table["store"].to_pylist() == [1, 1]
    assert table.schema.field("store").metadata == KEY_FIELD
    assert levels.notes(table) == ()


@pytest.mark.parametrize("own", [[99, 99], [1, 2], ["x", "1"]])
def test_a_column_that_differs_from_its_level_is_told(own: list[Any]) -> None:
    table = read([("store=1/a.parquet", parquet(store=own, x=[1.0, 2.0]))], ReadSpec(hive=True))
    assert table["store"].to_pylist() == [1, 1]
    assert levels.notes(table) == ("column 'store' of the files differs from their directories, which count",)


def test_a_level_may_be_declared_and_has_the_declared_type() -> None:
    declared = ReadSpec(hive=True, schema=(("x", "float64"), ("month", "float64")))
    for data, name in ((b"x\n1\n", "a.csv"), (parquet(x=[1.0]), "a.parquet")):
        table = read([(f"store=007/month=02/{name}", data)], declared)
        assert table.to_pydict() == {"x": [1.0], "store": [7], "month": [2.0]}
    text = ReadSpec(hive=True, schema=(("x", "int64"), ("store", "string")))
    assert read([("store=007/a.csv", b"x\n1\n")], text)["store"].to_pylist() == ["007"]
    with pytest.raises(PartitionError, match="level 'store' is not int64"):
        read([("store=a/a.csv", b"x\n1\n")], ReadSpec(hive=True, schema=(("x", "int64"), ("store", "int64"))))


def test_files_of_a_key_below_other_levels_are_refused() -> None:
    with pytest.raises(PartitionError, match="directories of other levels") as caught:
        read([("s=1/a.csv", b"x\n1\n"), ("s=1/m=2/a.csv", b"x\n1\n")], ReadSpec(hive=True))
    assert caught.value.reason == "schema_mismatch"
