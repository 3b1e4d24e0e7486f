"""Files of other programs: what they wrote is what is read, by their own account of it."""

from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job.fit import frame
from job.reader import ReadSpec, read

SQL = {
    "0.70::DECIMAL(10,2)": Decimal("0.70"),
    "0.1::DECIMAL(38,20)": Decimal("0.1"),
    "250::UTINYINT": 250,
    "18446744073709551615::UBIGINT": 18446744073709551615,
    "'b'::ENUM('a','b')": "b",
    "'x'::BLOB": b"x",
    "DATE '9999-12-31'": dt.date(9999, 12, 31),
    "TIME '10:11:12.5'": dt.time(10, 11, 12, 500000),
    "TIMESTAMP_S '2024-01-01 10:00:00'": dt.datetime(2024, 1, 1, 10),
    "TIMESTAMP_MS '9999-01-01 10:00:00'": dt.datetime(9999, 1, 1, 10),
    "TIMESTAMPTZ '2024-01-01 10:00:00+02'": dt.datetime(2024, 1, 1, 8, tzinfo=dt.UTC),
    "true": True,
    "1.5::FLOAT": 1.5,
    "'007'::VARCHAR": "007",
    "NULL::DOUBLE": None,
    "[1, 2]": [1, 2],
}


@pytest.mark.parametrize("sql", SQL)
def test_parquet_of_duckdb_is_read_as_duckdb_means_it(tmp_path: Path, sql: str) -> None:
    path = tmp_path / "a.parquet"
    duckdb.sql(f"COPY (SELECT {sql} AS x) TO '{path}' (FORMAT parquet)")
    assert read([("a.parquet", path.read_bytes())], ReadSpec())["x"].to_pylist() == [SQL[sql]]


@settings(max_examples=30, deadline=None)
@given(values=st.lists(st.decimals("-99999", "99999", places=2), min_size=1, max_size=20))
def test_decimals_are_the_floats_that_duckdb_and_polars_make_of_their_texts(values: list[Decimal]) -> None:
    sink = io.BytesIO()
    pl.DataFrame({"x": pl.Series(values, dtype=pl.Decimal(10, 2))}).write_parquet(sink)
    found = frame.to_pandas(read([("a.parquet", sink.getvalue())], ReadSpec()))["x"].tolist()
    texts = pl.Series([str(each) for each in values])
    assert found == texts.cast(pl.Float64).to_list()
    listed = ", ".join(f"'{each}'" for each in values)
    assert found == [row[0] for row in duckdb.sql(f"SELECT unnest([{listed}])::DOUBLE").fetchall()]


POLARS: dict[str, pl.Series] = {
    "categorical": pl.Series(["a", "b", None], dtype=pl.Categorical),
    "enum": pl.Series(["a", "b", None], dtype=pl.Enum(["b", "a"])),
    "text": pl.Series(["x", None, "long enough not to be inlined"]),
    "bytes": pl.Series([b"x", None, b"y"]),
    "decimal": pl.Series([Decimal("0.70"), None, Decimal("1.13")], dtype=pl.Decimal(10, 2)),
    "int8": pl.Series([1, None, -1], dtype=pl.Int8),
    "uint64": pl.Series([1, None, 2**64 - 1], dtype=pl.UInt64),
    "time": pl.Series([dt.time(1, 2), None, dt.time(3, 4)]),
    "datetime": pl.Series([dt.datetime(2024, 1, 1), None, dt.datetime(9999, 1, 1)]),
    "duration": pl.Series([dt.timedelta(1), None, dt.timedelta(seconds=1)]),
    "list": pl.Series([[1], None, [2, 3]]),
}


@pytest.mark.parametrize("form", ["ipc", "parquet"])
@pytest.mark.parametrize("name", POLARS)
def test_files_of_polars_are_read_as_polars_means_them(name: str, form: str) -> None:
    sink = io.BytesIO()
    written = pl.DataFrame({"x": POLARS[name], "y": [1, 2, 3]})
    written.write_ipc(sink) if form == "ipc" else written.write_parquet(sink)
    suffix = "arrow" if form == "ipc" else "parquet"
    table = read([(f"a.{suffix}", sink.getvalue())], ReadSpec())
    assert table["x"].to_pylist() == POLARS[name].to_list()
    taken: list[Any] = table.take([2, 0])["x"].to_pylist()  # rows can be chosen, as ordering and filters do
    assert taken == POLARS[name][[2, 0]].to_list()
