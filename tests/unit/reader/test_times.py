from __future__ import annotations

import datetime as dt
import random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.errors import PartitionError
from job.reader import times


def column(*texts: str | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(texts, pa.string())])


def parsed(*texts: str | None, form: str = times.ISO) -> list[str] | None:
    found = times.parse(column(*texts), form)
    return None if found is None else [str(each) for each in found.to_pylist()]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024", "2024-01-01 00:00:00"),
        ("2024-03", "2024-03-01 00:00:00"),
        ("2024-03-05", "2024-03-05 00:00:00"),
        ("2024-03-05T07", "2024-03-05 07:00:00"),
        ("2024-03-05 07:08", "2024-03-05 07:08:00"),
        ("2024-03-05T07:08:09", "2024-03-05 07:08:09"),
        ("2024-03-05T07:08:09,5", "2024-03-05 07:08:09.500000"),
        ("2024-03-05T07:08:09.123456789", "2024-03-05 07:08:09.123456789"),
        ("2024-03-05T07:08:09Z", "2024-03-05 07:08:09+00:00"),
        ("2024-03-05T07:08+02:00", "2024-03-05 05:08:00+00:00"),
        ("2024-03-05T07:08:09-0330", "2024-03-05 10:38:09+00:00"),
        ("07:08", "1970-01-01 07:08:00"),
        ("07:08:09.25", "1970-01-01 07:08:09.250000"),
        ("1500-01-01", "1500-01-01 00:00:00"),
        ("9999-12-31", "9999-12-31 00:00:00"),
    ],
)
def test_an_iso_text_is_its_moment(text: str, moment: str) -> None:
    assert parsed(text) == [moment]


@pytest.mark.parametrize(
    "text",
    [
        "31/12/2024",
        "2024-1-5",
        "2024-02-30",
        "week 5",
        "",
        " 2024-01-05",
        "2024-01-05x",
        "24:00",
        "7:08",
        "2024-W05",
        "12",
    ],
)
def test_any_other_text_is_none(text: str) -> None:
    assert parsed("2024-01-01", text) is None
    assert times.first_bad(column("2024-01-01", "2024-01-02", text, "2024-01-03")) == 3


def test_offsets_on_some_texts_only_are_not_moments_of_one_clock() -> None:
    assert parsed("2024-01-01T10:00:00Z", "2024-01-01T10:00:00") is None
    assert times.first_bad(column("2024-01-01T10:00:00Z", "2024-01-01T10:00:00")) in (None, 2)


def test_missing_texts_stay_missing() -> None:
    assert parsed("2024-01-01", None) == ["2024-01-01 00:00:00", "None"]
    assert times.parse(pa.chunked_array([pa.nulls(2)])).null_count == 2


@given(
    moments=st.lists(st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)), min_size=1),
    form=st.sampled_from(["%d/%m/%Y %H:%M:%S.%f", "%Y%m%d-%H%M%S.%f", "%m.%d.%Y %I:%M:%S.%f %p"]),
    seed=st.integers(0, 99),
)
def test_texts_of_a_declared_form_are_the_moments_that_were_written(
    moments: list[dt.datetime], form: str, seed: int
) -> None:
    random.Random(seed).shuffle(moments)
    found = times.parse(column(*[each.strftime(form) for each in moments]), form)
    assert found is not None
    assert [each.as_py().to_pydatetime() for each in found] == moments


@given(moments=st.lists(st.datetimes(), min_size=1), blank=st.booleans())
def test_texts_of_iso_moments_are_the_moments_that_were_written(moments: list[dt.datetime], blank: bool) -> None:
    texts = [each.isoformat(" " if blank else "T") for each in moments]
    found = times.parse(column(*texts))
    assert found is not None
    assert found.cast(pa.timestamp("us")).to_pylist() == moments


def test_a_declared_column_becomes_time_stamps_and_dates_stay_dates() -> None:
    table = pa.table({"day": ["31/12/2024", "01/02/2024"], "at": pa.array([1, 2], pa.date32()), "x": [1, 2]})
    read = times.declared(table, [("day", "%d/%m/%Y"), ("at", "iso")])
    assert read.schema.types == [pa.timestamp("ns"), pa.date32(), pa.int64()]
    assert [str(each)[:10] for each in read["day"].to_pylist()] == ["2024-12-31", "2024-02-01"]


def test_a_text_of_another_form_is_refused_by_row_and_without_its_value() -> None:
    table = pa.table({"day": ["31/12/2024", "secret"]})
    with pytest.raises(PartitionError, match=r"row 2 of column 'day' is not a time of the form '%d/%m/%Y'") as caught:
        times.declared(table, [("day", "%d/%m/%Y")])
    assert caught.value.reason == "bad_time"
    assert "secret" not in str(caught.value)
    with pytest.raises(PartitionError, match="column 'dya' not there") as caught:
        times.declared(table, [("dya", "iso")])
    assert caught.value.reason == "missing_column"
