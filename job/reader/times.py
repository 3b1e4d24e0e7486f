"""Parses texts of dates and times as time stamps: ISO 8601, or a declared format. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from job.errors import PartitionError

ISO = "iso"
"""The name of ISO 8601 as a format in ``input.times``."""

# A day may be only a year and month, or a year. Either all texts have an offset from UTC or none: see `_iso`.
_DAY = r"^\d{4}(-\d{2}(-\d{2})?)?$"
_MOMENT = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}(:\d{2}(:\d{2}([.,]\d{1,9})?)?)?(Z|[+-]\d{2}(:?\d{2})?)?$"
_OFFSET = r"[T ].*(Z|[+-]\d{2}(:?\d{2})?)$"
_CLOCK = r"^\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?$"
_NANOSECONDS = r"[.,]\d{7,9}"


def declared(table: pa.Table, formats: Iterable[tuple[str, str]]) -> pa.Table:
    """Convert the columns of ``input.times`` to time stamps. Columns that are dates or times already stay unchanged.

    Parameters
    ----------
    table
        The rows of one partition.
    formats
        Pairs of a column and its format: `ISO`, or a format of strptime.

    Raises
    ------
    PartitionError
        ``missing_column``; ``bad_time`` if a value does not match the format.
    """
    for name, form in formats:
        at = position(table, name, "input.times")
        if not pt.is_temporal(table.column(at).type):
            parsed = parse(table.column(at), form)
            if parsed is None:
                raise _bad(table.column(at), name, form)
            table = table.set_column(at, pa.field(name, parsed.type, metadata=table.schema.field(at).metadata), parsed)
    return table


def position(table: pa.Table, name: str, setting: str) -> int:
    """The position of a column that a setting names; raises ``missing_column``."""
    if name not in table.column_names:
        shown = ", ".join(map(repr, table.column_names[:12])) + (" ..." if table.num_columns > 12 else "")
        raise PartitionError("missing_column", f"{setting}: column {name!r} not there", hint=f"There are {shown}.")
    return int(table.column_names.index(name))


def parse(column: pa.ChunkedArray, form: str = ISO) -> pa.ChunkedArray | None:
    """Parse the texts of a column as time stamps. Returns None if one does not match the format. Nulls stay null.

    Texts with an offset from UTC become time stamps in UTC. Texts with only a time of day get the date 1970-01-01.
    """
    if pt.is_null(column.type):
        return column.cast(pa.timestamp("ns"))
    texts = column.cast(pa.string())
    parsed = _iso(texts) if form == ISO else _formatted(texts, form)
    return None if parsed is None else _fine(parsed)


def _iso(texts: pa.ChunkedArray) -> pa.ChunkedArray | None:
    if _all(texts, _CLOCK):
        texts = pc.binary_join_element_wise("1970-01-01", texts, " ")
    else:
        day = pc.match_substring_regex(texts, _DAY)
        if not _true(pc.or_(day, pc.match_substring_regex(texts, _MOMENT))):
            return None
        length = pc.utf8_length(texts)
        texts = pc.if_else(pc.equal(length, 4), pc.binary_join_element_wise(texts, "01-01", "-"), texts)
        texts = pc.if_else(pc.equal(length, 7), pc.binary_join_element_wise(texts, "01", "-"), texts)
    # Texts with an offset and texts without one cannot be compared: the cast refuses such a mixture.
    zone = "UTC" if _true(pc.match_substring_regex(texts, _OFFSET)) else None
    unit = "ns" if pc.any(pc.match_substring_regex(texts, _NANOSECONDS)).as_py() else "us"
    try:
        return pc.replace_substring(texts, ",", ".").cast(pa.timestamp(unit, zone))
    except pa.ArrowInvalid:
        return None  # such as the 30th of February, or an offset in some texts only


def _formatted(texts: pa.ChunkedArray, form: str) -> pa.ChunkedArray | None:
    values = texts.to_pandas()
    form = form.replace("%-", "%").replace("%#", "%")  # the flags for "no padding" do not matter for parsing
    try:
        import pandas as pd  # takes long, and the driver of a run begins without it

        found = pd.to_datetime(values, format=form, utc="%z" in form or "%Z" in form)
    except (ValueError, TypeError, OverflowError):
        return None
    return pa.chunked_array([pa.Array.from_pandas(found)])


def _fine(parsed: pa.ChunkedArray) -> pa.ChunkedArray:
    """Convert to nanoseconds, as in pandas, if the range of years allows it."""
    try:
        return parsed.cast(pa.timestamp("ns", parsed.type.tz))
    except pa.ArrowInvalid:
        return parsed


def _all(texts: pa.ChunkedArray, expression: str) -> bool:
    return _true(pc.match_substring_regex(texts, expression))


def _true(mask: Any) -> bool:
    return bool(pc.all(mask).as_py())


def _bad(column: pa.ChunkedArray, name: str, form: str) -> PartitionError:
    what = "an ISO date or time" if form == ISO else f"a time of the form {form!r}"
    row = first_bad(column, form)
    where = (
        f"row {row} of column {name!r}" if row else f"column {name!r} as a whole (some texts have an offset from UTC)"
    )
    message = f"{where} is not {what}, as input.times says"
    return PartitionError("bad_time", message, hint=f"Correct the data, or the form: input.times.{name}.")


def first_bad(column: pa.ChunkedArray, form: str = ISO) -> int | None:
    """The number, from 1, of the first row that does not match the format; None if each row alone matches it."""
    low, high = 0, len(column)
    if parse(column, form) is not None:
        return None
    while high - low > 1:  # the first half that fails holds the first that fails
        middle = (low + high) // 2
        low, high = (low, middle) if parse(column[low:middle], form) is None else (middle, high)
    return low + 1 if parse(column[low:high], form) is None else None
