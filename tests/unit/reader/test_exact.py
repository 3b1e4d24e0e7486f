from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job.errors import PartitionError
from job.fit import frame
from job.reader import ReadSpec, exact, read


def column(values: Any, kind: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind)])


def parquet(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def ipc(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


KINDS: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.int8(), st.integers(-128, 127)),
    (pa.uint16(), st.integers(0, 2**16 - 1)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.float32(), st.floats(width=32)),
    (pa.float64(), st.floats()),
    (pa.bool_(), st.booleans()),
    (pa.string(), st.text(st.characters(codec="utf-8"))),
    (pa.large_string(), st.text(st.characters(codec="utf-8"))),
    (pa.binary(), st.binary()),
    (pa.date32(), st.dates()),
    (pa.time64("us"), st.times()),
    (pa.timestamp("us"), st.datetimes()),
    (pa.timestamp("us", "UTC"), st.datetimes(timezones=st.just(dt.UTC))),
    (pa.duration("us"), st.timedeltas(dt.timedelta(days=-100_000), dt.timedelta(days=100_000))),
    (pa.decimal128(38, 10), st.decimals("-1e20", "1e20", places=10)),
    (pa.decimal256(60, 3), st.decimals("-1e30", "1e30", places=3)),
    (pa.dictionary(pa.int32(), pa.string()), st.text("ab", max_size=3)),
    (pa.list_(pa.int64()), st.lists(st.integers(0, 9), max_size=3)),
]


@settings(max_examples=150)
@given(data=st.data(), number=st.integers(0, len(KINDS) - 1), arrow=st.booleans())
def test_what_was_written_is_read(data: st.DataObject, number: int, arrow: bool) -> None:
    kind, values = KINDS[number]
    written = pa.table({"x": pa.array(data.draw(st.lists(st.none() | values, min_size=1, max_size=20)), kind)})
    name, blob = ("a.arrow", ipc(written)) if arrow else ("a.parquet", parquet(written))
    found = read([(name, blob)], ReadSpec())
    assert found.schema.field("x").type == kind
    assert [str(each) for each in found["x"].to_pylist()] == [str(each) for each in written["x"].to_pylist()]


@settings(max_examples=200)
@given(values=st.lists(st.decimals("-1e15", "1e15", places=2), min_size=1), wide=st.booleans())
def test_a_decimal_becomes_the_nearest_float(values: list[Decimal], wide: bool) -> None:
    kind = pa.decimal256(40, 2) if wide else pa.decimal128(18, 2)
    found = exact.to_float(column(values, kind), "x").to_pylist()
    assert found == [float(each) for each in values]
    for value, number in zip(values, found, strict=True):
        near = abs(Fraction(value) - Fraction(number))
        for other in (np.nextafter(number, -np.inf), np.nextafter(number, np.inf)):
            assert near <= abs(Fraction(value) - Fraction(float(other)))


def test_every_price_is_the_float_that_python_reads() -> None:
    cents = range(100_000)
    prices = column([Decimal(each).scaleb(-2) for each in cents], pa.decimal128(10, 2))
    assert frame.to_pandas(pa.table({"p": prices}))["p"].tolist() == [
        float(f"{each // 100}.{each % 100:02}") for each in cents
    ]
    assert exact.convert(prices, pa.float64(), "p").to_pylist() == [each / 100 for each in cents]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([2**53 + 1, None], pa.int64()),
        ([None, 2**64 - 1], pa.uint64()),
        ([Decimal(89014103211118510720), Decimal(89014103211118510721)], pa.decimal128(20, 0)),
    ],
    ids=str,
)
def test_a_whole_number_that_a_frame_would_round_is_refused(values: list[Any], kind: pa.DataType) -> None:
    with pytest.raises(PartitionError, match=r"(?s)column 'id', row [12].*input\.schema: id: string") as caught:
        frame.to_pandas(pa.table({"id": column(values, kind)}))
    assert caught.value.reason == "inexact_number"


def test_whole_numbers_with_gaps_that_float64_holds_are_floats() -> None:
    values = [2**53, -(2**53), 2**60, None, 5]
    assert frame.to_pandas(pa.table({"x": column(values, pa.int64())}))["x"].tolist()[:3] == [
        2.0**53,
        -(2.0**53),
        2.0**60,
    ]


