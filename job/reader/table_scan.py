"""The files of a table, read without Spark: pieces of files in, rows with the table's own columns out.

A table is many files with the same columns. What is the same is settled once, on the driver (`settle`): the columns in
their order, each with one type. Whoever reads a piece afterwards gives its rows exactly these columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.types as pt

from job.errors import PartitionError
from job.formats import DIRECT, compression, format_of
from job.reader import KEY_FIELD, level_value
from job.reader.columnar_scan import ArrowTable, ParquetTable
from job.reader.exact import convert, refuse_rounded
from job.reader.exact import plain as simple
from job.reader.schema import wider
from job.reader.spec import ReadSpec
from job.reader.table_file import Piece, TableFile
from job.reader.text_scan import TextTable

TEXTS = ("csv", "tsv")
"""Formats whose values are texts until the rows of a key are together."""


@dataclass(frozen=True, kw_only=True)
class TableScan:
    """How the files of a table are read; plain data, pickled to the executors."""

    kind: str
    """csv, tsv, json, parquet or arrow"""
    key: tuple[str, ...]
    """the key columns"""
    schema: pa.Schema
    """what a fit gets, in order; columns of csv files are texts"""
    levels: tuple[str, ...] = ()
    """columns that directories (or a log) give; they win over columns of that name in the files"""
    dropped: tuple[str, ...] = ()
    """key columns that no fit needs: only read, to tell whose a row is"""
    typed: bool = False
    """a log says of which types the values of ``levels`` are; else the text of a key's level is what counts"""
    optional: tuple[str, ...] = ()
    """columns that a file may lack"""
    spec: ReadSpec
    """how bytes become values"""


def kind_of(names: Sequence[str], declared: str) -> str | None:
    """The format that all files have; None where their names do not say one that is read here."""
    if declared != "auto":
        return declared if declared in DIRECT else None
    kinds = {format_of(name) for name in names}
    kind = kinds.pop() if len(kinds) == 1 else None
    return kind if kind in DIRECT else None


def open_file(name: str, file: Any, kind: str, spec: ReadSpec) -> TableFile:
    """One file of a table.

    Parameters
    ----------
    name
        Below ``input.uri``.
    file
        Its bytes (`job.reader.table_file.RandomAccess`).
    kind
        Its format.
    spec
        How it is read.

    Raises
    ------
    PartitionError
        It is damaged.
    """
    codec = compression(name)[0]
    if kind == "parquet":
        return ParquetTable(name, file, codec, spec)
    if kind == "arrow":
        return ArrowTable(name, file, codec, spec)
    return TextTable(name, file, codec, spec, kind)


def rows(scan: TableScan, name: str, file: TableFile, piece: Piece, given: Mapping[str, Any]) -> Iterator[pa.Table]:
    """The rows of a piece, in order, with the columns of the table.

    Parameters
    ----------
    scan
        The table.
    name
        The file's.
    file
        Opened (`open_file`).
    piece
        Of this file.
    given
        Columns that are the same for all rows of the file (of directories, or of a log), with their values.

    Raises
    ------
    PartitionError
        It is damaged, or not what it was when the table was looked at.
    """
    wanted = [each for each in scan.schema.names if each not in given]
    for table in file.rows(piece, wanted):
        yield shaped(scan, name, table, given)


def shaped(scan: TableScan, name: str, table: pa.Table, given: Mapping[str, Any]) -> pa.Table:
    """The rows of a file with the table's columns and types."""
    columns = []
    table = simple(table)
    for field in scan.schema:
        if field.name in given:
            columns.append(pa.repeat(pa.scalar(given[field.name], field.type), table.num_rows))
        elif field.name in table.column_names:
            column = table.column(field.name)
            columns.append(column if column.type == field.type else _cast(scan, name, field, column))
        elif field.name in scan.optional or scan.kind == "json":
            columns.append(pa.nulls(table.num_rows, field.type))
        else:
            raise PartitionError("schema_mismatch", f"{name} lacks column {field.name!r}")
    return pa.table(columns, schema=scan.schema)


