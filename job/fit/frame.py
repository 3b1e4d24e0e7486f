"""Converts Arrow tables to pandas frames and series and numpy arrays, for estimators and functions.

Values have the types that ``pandas.read_csv`` gives: numbers have numpy types, a missing text is NaN, dates and times
are datetime64[ns] (a coarser unit for years outside its range), and a decimal is the nearest float.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.types as pt

from job.reader.exact import refuse_rounded, to_float

_FLOATS = frozenset(kind.id for kind in (pa.float16(), pa.float32(), pa.float64()))
_INTEGERS = frozenset(kind.id for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64()))
_UNSIGNED = frozenset(kind.id for kind in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()))
_DECIMALS = frozenset(kind.id for kind in (pa.decimal32(9), pa.decimal64(9), pa.decimal128(9), pa.decimal256(9)))
_TEXTS = frozenset(kind.id for kind in (pa.string(), pa.large_string(), pa.string_view()))
_BOOL, _CATEGORY = pa.bool_().id, pa.dictionary(pa.int8(), pa.string()).id
_WIDE = frozenset({pa.int64().id, pa.uint64().id})
_ODD = _DECIMALS | {pa.null().id}
_NUMBERS = _FLOATS | _INTEGERS | _UNSIGNED | _ODD | {_BOOL}
_BLOCK = (_FLOATS - {pa.float16().id}) | _INTEGERS | (_UNSIGNED - {pa.uint64().id})

_LARGE = 4_000_000
"""Tables with more cells than this give their memory back to the system at once."""


def give_back(cells: int) -> None:
    """Give the memory of a dropped large table back to the system: else Arrow's pool keeps it, and the fit needs it."""
    if cells > _LARGE:
        pa.default_memory_pool().release_unused()


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of this type counts as numbers: also bool, decimal, and null (without values)."""
    return kind.id in _NUMBERS


def is_float(kind: pa.DataType) -> bool:
    """Whether a column of this type may hold NaN and infinite values."""
    return kind.id in _FLOATS


def is_time(kind: pa.DataType) -> bool:
    """Whether a column of this type is a date, a time or a duration."""
    return bool(pt.is_temporal(kind))


def is_textual(kind: pa.DataType) -> bool:
    """Whether a column of this type holds texts, also as categories."""
    return (kind.value_type.id if kind.id == _CATEGORY else kind.id) in _TEXTS


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """Convert all columns to a frame, which the caller may change.

    Raises
    ------
    PartitionError
        ``inexact_number``: a whole number would be rounded, because missing values make its column float64.
    """
    for number, field in enumerate(table.schema):
        column = _plain(table.column(number), field.name)
        if column is not None:
            table = table.set_column(number, pa.field(field.name, column.type), column)
    frame = table.to_pandas(use_threads=False, ignore_metadata=True, date_as_object=False)
    for number, kind in enumerate(table.schema.types):
        if (kind.id in _TEXTS or kind.id == _BOOL) and table.column(number).null_count:
            column = frame.iloc[:, number]
            frame[frame.columns[number]] = column.where(column.notna(), np.nan)
    return frame  # type: ignore[no-any-return]


def _plain(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray | None:
    """The column in the type that pandas' own readers would give it; None if it needs no conversion."""
    kind = column.type
    if kind.id in _ODD:
        return to_float(column, name)
    if column.null_count and kind.id in _WIDE:
        refuse_rounded(column, name, "the gaps in its column make it one")
    unit = getattr(kind, "unit", "ns")
    if pt.is_date(kind) or (unit != "ns" and (pt.is_timestamp(kind) or pt.is_duration(kind))):
        # Always one unit: else a function that uses times as integers would give other results for other files.
        fine = pa.duration("ns") if pt.is_duration(kind) else pa.timestamp("ns", getattr(kind, "tz", None))
        try:
            return column.cast(fine)
        except pa.ArrowInvalid:
            return None  # years outside the range of nanoseconds, such as 9999
    return None


def features(table: pa.Table, names: Sequence[str], *, series: bool) -> Any:
    """The features as an estimator gets them: a frame, or one series."""
    chosen = table.select(list(names))
    for number, kind in enumerate(chosen.schema.types):
        if kind.id == _BOOL and chosen.column(number).null_count:
            name = chosen.schema.field(number).name
            chosen = chosen.set_column(number, name, chosen.column(number).cast(pa.int8()).cast(pa.float64()))
    frame = to_pandas(chosen)
    return frame[names[0]] if series else frame


def target(table: pa.Table, names: Sequence[str]) -> Any:
    """The target: a series, or a frame if there are several targets."""
    frame = to_pandas(table.select(list(names)))
    return frame[names[0]] if len(names) == 1 else frame


def array(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    """A column without nulls as a numpy array, shape (rows,); without a copy if the column has one chunk."""
    piece = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if isinstance(piece, pa.ChunkedArray):
        return np.asarray(piece.to_numpy())
    return np.asarray(piece.to_numpy(zero_copy_only=False))


def block(table: pa.Table, names: Sequence[str]) -> np.ndarray[Any, Any] | None:
    """The columns as one array for a fit, shape (rows, columns); None if a column has nulls or is not of numbers.

    The array is in Fortran order, like the values of the frame that ``to_pandas()`` gives to scikit-learn. So results
    are equal to the last bit. If all columns are float32, the array is float32; other mixtures become float64, if that
    is also numpy's result type.
    """
    kinds = _kinds(table, names)
    if not kinds:
        return None
    kind = np.dtype(np.float32) if kinds == {np.float32} else np.result_type(np.float64, *kinds)
    if np.float32 in kinds and np.result_type(*kinds) != kind:
        return None
    return _filled(table, names, kind)


def values(table: pa.Table, names: Sequence[str]) -> np.ndarray[Any, Any] | None:
    """The values of the frame that `features` makes of these columns, without the frame: shape (rows, columns).

    Type and order in memory are those of ``features(...).to_numpy()``: numpy's common type of all columns, Fortran
    order. None if a column has nulls or is not of numbers.
    """
    kinds = _kinds(table, names)
    return _filled(table, names, np.result_type(*kinds)) if kinds else None


def _kinds(table: pa.Table, names: Sequence[str]) -> set[Any]:
    """The numpy types of the columns; empty if a column has nulls or is not of numbers."""
    columns = [table.column(name) for name in names]
    if any(column.null_count or column.type.id not in _BLOCK for column in columns):
        return set()
    return {column.type.to_pandas_dtype() for column in columns}


def _filled(table: pa.Table, names: Sequence[str], kind: Any) -> np.ndarray[Any, Any]:
    found = np.empty((len(names), table.num_rows), kind)
    for number, name in enumerate(names):
        found[number] = array(table.column(name))
    return found.T
