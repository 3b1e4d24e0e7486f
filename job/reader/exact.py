"""Conversions that keep each value, or round it once to the nearest float. Others raise an error. Pure."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from job.errors import PartitionError

EXACT = 2**53
"""float64 holds every whole number up to this one exactly."""

_STORED = {
    pa.string_view().id: pa.string(),
    pa.binary_view().id: pa.binary(),
    pa.float16().id: pa.float64(),
}
"""Ids of types that most of Arrow's functions do not support, and the plain type for the same values."""


def inexact(file: str, column: str, row: int, why: str) -> PartitionError:
    """The ``inexact_number`` error for a whole number that would be rounded; ``file`` may be empty."""
    where = f"{file}: column {column!r}, row {row}" if file else f"column {column!r}, row {row}"
    message = f"{where} is a whole number that a float64 cannot hold, and {why}"
    hint = f"Declare it in input.schema: {column}: string (a code), or float64 (a quantity that may be rounded)."
    return PartitionError("inexact_number", message, hint=hint)


def refuse_rounded(column: pa.ChunkedArray, name: str, why: str) -> None:
    """Raise ``inexact_number`` if float64 cannot hold a whole number of the column exactly."""
    bounds = pc.min_max(column).as_py()
    if bounds["min"] is None or (bounds["min"] >= -EXACT and bounds["max"] <= EXACT):
        return
    floats = column.cast(pa.string()).cast(pa.float64())
    for row, (value, number) in enumerate(zip(column.to_pylist(), floats.to_pylist(), strict=True), start=1):
        if value is not None and int(number) != value:
            raise inexact("", name, row, why)


def to_float(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Convert numbers to float64, each to the nearest one: a DECIMAL 0.70 is the float 0.7.

    Raises
    ------
    PartitionError
        ``inexact_number``: the column has decimals of scale 0 (whole numbers), and one of them would be rounded.
    """
    kind = column.type
    if pt.is_decimal(kind):
        if kind.scale <= 0:
            refuse_rounded(column, name, "a decimal is given to estimators as one")
        return column.cast(pa.string()).cast(pa.float64())  # Arrow's own cast is off by one bit for one value in seven
    return column.cast(pa.float64(), safe=not pt.is_integer(kind))


def convert(column: pa.ChunkedArray, wanted: pa.DataType, name: str) -> pa.ChunkedArray:
    """Convert the column to a type that holds its values.

    Integers and decimals become the nearest float64, and float64 the nearest float32; nothing else is rounded.

    Raises
    ------
    pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError
        A value cannot be converted, or would lose a part: the time of day, digits, or any number but 0 and 1 as a bool.
    """
    kind = column.type
    if kind == wanted:
        return column
    if pt.is_float64(wanted) and (pt.is_integer(kind) or pt.is_decimal(kind)):
        text = column.cast(pa.string()) if pt.is_decimal(kind) else column
        return text.cast(wanted, safe=False)
    found = column.cast(wanted)
    if _may_lose(kind, wanted):
        back = found.cast(kind)
        same = pc.all(pc.equal(back, column)).as_py()
        if same is False:
            raise pa.ArrowInvalid(f"column {name!r} would lose a part of its values")
    if pt.is_floating(kind) and pt.is_floating(wanted) and wanted.bit_width < kind.bit_width:
        infinite = pc.and_(pc.is_inf(found), pc.invert(pc.is_inf(column)))
        if pc.any(infinite).as_py():
            raise pa.ArrowInvalid(f"column {name!r} has values beyond {wanted}")
    return found


def _may_lose(kind: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether Arrow's cast between these types may lose a part of a value without an error."""
    number = pt.is_integer(kind) or pt.is_floating(kind)
    if pt.is_timestamp(kind):
        return bool(pt.is_date(wanted) or pt.is_time(wanted))
    return bool((number and pt.is_boolean(wanted)) or (pt.is_floating(kind) and pt.is_decimal(wanted)))


def plain(table: pa.Table) -> pa.Table:
    """The table with the same values in types that most of Arrow's functions support.

    Views become strings and binaries, run-end encoded columns plain ones, and float16 becomes float64. Dictionaries of
    float16 values or decimals are decoded. A UUID becomes its text; other extension types become what they are stored
    as.
    """
    for at, kind in enumerate(table.schema.types):
        column: Any = table.column(at)
        if isinstance(kind, pa.BaseExtensionType):
            column = _stored_values(column)
        if pt.is_run_end_encoded(kind):
            column = pa.chunked_array([pc.run_end_decode(chunk) for chunk in column.chunks], kind.value_type)
        column = _simple(column)
        if column.type != kind:
            table = table.set_column(at, table.schema.field(at).with_type(column.type), column)
    return table


def extension_type(kind: pa.BaseExtensionType) -> pa.DataType:
    """The type to which `plain` converts an extension type."""
    return pa.string() if kind.extension_name == "arrow.uuid" else kind.storage_type


def _stored_values(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if column.type.extension_name == "arrow.uuid":
        texts = [[None if each is None else str(each) for each in chunk.to_pylist()] for chunk in column.chunks]
        return pa.chunked_array([pa.array(each, pa.string()) for each in texts], pa.string())
    return pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)


def _simple(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if not pt.is_dictionary(kind):
        stored = _STORED.get(kind.id)
        return column if stored is None else column.cast(stored)
    stored = _STORED.get(kind.value_type.id)
    if stored is not None:
        # Cast the dictionaries, not the rows: Arrow's `take` does not support views.
        chunks = [
            pa.DictionaryArray.from_arrays(chunk.indices, chunk.dictionary.cast(stored), ordered=kind.ordered)
            for chunk in column.chunks
        ]
        column = pa.chunked_array(chunks, pa.dictionary(kind.index_type, stored, ordered=kind.ordered))
    if pt.is_float16(kind.value_type) or pt.is_decimal(kind.value_type):
        value = column.type.value_type
        return pa.chunked_array([chunk.dictionary_decode() for chunk in column.chunks], value)
    return column
