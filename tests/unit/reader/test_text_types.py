from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from job.errors import PartitionError
from job.fit import frame
from job.reader import ReadSpec, read
from job.reader.text_types import null_texts, typed

TOKENS = [
    "0",
    "1",
    "-1",
    "+1",
    "007",
    "-0",
    "12",
    "1.5",
    ".5",
    "5.",
    "-2.25",
    "+.5",
    "1e5",
    "1E-5",
    "-1.e3",
    "1e",
    "1e+",
    "--1",
    "1_0",
    "0x1F",
    "0X1F",
    "1d",
    "1f",
    "1L",
    "1,5",
    "1.000,5",
    "1e400",
    "1e-400",
    "inf",
    "-inf",
    "+inf",
    "Infinity",
    "-INF",
    "nan",
    "NaN",
    "NA",
    "null",
    "None",
    "true",
    "True",
    "TRUE",
    "tRue",
    "false",
    "False",
    "yes",
    "no",
    "T",
    "2024-01-01",
    "2024-01-01T10:00:00",
    "2024-01-01T10:00:00Z",
    "31/12/2024",
    "08:00",
    "08:00:00",
    "12:30:15.5",
    "P1D",
    "1E5D",
    "0.1",
    "0.30000000000000004",
    "9007199254740992",
    "9007199254740993",
    "-9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "89014103211118510720",
    "123456789012345678901234567890",
    "9007199254740993.0",
    "-999",
    "-999.0",
    "-9.99e2",
]
SPACED = [
    " 1",
    "1 ",
    "\t2.5",
    " true",
    "true ",
    "1 2",
    " ",
    "\n",
    "a\nb",
    'say "x"',
    "a,b",
    "é",
    "１",
    "\x0b1",
    "1\x0c",
    "\xa01",
]
NULLS = [[""], ["", "NA"], ["NA", "-999"], ["", "nan", "-999.0"], ["", "true"], ["", "inf"], ["", "0"]]


def texts() -> st.SearchStrategy[list[str]]:
    """Columns of few kinds of texts, as columns are; now and then of anything."""
    token = st.sampled_from([*TOKENS, *SPACED, ""])
    few = st.lists(token, min_size=1, max_size=3)
    column = few.flatmap(lambda pool: st.lists(st.sampled_from([*pool, ""]), min_size=1, max_size=40))
    like_numbers = st.lists(st.text("0123456789+-.eE xinfa", max_size=8), min_size=1, max_size=10)
    anything = st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=8), min_size=1, max_size=10
    )
    return st.one_of(column, column, like_numbers, anything)


def written(values: Sequence[str], start: int = 0) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["row", "x"])
    writer.writerows([number, value] for number, value in enumerate(values, start))
    return out.getvalue().encode()


def by_pandas(data: bytes, nulls: list[str], decimal: str) -> pd.Series[Any]:
    read_by = pd.read_csv(
        io.BytesIO(data),
        decimal=decimal,
        float_precision="round_trip",
        keep_default_na=False,
        na_values=nulls,
        low_memory=False,
    )["x"]
    if read_by.dtype == object:
        # Where numbers beyond 63 bits have gaps beside them, pandas leaves the gaps as texts.
        read_by = read_by.where(read_by.notna() & ~read_by.isin(null_texts(nulls)), np.nan)
    return read_by


def rounded(values: Sequence[str], by: pd.Series[Any]) -> bool:
    """Whether pandas made another number of a whole one."""
    if by.dtype != np.float64:
        return False
    whole = [(text.strip(), float(value)) for text, value in zip(values, by, strict=True) if np.isfinite(value)]
    return any(text.lstrip("+-").isdigit() and int(text) != int(value) for text, value in whole)


@settings(max_examples=300)
@given(values=texts(), nulls=st.sampled_from(NULLS), cuts=st.sets(st.integers(0, 40), max_size=2))
@example(values=["9223372036854775808", ""], nulls=[""], cuts=set())
@example(values=["89014103211118510720", "89014103211118510721"], nulls=[""], cuts={1})
@example(values=["1.5", "89014103211118510720"], nulls=[""], cuts=set())
@example(values=["89014103211118510720", "1.5"], nulls=[""], cuts={1})
@example(values=["-999.00", "1.5"], nulls=["-999"], cuts=set())
@example(values=[*["1"] * 30, "+2", *["3"] * 30], nulls=[""], cuts=set())
@example(values=[*["1"] * 30, "0x2", *["3"] * 30], nulls=[""], cuts=set())
@example(values=[*["1.5"] * 30, "nan", *["3"] * 30], nulls=[""], cuts=set())
@example(values=[*["1.5"] * 30, "x", *["3"] * 30], nulls=[""], cuts=set())
def test_what_reaches_an_estimator_is_what_pandas_read_csv_gives(
    values: list[str], nulls: list[str], cuts: set[int]
) -> None:
    want = by_pandas(written(values), nulls, ".")
    bounds = [0, *sorted(each for each in cuts if each < len(values)), len(values)]
    files = [
        (f"{number}.csv", written(values[begin:end], begin)) for number, (begin, end) in enumerate(pairwise(bounds))
    ]
    spec = ReadSpec(null_values=tuple(nulls))
    if rounded(values, want):
        with pytest.raises(PartitionError) as caught:
            read(files, spec)
        assert caught.value.reason == "inexact_number"
        return
    found = frame.to_pandas(read(files, spec))["x"]
    assert found.dtype == want.dtype
    pd.testing.assert_series_equal(found, want, check_names=False, check_exact=True)


