"""Arrow tables to what estimators and functions are given: pandas frames and series, numpy arrays.

Values are as ``pandas.read_csv`` would have them: numbers are numpy's, a missing text is NaN, dates are datetime64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.types as pt

_LARGE = 4_000_000
"""Cells from which on memory is given back to the system as soon as it can be."""


def give_back(cells: int) -> None:
    """After a large table was dropped: Arrow's pool keeps its memory, and the fit needs it next."""
    if cells > _LARGE:
        pa.default_memory_pool().release_unused()


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of this type is numbers (bool too)."""
    kinds = (pt.is_floating, pt.is_integer, pt.is_boolean, pt.is_decimal, pt.is_null)
    return any(check(kind) for check in kinds)


def is_time(kind: pa.DataType) -> bool:
    """Whether a column of this type is a date, a time or a duration."""
    return bool(pt.is_temporal(kind))


def is_textual(kind: pa.DataType) -> bool:
    """Whether a column of this type is texts."""
    if pt.is_dictionary(kind):
        kind = kind.value_type
    return any(check(kind) for check in (pt.is_string, pt.is_large_string, pt.is_string_view))


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """A frame of all columns, which the caller may change."""
    for number, field in enumerate(table.schema):
        if pt.is_decimal(field.type) or pt.is_null(field.type):
            table = table.set_column(
                number, pa.field(field.name, pa.float64()), table.column(number).cast(pa.float64())
            )
    frame = table.to_pandas(use_threads=False, ignore_metadata=True, date_as_object=False)
    for number, field in enumerate(table.schema):
        if table.column(number).null_count and (is_textual(field.type) or pt.is_boolean(field.type)):
            column = frame.iloc[:, number]
            if not isinstance(column.dtype, pd.CategoricalDtype):
                frame[field.name] = column.where(column.notna(), np.nan)
    return frame  # type: ignore[no-any-return]


def features(table: pa.Table, names: Sequence[str], *, series: bool) -> Any:
    """The features as an estimator gets them: a frame, or one series."""
    chosen = table.select(list(names))
    for number, field in enumerate(chosen.schema):
        if pt.is_boolean(field.type) and chosen.column(number).null_count:
            chosen = chosen.set_column(number, field.name, chosen.column(number).cast(pa.int8()).cast(pa.float64()))
    frame = to_pandas(chosen)
    return frame[names[0]] if series else frame


def target(table: pa.Table, names: Sequence[str]) -> Any:
    """The target: a series, or a frame of several."""
    frame = to_pandas(table.select(list(names)))
    return frame[names[0]] if len(names) == 1 else frame


def array(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    """A column without nulls as a numpy array, without a copy where it lies in one piece."""
    piece = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if isinstance(piece, pa.ChunkedArray):
        return np.asarray(piece.to_numpy())
    return np.asarray(piece.to_numpy(zero_copy_only=False))


def block(table: pa.Table, names: Sequence[str]) -> np.ndarray[Any, Any] | None:
    """The columns as one float64 array laid out as a frame's values, or None if they are not such numbers.

    Rows by columns, Fortran order: what scikit-learn gets out of ``to_pandas()``; results agree to the last bit.
    """
    columns = [table.column(name) for name in names]
    if any(column.null_count or not (pt.is_float64(column.type) or pt.is_int64(column.type)) for column in columns):
        return None
    values = np.empty((len(columns), table.num_rows))
    for number, column in enumerate(columns):
        values[number] = array(column)
    return values.T
