"""Sorts rows that come in any order, and computes a digest of them. Pure.

Spark delivers the rows of a key in any order. A fit may depend on the order (floating point sums, a seeded split). So
the rows are first sorted by their columns, from left to right. The sorted table is digested and fitted.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def ordered(table: pa.Table) -> pa.Table:
    """Sort the rows by all columns, from left to right, so that the order is unique."""
    table = table.combine_chunks()
    if table.num_rows < 2 or not table.num_columns:
        return table
    # Columns are named by position, as names need not be unique. Nested columns are sorted by their text.
    names = [str(at) for at in range(table.num_columns)]
    sortable = pa.table([_sortable(column) for column in table.columns], names=names)
    keys = [(name, "ascending") for name in names]
    return table.take(pc.sort_indices(sortable, sort_keys=keys)).combine_chunks()


def digest(table: pa.Table) -> str:
    """SHA-256 of names, types and values, in the order of the rows.

    It depends neither on Arrow's chunks nor on the bytes below nulls. 0.0 and -0.0 differ, and so do NaN and null.
    """
    hasher = hashlib.sha256()
    for field, column in zip(table.schema, table.columns, strict=True):
        head = f"{len(field.name)}:{field.name}\0{field.type}\0{len(column)}\n"
        hasher.update(head.encode("utf-8", "surrogatepass"))
        for part in _parts(_one_array(column)):
            hasher.update(part)
    return hasher.hexdigest()


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _sortable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return column.cast(kind.value_type)
    if pa.types.is_nested(kind) or pa.types.is_null(kind) or pa.types.is_interval(kind):
        return pa.chunked_array([_texts(column)])
    return column


def _texts(column: Any) -> pa.Array:
    return pa.array([None if value is None else repr(value) for value in column.to_pylist()], pa.string())


def _parts(array: pa.Array) -> list[Any]:
    """Buffers of an array that are the same for equal values."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _parts(array.cast(kind.value_type))
    valid = np.packbits(pc.is_valid(array).to_numpy(zero_copy_only=False)) if array.null_count else b""
    if pa.types.is_boolean(kind):
        return [valid, np.packbits(pc.fill_null(array, False).to_numpy(zero_copy_only=False))]
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        return [valid, np.ascontiguousarray(pc.fill_null(array, 0).to_numpy(zero_copy_only=False))]
    if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        width = pa.int32() if kind.bit_width == 32 else pa.int64()
        return [valid, *_parts(array.view(width) if not array.null_count else pc.fill_null(array.view(width), 0))]
    if not _is_text(kind):
        # Decimals and nested values are rare, and their text is exact.
        array = _texts(array)
        kind = array.type
    return [valid, *_text_parts(array)]


def _is_text(kind: pa.DataType) -> bool:
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(kind) for test in tests)


def _text_parts(array: pa.Array) -> list[Any]:
    filled = pc.fill_null(array, "" if pa.types.is_string(array.type) or pa.types.is_large_string(array.type) else b"")
    lengths = pc.binary_length(filled).to_numpy(zero_copy_only=False).astype(np.int64)
    width = np.int64 if pa.types.is_large_string(filled.type) or pa.types.is_large_binary(filled.type) else np.int32
    _, offsets, data = filled.buffers()
    bounds = np.frombuffer(offsets, width)[filled.offset : filled.offset + len(filled) + 1]
    if data is None or not len(bounds):
        return [lengths]
    return [lengths, memoryview(data)[int(bounds[0]) : int(bounds[-1])]]
