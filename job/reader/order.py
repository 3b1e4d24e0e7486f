"""Sorts rows by the columns of ``input.order_by``: by value, never by text. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from job.errors import PartitionError
from job.reader import times
from job.reader.schema import NO_FEATURE

_UNORDERED = {b"manyfit.order": b"none"}


def sort(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """Sort the rows by the values of these columns, from left to right. Equal rows keep their order.

    Parameters
    ----------
    table
        The rows of one partition.
    names
        Columns of numbers, truth values, dates, times, or texts that are ISO dates or times; without missing values.

    Returns
    -------
    pyarrow.Table
        The sorted rows. The columns ``names`` are marked: they are no features unless the recipe names them.

    Raises
    ------
    PartitionError
        ``missing_column``, ``missing_values``, ``bad_time``: see `values`.
    """
    if not names:
        return table
    at = [times.position(table, name, "input.order_by") for name in names]
    ordering = [values(table.column(each), name, "input.order_by") for each, name in zip(at, names, strict=True)]
    for each in at:
        field = table.schema.field(each)
        table = table.set_column(each, field.with_metadata(NO_FEATURE), table.column(each))
    if table.num_rows < 2:
        return table
    columns = [str(number) for number in range(len(ordering))]
    rows = pc.sort_indices(pa.table(ordering, names=columns), sort_keys=[(each, "ascending") for each in columns])
    if np.array_equal(rows.to_numpy(), np.arange(table.num_rows)):
        return table
    return table.take(rows).combine_chunks()


def without_order(table: pa.Table) -> pa.Table:
    """Mark the rows as unordered, because they come from several files or from Spark."""
    return table.replace_schema_metadata({**(table.schema.metadata or {}), **_UNORDERED})


def has_order(table: pa.Table) -> bool:
    """Whether the order of the rows has a meaning: it is that of one file, or of ``input.order_by``."""
    return not (_UNORDERED.items() <= (table.schema.metadata or {}).items())


def values(column: pa.ChunkedArray, name: str, setting: str) -> pa.ChunkedArray:
    """The values of a column in a type that can be sorted: texts are parsed as times, others stay as they are.

    Parameters
    ----------
    column
        A column of any type.
    name
        The column's name, for messages.
    setting
        The setting that names the column, for messages.

    Raises
    ------
    PartitionError
        ``missing_values``: a value is missing; ``bad_time``: a text is no ISO date or time, or the type has no order.
    """
    if pt.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    gaps = pc.sum(pc.is_null(column, nan_is_null=True)).as_py() or 0
    if gaps:
        message = f"column {name!r}, which orders the rows, is missing in {gaps:,} of {len(column):,} rows"
        hint = f"Correct the data, or order the rows by another column: {setting}."
        raise PartitionError("missing_values", message, hint=hint)
    kind = column.type
    if pt.is_integer(kind) or pt.is_floating(kind) or pt.is_decimal(kind) or pt.is_boolean(kind):
        return column
    if pt.is_temporal(kind) and not pt.is_interval(kind):
        return column
    if not (pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind)):
        message = f"column {name!r}, which orders the rows, is {kind}, which has no order"
        raise PartitionError("bad_time", message, hint=f"Name a column of numbers, dates or times: {setting}.")
    parsed = times.parse(column)
    if parsed is None:
        row = times.first_bad(column)
        where = f"row {row} is not an ISO date or time" if row else "some have an offset from UTC and some have none"
        message = f"column {name!r}, which orders the rows, is text, and {where}; text is not ordered as text"
        hint = (
            f"Say how its times are written, such as input.times: {{{name}: '%d/%m/%Y'}}, or order by another column."
        )
        raise PartitionError("bad_time", message, hint=hint)
    return parsed
