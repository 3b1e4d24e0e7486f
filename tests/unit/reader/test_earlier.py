"""Which partitions the rules of reading of version 0.1 read as today's do."""

from __future__ import annotations

import gzip

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from job.reader.earlier import same_rows
from job.reader.spec import ReadSpec

ALIKE = {
    "numbers": ("a.csv", b"x,y\n1,2.5\n3,4.5\n"),
    "gaps": ("a.csv", b"x,y\n1.5,\n,4.5\n"),
    "texts": ("a.csv", b"shop,y\nnorth,1\nsouth,2\n"),
    "truth": ("a.csv", b"x,y\ntrue,1\nfalse,2\n"),
    "packed": ("a.csv.gz", gzip.compress(b"x,y\n1,2\n")),
    "json": ("a.jsonl", b'{"x": 1, "shop": "north"}\n{"x": 2, "shop": "south"}\n'),
}
OTHERWISE = {
    "dates": ("a.csv", b"day,y\n2024-01-01,1\n2024-01-02,2\n"),
    "clock times": ("a.csv", b"slot,y\n08:00,1\n09:00,2\n"),
    "json dates": ("a.jsonl", b'{"day": "2024-01-01", "y": 1}\n'),
    "damaged": ("a.csv", b"x,y\n1,2,3\n"),
}


@pytest.mark.parametrize("case", sorted(ALIKE))
def test_what_no_new_rule_concerns_is_read_alike(case: str) -> None:
    assert same_rows([ALIKE[case]], ReadSpec())


@pytest.mark.parametrize("case", sorted(OTHERWISE))
def test_what_became_something_else_is_told(case: str) -> None:
    assert not same_rows([OTHERWISE[case]], ReadSpec())


def test_files_that_had_types_of_their_own_are_told() -> None:
    assert not same_rows([("a.csv", b"code,y\n1,2\n"), ("b.csv", b"code,y\nA1,2\n")], ReadSpec())


def test_parquet_is_alike_but_for_types_that_are_converted() -> None:
    def blob(values: pa.Array) -> tuple[str, bytes]:
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"x": values}), sink)
        return "a.parquet", sink.getvalue().to_pybytes()

    assert same_rows([blob(pa.array([1.5, 2.5]))], ReadSpec())
    assert not same_rows([blob(pa.array([1, 2], pa.timestamp("s")))], ReadSpec())


def test_what_was_a_feature_or_was_rounded_is_told() -> None:
    def blob(table: pa.Table) -> tuple[str, bytes]:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        return "a.parquet", sink.getvalue().to_pybytes()

    frame = pd.DataFrame({"x": [1.0, 2.0]}, index=pd.Index([7, 8], name="visit"))
    assert not same_rows([blob(pa.Table.from_pandas(frame))], ReadSpec())
    assert same_rows([blob(pa.Table.from_pandas(frame.reset_index(drop=True)))], ReadSpec())
    assert not same_rows([blob(pa.table({"x": [2**53 + 1, None]}))], ReadSpec())
    assert same_rows([blob(pa.table({"x": [2**53, None]}))], ReadSpec())
