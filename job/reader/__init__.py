"""Reads the bytes of objects into one Arrow table, strictly.

``read`` decompresses, parses and joins the objects of one partition. Damaged, truncated or ragged data, and data that
differs from the declared schema, raise a `PartitionError` with a reason; nothing is guessed or repaired. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from job.errors import PartitionError, SkipPartition
from job.formats import DIRECT, compression, format_of
from job.keys import hive_columns
from job.reader import levels, order
from job.reader.columnar import read_arrow, read_parquet
from job.reader.decompress import inflate
from job.reader.json_lines import read_json
from job.reader.levels import level_value
from job.reader.schema import NO_FEATURE, cast_declared, check_declared, concatenate
from job.reader.spec import ReadSpec, as_text, declared_types
from job.reader.text_csv import read_csv
from job.reader.text_types import typed

__all__ = ["KEY_FIELD", "ReadSpec", "level_value", "levels", "read"]

KEY_FIELD = NO_FEATURE
"""Metadata of a column that comes from the partition's key: no feature unless the recipe names it."""

TEXTS = ("csv", "tsv")
"""Formats whose values have no type of their own."""


def read(
    blobs: Sequence[tuple[str, Any]],
    spec: ReadSpec,
) -> pa.Table:
    """Read the objects of one partition as one table.

    Parameters
    ----------
    blobs
        Name and bytes (any buffer) of each object. The rows of the table come in this order.
    spec
        How to read them.

    Raises
    ------
    PartitionError
        With a reason of `job.outcome.REASONS`.
    SkipPartition
        ``empty``: no object holds any data, not even a header.
    """
    tables: list[tuple[str, pa.Table]] = []
    texts: list[int] = []
    for name, data in blobs:
        table = _read_one(name, data, spec, tuple(hive_columns(name)) if spec.hive else ())
        if table is not None:
            if not spec.whole_schema and _kind(name, spec.type)[0] in TEXTS:
                texts.append(len(tables))
            tables.append((name, _with_optional(table, spec)))
    if not tables:
        raise SkipPartition("empty", "there is no data: " + ", ".join(name for name, _ in blobs[:3]))
    names, rows = [name for name, _ in tables], [table.num_rows for _, table in tables]
    _give_types(tables, texts, spec)
    table = concatenate(tables)
    if not spec.hive:
        return table
    if len(tables) > 1 and not spec.order_by:
        table = order.without_order(table)  # the order of file names has no meaning for the user
    found = [hive_columns(name) for name in names]
    same = all(each == found[0] for each in found)
    file_of_row = None if same else np.repeat(np.arange(len(rows)), rows)
    declared = declared_types(spec.schema)
    return levels.add(table, found[:1] if same else found, file_of_row, declared, spec.beside)


def _with_optional(table: pa.Table, spec: ReadSpec) -> pa.Table:
    """The table of one file, with missing values in each optional column that the file lacks."""
    for name in spec.optional:
        if name not in table.column_names and (spec.needed is None or name in spec.needed):
            kind = declared_types(spec.schema)[name]
            table = table.append_column(pa.field(name, kind), pa.nulls(table.num_rows, kind))
    return table


def _give_types(tables: list[tuple[str, pa.Table]], texts: Sequence[int], spec: ReadSpec) -> None:
    """Replace the csv tables, whose columns are texts, by typed tables (in place).

    A column has one type in all files of a key, so its type is inferred from the rows of all of them.
    """
    if not texts:
        return
    rows = [tables[at][1].num_rows for at in texts]
    joined = concatenate([tables[at] for at in texts])
    for at in texts:
        tables[at] = (tables[at][0], joined[:0])
    joined = _typed(joined, spec)
    for at, begin, count in zip(texts, np.cumsum([0, *rows]), rows, strict=False):
        tables[at] = (tables[at][0], joined[int(begin) : int(begin) + count])


def _typed(table: pa.Table, spec: ReadSpec) -> pa.Table:
    """Infer the types of csv columns. The texts of each column are released as soon as its values are converted."""
    names, columns = table.column_names, table.columns
    del table
    untyped = set(names) - {*spec.texts, *declared_types(spec.schema)}
    for at, name in enumerate(list(names)):
        if name in untyped:
            text = columns[at] if name in spec.beside else None
            columns[at] = typed(columns[at], name, nulls=spec.null_values, decimal=spec.decimal)
            if text is not None and columns[at].type != text.type:
                names.append(as_text(name))
                columns.append(text)
    return pa.table(columns, names=names)


def _read_one(name: str, data: Any, spec: ReadSpec, elsewhere: tuple[str, ...]) -> pa.Table | None:
    if not memoryview(data).nbytes:
        return None
    kind, codec = _kind(name, spec.type)
    if codec:
        data = inflate(name, data, codec, max_bytes=spec.max_bytes, max_ratio=spec.max_ratio)
        if not len(data):
            return None
    declared = declared_types(spec.schema)
    elsewhere = (*elsewhere, *spec.optional)
    if kind in TEXTS:
        delimiter = "\t" if kind == "tsv" and spec.delimiter == "," else spec.delimiter
        return read_csv(name, data, spec, delimiter, elsewhere, declared)
    needed = None if spec.whole_schema else spec.needed  # with a full input.schema all columns are checked
    if kind == "json":
        table = read_json(name, data, spec.encoding, declared)
    elif kind == "parquet":
        table = read_parquet(name, data, needed, elsewhere, spec.max_bytes)
    else:
        table = read_arrow(name, data, needed, elsewhere, spec.max_bytes)
    if declared and table is not None:
        if spec.whole_schema:
            check_declared(name, table.column_names, declared, None, elsewhere)
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