@settings(max_examples=100)
@given(
    values=st.lists(
        st.sampled_from(["1,5", ",5", "2", "1.5", "-1,25e2", "1,2,3", "", "inf", "x"]), min_size=1, max_size=6
    )
)
def test_a_decimal_comma_is_read_as_pandas_reads_it(values: list[str]) -> None:
    want = by_pandas(written(values), [""], ",")
    found = frame.to_pandas(read([("a.csv", written(values))], ReadSpec(decimal=",")))["x"]
    pd.testing.assert_series_equal(found, want, check_names=False, check_exact=True)


@pytest.mark.parametrize(
    ("values", "kind", "read_as"),
    [
        (["1", "007"], "int64", [1, 7]),
        (["1", None], "int64", [1, None]),
        (["1", "2.5"], "double", [1.0, 2.5]),
        (["0.1", "0.70"], "double", [0.1, 0.7]),
        (["True", "false"], "bool", [True, False]),
        (["true", None], "bool", [True, None]),
        ([None, None], "null", [None, None]),
        (["1", "true"], "string", ["1", "true"]),
        (["2024-01-01", "2024-02-01"], "string", ["2024-01-01", "2024-02-01"]),
        (["2024-01-01 10:00:00", None], "string", ["2024-01-01 10:00:00", None]),
        (["08:00", "12:00"], "string", ["08:00", "12:00"]),
        (["0x1F", "0x20"], "string", ["0x1F", "0x20"]),
        (["1e5", "1E5"], "double", [1e5, 1e5]),
        (["1d5", "1f"], "string", ["1d5", "1f"]),
        (["nan", "1.5"], "string", ["nan", "1.5"]),
        (["inf", "1.5"], "double", [float("inf"), 1.5]),
        (["1e400", "1.5"], "string", ["1e400", "1.5"]),
        ([" 1", "2 "], "int64", [1, 2]),
        (["+1", "-1"], "int64", [1, -1]),
        (["18446744073709551615", "1"], "uint64", [18446744073709551615, 1]),
        (["89014103211118510720", "89014103211118510721"], "string", ["89014103211118510720", "89014103211118510721"]),
    ],
    ids=str,
)
def test_a_column_of_texts_has_the_type_of_the_table(values: list[str | None], kind: str, read_as: list[Any]) -> None:
    found = typed(pa.array(values, pa.string()), "x")
    assert str(found.type) == kind
    assert found.to_pylist() == read_as


@pytest.mark.parametrize(
    "values", [["9007199254740993", None], ["9007199254740993", "1.5"], [None, "-9007199254740993"]]
)
def test_a_whole_number_that_pandas_would_round_fails_by_column_and_row(values: list[str | None]) -> None:
    with pytest.raises(
        PartitionError, match=r"(?s)column 'x', row [12] is a whole number.*input\.schema: x: string"
    ) as caught:
        typed(pa.array(values, pa.string()), "x")
    assert caught.value.reason == "inexact_number"
    assert "9007199254740993" not in str(caught.value)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_a_part_of_a_larger_array_is_typed_by_its_own_texts(kind: pa.DataType) -> None:
    whole = pa.array(["0x1F", "1", "2", None, "x"], kind)
    assert typed(whole[1:3], "x").to_pylist() == [1, 2]
    assert typed(whole[1:4], "x").to_pylist() == [1, 2, None]
    assert typed(pa.chunked_array([whole[1:2], whole[2:3], whole[:0]]), "x").to_pylist() == [1, 2]
    assert typed(whole[:2], "x").to_pylist() == ["0x1F", "1"]
    assert typed(whole[:0], "x").type == pa.null()


def test_a_number_that_means_missing_does_so_in_its_usual_spellings_in_columns_of_texts_too() -> None:
    assert null_texts(["", "-999", "x", "nan"]) == ["", "-999", "x", "nan", "-999.0"]
    assert null_texts(["-999.0"]) == ["-999.0", "-999"]
    data = written(["a", "-999", "-999.0", "-999.00"])
    found = read([("a.csv", data)], ReadSpec(null_values=("-999",)))["x"].to_pylist()
    plain = pd.read_csv(io.BytesIO(data), keep_default_na=False, na_values=["-999"])["x"]
    assert found == ["a", None, None, "-999.00"] == [None if each is np.nan else each for each in plain]
