"""A part: a Parquet file with the predictions of a few keys. Its name is its digest. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from job.score import columns

ROW_GROUP = 131_072
FOLDER = "predictions"
"""the folder of the Delta table of predictions below the output"""
TEXTS = ("_key", "_model", "_input", "_run")
"""Columns whose texts are the same in many rows; they may be dictionary-encoded."""
_REPEATED = (*TEXTS, "_models_version", "_scored_at")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A file of predictions."""

    data: bytes
    digest: str
    """SHA-256 of the file, as hexadecimal digits"""
    columns: str
    """schema of the file (`job.score.columns.described`)"""


def path(digest: str) -> str:
    """The path of a part below the table."""
    return f"parts/{digest[:2]}/{digest}.parquet"


def pack(tables: Sequence[pa.Table]) -> Part:
    """Encode the rows of some keys, in this order, as one file. Equal rows give equal bytes."""
    if any(map(_is_coded, tables)):
        tables = [each if _is_coded(each) else _coded(each) for each in tables]
    table = pa.concat_tables(tables, promote_options="default").unify_dictionaries()
    table = table.select(columns.ordered(table.schema))
    sink = pa.BufferOutputStream()
    # Without Arrow's own schema, so that the file is plain Parquet.
    pq.write_table(
        table,
        sink,
        compression="zstd",
        use_dictionary=[name for name in _REPEATED if name in table.column_names],
        store_schema=False,
        row_group_size=ROW_GROUP,
    )
    data = sink.getvalue().to_pybytes()
    return Part(data=data, digest=hashlib.sha256(data).hexdigest(), columns=columns.described(_decoded(table.schema)))


def _is_coded(table: pa.Table) -> bool:
    return bool(pa.types.is_dictionary(table.schema.field("_key").type))


def _coded(table: pa.Table) -> pa.Table:
    for name in TEXTS:
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, table.column(at).dictionary_encode())
    return table


def _decoded(schema: pa.Schema) -> pa.Schema:
    kinds = [each.type.value_type if pa.types.is_dictionary(each.type) else each.type for each in schema]
    return pa.schema([each.with_type(kind) for each, kind in zip(schema, kinds, strict=True)])