def _cast(scan: TableScan, name: str, field: pa.Field, column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pt.is_float64(field.type) and pt.is_integer(column.type) and field.name not in dict(scan.spec.schema):
        refuse_rounded(column, field.name, f"other files of the table than {name} make its column one")
    try:
        return convert(column, field.type, field.name)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise PartitionError(
            "schema_mismatch",
            f"{name}: column {field.name!r} is {column.type}, and not all of it is {field.type}, as the table has it",
            hint="Write the files with one type, or declare one in input.schema that holds all of them.",
        ) from None


def given_columns(texts: Mapping[str, str | None], schema: pa.Schema) -> dict[str, Any]:
    """The values that directories, or a log, give to all rows of a file."""
    return {name: given_value(text, schema.field(name).type) for name, text in texts.items() if name in schema.names}


def given_value(text: str | None, kind: pa.DataType) -> Any:
    """A text of a directory or a log as a value of a type."""
    if text is None or pt.is_string(kind):
        return text
    return pa.scalar(text, pa.string()).cast(kind).as_py()


def level_type(texts: Iterable[str | None]) -> pa.DataType:
    """The one type of a level's values over all files: whole numbers, numbers, or text."""
    kinds = {level_value(text)[1] for text in texts if text is not None}
    if not kinds or pa.string() in kinds:
        return pa.string()
    return pa.int64() if kinds == {pa.int64()} else pa.float64()


def unified(files: Sequence[tuple[str, pa.Schema]], optional: Sequence[str], needed: Sequence[str] | None) -> pa.Schema:
    """The columns of a table, in the order of its first file, each with a type that holds what every file has.

    Parameters
    ----------
    files
        Names and columns of the files, at least one.
    optional
        Columns that a file may lack.
    needed
        Only these need to have one type; None for all.

    Raises
    ------
    PartitionError
        ``schema_mismatch``: a file lacks a column that another has, or a type that cannot be both; both are named.
    """
    first_name, first = files[0]
    fields = {field.name: (first_name, plain(field.type)) for field in first}
    seen = {id(first)}
    required = set(first.names) - set(optional)
    for name, schema in files[1:]:
        if id(schema) in seen:
            continue
        seen.add(id(schema))
        names = set(schema.names)
        missing = sorted(required - names)
        extra = sorted(names - set(first.names) - set(optional))
        if missing or extra:
            parts = [f"{name} lacks {', '.join(map(repr, missing[:5]))}"] if missing else []
            parts += [f"{first_name} lacks {', '.join(map(repr, extra[:5]))}"] if extra else []
            column = (missing or extra)[0]
            kind = (first if missing else schema).field(column).type
            kind = "float64" if pt.is_string(kind) else kind  # of a csv nobody knows
            raise PartitionError(
                "schema_mismatch",
                f"the files of the table differ: {'; '.join(parts)}",
                hint="Leave other files out with input.match. A column that only some files have is declared so: "
                f"input.schema: {{{column}: {{type: {kind}, optional: true}}}}.",
            )
        for field in schema:
            if needed is not None and field.name not in needed:
                continue
            if field.name not in fields:
                fields[field.name] = (name, plain(field.type))
                continue
            before, kind = fields[field.name]
            both = wider(kind, plain(field.type))
            if both is None:
                raise PartitionError(
                    "schema_mismatch",
                    f"the files of the table differ: {field.name!r} is {kind} in {before} and {field.type} in {name}",
                    hint="Write them with one type, or declare it in input.schema.",
                )
            fields[field.name] = (before, both)
    named = {field.name: field.metadata for _, schema in files for field in schema if field.metadata}
    return pa.schema([pa.field(name, kind, metadata=named.get(name)) for name, (_, kind) in fields.items()])


def plain(kind: pa.DataType) -> pa.DataType:
    """Values, and not how they are stored: a dictionary is of a file, not of a table."""
    if pt.is_dictionary(kind):
        return plain(kind.value_type)
    if pt.is_run_end_encoded(kind):
        return plain(kind.value_type)
    if pt.is_large_string(kind) or pt.is_string_view(kind):
        return pa.string()
    if pt.is_binary_view(kind):
        return pa.binary()
    if pt.is_float16(kind):
        return pa.float64()
    return kind


def marked(schema: pa.Schema, keys: Iterable[str]) -> pa.Schema:
    """The schema with key and level columns marked as such: no features unless the recipe names them."""
    for name in keys:
        if name in schema.names:
            at = schema.get_field_index(name)
            schema = schema.set(at, schema.field(at).with_metadata(KEY_FIELD))
    return schema