@pytest.mark.parametrize(
    "kind", [pa.timestamp("s"), pa.timestamp("ms"), pa.timestamp("us"), pa.timestamp("ns"), pa.date32(), pa.date64()]
)
def test_times_reach_a_frame_in_nanoseconds(kind: pa.DataType) -> None:
    days = [dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 2)]
    at = frame.to_pandas(pa.table({"at": column(days, kind)}))["at"]
    assert str(at.dtype) == "datetime64[ns]"
    assert (at.astype("int64") // 10**9).diff().tolist()[1] == 86_400


def test_times_that_nanoseconds_do_not_reach_keep_their_value() -> None:
    ends = [dt.datetime(2024, 1, 1), dt.datetime(9999, 12, 31)]
    for kind in (pa.timestamp("us"), pa.timestamp("ms")):
        at = frame.to_pandas(pa.table({"at": column(ends, kind)}))["at"]
        assert at.dt.year.tolist() == [2024, 9999]
    spans = frame.to_pandas(pa.table({"d": column([dt.timedelta(days=200_000)], pa.duration("s"))}))["d"]
    assert spans.dt.days.tolist() == [200_000]


def test_old_time_stamps_of_parquet_do_not_wrap_round() -> None:
    times = [dt.datetime(2024, 1, 1, 10), dt.datetime(9999, 12, 31), None]
    data = parquet(
        pa.table({"at": pa.array(times, pa.timestamp("us")), "x": [1, 2, 3]}), use_deprecated_int96_timestamps=True
    )
    assert read([("a.parquet", data)], ReadSpec())["at"].to_pylist() == times
    fine = parquet(pa.table({"at": pa.array([1, 2], pa.timestamp("ns"))}), use_deprecated_int96_timestamps=True)
    assert read([("a.parquet", fine)], ReadSpec())["at"].cast(pa.int64()).to_pylist() == [1, 2]


@pytest.mark.parametrize(
    ("stored", "plain", "values"),
    [
        (pa.array(["n", "s", None], pa.string_view()), pa.string(), ["n", "s", None]),
        (pa.array([b"n", None], pa.binary_view()), pa.binary(), [b"n", None]),
        (pa.array([1.5, None], pa.float16()), pa.float64(), [1.5, None]),
        (pc.run_end_encode(pa.array(["n", "n", "s"])), pa.string(), ["n", "n", "s"]),
        (
            pa.array([Decimal("0.70"), None], pa.decimal128(10, 2)).dictionary_encode(),
            pa.decimal128(10, 2),
            [Decimal("0.70"), None],
        ),
    ],
    ids=str,
)
def test_columns_are_plain_whatever_way_they_are_stored(stored: Any, plain: pa.DataType, values: list[Any]) -> None:
    found = exact.plain(pa.table({"x": stored}))["x"]
    assert found.type == plain
    assert found.to_pylist() == values


@pytest.mark.parametrize(
    ("values", "kind", "wanted", "converted"),
    [
        ([1, 2**53 + 1], pa.int64(), pa.float64(), [1.0, 2.0**53]),
        ([Decimal("0.70")], pa.decimal128(10, 2), pa.float64(), [0.7]),
        ([0, 1], pa.int64(), pa.bool_(), [False, True]),
        ([1.1], pa.float64(), pa.float32(), [float(np.float32(1.1))]),
        ([dt.datetime(2024, 1, 1)], pa.timestamp("us"), pa.date32(), [dt.date(2024, 1, 1)]),
        ([b"n"], pa.binary(), pa.string(), ["n"]),
        ([0.25], pa.float64(), pa.decimal128(5, 2), [Decimal("0.25")]),
        ([2, 0], pa.int64(), pa.bool_(), None),
        ([0.5], pa.float64(), pa.bool_(), None),
        ([1e300], pa.float64(), pa.float32(), None),
        ([0.125], pa.float64(), pa.decimal128(5, 2), None),
        ([dt.datetime(2024, 1, 1, 10)], pa.timestamp("us"), pa.date32(), None),
        ([dt.datetime(2024, 1, 1, 10)], pa.timestamp("us"), pa.time64("us"), None),
        ([dt.datetime(9999, 1, 1)], pa.timestamp("us"), pa.timestamp("ns"), None),
        ([1.5], pa.float64(), pa.int64(), None),
        ([b"\xff"], pa.binary(), pa.string(), None),
    ],
    ids=str,
)
def test_a_declared_type_keeps_each_value_or_refuses_it(values: Any, kind: Any, wanted: Any, converted: Any) -> None:
    if converted is None:
        with pytest.raises((pa.ArrowInvalid, pa.ArrowNotImplementedError)):
            exact.convert(column(values, kind), wanted, "x")
    else:
        assert exact.convert(column(values, kind), wanted, "x").to_pylist() == converted


def test_files_of_a_key_are_one_column_only_where_no_value_changes() -> None:
    def files(*columns: pa.Array) -> list[tuple[str, bytes]]:
        return [(f"{at}.parquet", parquet(pa.table({"x": each}))) for at, each in enumerate(columns)]

    assert read(files(pa.array([1]), pa.array([1.5])), ReadSpec())["x"].to_pylist() == [1.0, 1.5]
    with pytest.raises(PartitionError) as caught:
        read(files(pa.array([2**53 + 1]), pa.array([1.5])), ReadSpec())
    assert caught.value.reason == "inexact_number"
    for other in (pa.array([2**64 - 1], pa.uint64()), pa.array([dt.datetime(9999, 1, 1)], pa.timestamp("us"))):
        small = pa.array([1], pa.int64()) if pa.types.is_integer(other.type) else pa.array([1], pa.timestamp("ns"))
        with pytest.raises(PartitionError, match="the files of this key differ") as caught:
            read(files(small, other), ReadSpec())
        assert caught.value.reason == "schema_mismatch"
