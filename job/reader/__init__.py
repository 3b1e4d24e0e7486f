"""Object bytes to one Arrow table, strictly.

``read`` inflates, parses and joins the objects of one partition. Data that is damaged, cut, ragged, or not what was
declared is a `PartitionError` with a reason; nothing is guessed or repaired. Pure: bytes in, table out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import pyarrow as pa

from job.errors import PartitionError, SkipPartition
from job.formats import DIRECT, compression, format_of
from job.reader.columnar import read_arrow, read_parquet
from job.reader.decompress import inflate
from job.reader.json_lines import read_json
from job.reader.schema import NO_FEATURE, cast_declared, check_declared, concatenate
from job.reader.spec import ReadSpec, declared_types
from job.reader.text_csv import read_csv
from job.reader.text_types import typed

__all__ = ["KEY_FIELD", "ReadSpec", "add_columns", "read"]

KEY_FIELD = NO_FEATURE
"""Metadata of a column that comes from the partition's key: no feature unless the recipe names it."""

TEXTS = ("csv", "tsv")
"""The formats whose values are texts without a type."""

_INTEGER = re.compile(r"-?\d{1,18}")
_NUMBER = re.compile(r"-?\d+\.\d+(?:[eE][+-]?\d+)?")


def read(
    blobs: Sequence[tuple[str, Any]],
    spec: ReadSpec,
    *,
    columns: Mapping[str, str | None] | None = None,
) -> pa.Table:
    """The objects of one partition as one table.

    Parameters
    ----------
    blobs
        Name and bytes (any buffer) of each object, in the order the rows shall have.
    spec
        How to read them.
    columns
        Columns from the path (hive), added unless the files have them: int64 or float64 where the text is such a
        number, else string.

    Raises
    ------
    PartitionError
        With a reason of `job.outcome.REASONS`.
    SkipPartition
        ``empty``: no object holds any data, not even a header.
    """
    tables: list[tuple[str, pa.Table]] = []
    texts: list[tuple[str, pa.Table]] = []
    for name, data in blobs:
        table = _read_one(name, data, spec, tuple(columns) if columns else ())
        if table is not None:
            (texts if not spec.schema and _kind(name, spec.type)[0] in TEXTS else tables).append((name, table))
    if texts:
        # One type for all files of a key: none of them knows alone whether a column is numbers.
        tables.insert(0, (texts[0][0], concatenate(texts)))
        texts.clear()
        tables[0] = (tables[0][0], _typed(tables[0][1], spec))
    if not tables:
        raise SkipPartition("empty", "there is no data: " + ", ".join(name for name, _ in blobs[:3]))
    table = concatenate(tables)
    return add_columns(table, columns) if columns else table


def _typed(table: pa.Table, spec: ReadSpec) -> pa.Table:
    """Texts of csv with the types that they have; lets go of each column's texts once it has them."""
    names, columns = table.column_names, table.columns
    del table
    for at, name in enumerate(names):
        if name not in spec.texts:
            columns[at] = typed(columns[at], name, nulls=spec.null_values, decimal=spec.decimal)
    return pa.table(columns, names=names)


def add_columns(table: pa.Table, columns: Mapping[str, str | None]) -> pa.Table:
    """The table with the path's columns, marked as such (`KEY_FIELD`), unless it has them."""
    for name, text in columns.items():
        if name in table.column_names:
            continue
        value, kind = level_value(text)
        column = pa.repeat(pa.scalar(value, kind), table.num_rows)
        table = table.append_column(pa.field(name, kind, metadata=KEY_FIELD), column)
    return table


def level_value(text: str | None) -> tuple[int | float | str | None, pa.DataType]:
    """What a directory's text stands for: a whole number, a number, or itself."""
    if text is not None and _INTEGER.fullmatch(text):
        return int(text), pa.int64()
    if text is not None and _NUMBER.fullmatch(text):
        return float(text), pa.float64()
    return text, pa.string()


def _read_one(name: str, data: Any, spec: ReadSpec, elsewhere: tuple[str, ...]) -> pa.Table | None:
    if not memoryview(data).nbytes:
        return None
    kind, codec = _kind(name, spec.type)
    if codec:
        data = inflate(name, data, codec, max_bytes=spec.max_bytes, max_ratio=spec.max_ratio)
        if not len(data):
            return None
    declared = declared_types(spec.schema)
    if kind in TEXTS:
        delimiter = "\t" if kind == "tsv" and spec.delimiter == "," else spec.delimiter
        return read_csv(name, data, spec, delimiter, elsewhere, declared)
    needed = None if declared else spec.needed  # the whole schema was declared: the whole is checked
    if kind == "json":
        table = read_json(name, data, spec.encoding, declared)
    elif kind == "parquet":
        table = read_parquet(name, data, needed, elsewhere, spec.max_bytes)
    else:
        table = read_arrow(name, data, needed, elsewhere, spec.max_bytes)
    if declared and table is not None:
        check_declared(name, table.column_names, declared, None)
        table = cast_declared(name, table, declared)
    return table


@lru_cache(maxsize=4096)
def _kind(name: str, declared: str) -> tuple[str, str | None]:
    codec, _ = compression(name)
    by_name = format_of(name)
    if declared != "auto":
        return declared, codec
    if by_name not in DIRECT:
        raise PartitionError(
            "unsupported_format",
            f"{name}: the format cannot be told from the name",
            hint="Name it: input.format.type: csv, json, parquet or arrow.",
        )
    return by_name, codec
