"""Reads the files of a table without Spark: takes pieces of files, gives rows with the columns of the table.

A table is many files with the same columns. What is the same is settled once, on the driver (`settle`): the columns in
their order, each with one type. Whoever reads a piece afterwards gives its rows exactly these columns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.types as pt

from job.errors import PartitionError
from job.formats import DIRECT, compression, format_of
from job.reader import KEY_FIELD, level_value
from job.reader.columnar_scan import ArrowTable, ParquetTable
from job.reader.exact import convert, extension_type, refuse_rounded
from job.reader.exact import plain as simple
from job.reader.number_columns import FileNumbers
from job.reader.schema import wider
from job.reader.spec import ReadSpec
from job.reader.table_file import FILE, LINE, Piece, TableFile
from job.reader.text_scan import TextTable

TEXTS = ("csv", "tsv")
"""Formats whose values stay texts until all rows of a key are read, except in columns that hold only numbers."""


@dataclass(frozen=True, kw_only=True)
class TableScan:
    """How the files of a table are read; plain data, pickled to the executors."""

    kind: str
    """csv, tsv, json, parquet or arrow"""
    key: tuple[str, ...]
    """the key columns"""
    schema: pa.Schema
    """the columns that are read, in order; a csv column is text, or int64 or float64 if it holds only numbers"""
    levels: tuple[str, ...] = ()
    """columns from directories (or a table's log); they replace columns of the same name in the files"""
    dropped: tuple[str, ...] = ()
    """key columns that the fit does not need: they are read only to find the key of each row"""
    typed: bool = False
    """whether a table's log gives the types of ``levels``; else the type comes from the text in the key"""
    optional: tuple[str, ...] = ()
    """columns that a file may lack"""
    spec: ReadSpec
    """how bytes become values"""


def numbers_of(scan: TableScan) -> dict[str, pa.DataType]:
    """The columns of csv files that hold only numbers, with their types."""
    if scan.kind not in TEXTS:
        return {}
    apart = (LINE, FILE, *scan.levels)
    return {field.name: field.type for field in scan.schema if field.name not in apart and not pt.is_string(field.type)}


def as_texts(scan: TableScan, names: Collection[str] | None = None) -> TableScan:
    """The same table, with texts in these columns of csv files (None: in all)."""
    schema = scan.schema
    for name in numbers_of(scan):
        if names is not None and name not in names:
            continue
        at = schema.get_field_index(name)
        schema = schema.set(at, schema.field(at).with_type(pa.string()))
    return replace(scan, schema=schema)


def kind_of(names: Sequence[str], declared: str) -> str | None:
    """The one format of all files; None if their names show no format, several, or one that cannot be read here."""
    if declared != "auto":
        return declared if declared in DIRECT else None
    kinds = {format_of(name) for name in names}
    kind = kinds.pop() if len(kinds) == 1 else None
    return kind if kind in DIRECT else None


def open_file(
    name: str,
    file: Any,
    kind: str,
    spec: ReadSpec,
    *,
    numbers: FileNumbers | None = None,
    types: Mapping[str, pa.DataType] | None = None,
) -> TableFile:
    """Open one file of a table.

    Parameters
    ----------
    name
        Path of the file below ``input.uri``.
    file
        The bytes of the file (`job.reader.table_file.RandomAccess`).
    kind
        The format of the file.
    spec
        The settings of the reader.
    numbers, types
        See `job.reader.text_scan.TextTable`.

    Raises
    ------
    PartitionError
        The file is damaged.
    """
    codec = compression(name)[0]
    if kind == "parquet":
        return ParquetTable(name, file, codec, spec)
    if kind == "arrow":
        return ArrowTable(name, file, codec, spec)
    return TextTable(name, file, codec, spec, kind, numbers=numbers, types=types)


def rows(scan: TableScan, name: str, file: TableFile, piece: Piece, given: Mapping[str, Any]) -> Iterator[pa.Table]:
    """The rows of a piece, in order, with the columns of the table.

    Parameters
    ----------
    scan
        The table.
    name
        Path of the file below ``input.uri``.
    file
        The opened file (`open_file`).
    piece
        A piece of this file.
    given
        Columns from directories, or from a table's log, with the value that all rows of the file have.

    Raises
    ------
    PartitionError
        The file is damaged, or has changed since the plan was made.
    """
    wanted = [each for each in scan.schema.names if each not in given]
    for table in file.rows(piece, wanted):
        yield shaped(scan, name, table, given)


def shaped(scan: TableScan, name: str, table: pa.Table, given: Mapping[str, Any]) -> pa.Table:
    """Give the rows of a file the columns and types of the table.

    Raises
    ------
    PartitionError
        ``schema_mismatch``: a column is missing, or a value does not fit the type. ``inexact_number``.
    """
    columns = []
    table = simple(table)
    for field in scan.schema:
        if field.name in given:
            columns.append(pa.repeat(pa.scalar(given[field.name], field.type), table.num_rows))
        elif field.name in table.column_names:
            column = table.column(field.name)
            declared = field.name in dict(scan.spec.schema)
            columns.append(column if column.type == field.type else cast(name, field, column, declared=declared))
        elif field.name in scan.optional or scan.kind == "json":
            columns.append(pa.nulls(table.num_rows, field.type))
        else:
            raise PartitionError("schema_mismatch", f"{name} lacks column {field.name!r}")
    return pa.table(columns, schema=scan.schema)


def cast(name: str, field: pa.Field, column: pa.ChunkedArray, *, declared: bool) -> pa.ChunkedArray:
    """Convert a column of the file ``name`` to the type that it has in the table.

    Raises
    ------
    PartitionError
        ``schema_mismatch``: a value does not fit the type. ``inexact_number``: an undeclared one would be rounded.
    """
    if pt.is_float64(field.type) and pt.is_integer(column.type) and not declared:
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
    """The values that all rows of a file have from directories or from a table's log."""
    return {name: given_value(text, schema.field(name).type) for name, text in texts.items() if name in schema.names}


def given_value(text: str | None, kind: pa.DataType) -> Any:
    """Convert the text of a directory or of a table's log to a value of a type."""
    if text is None or pt.is_string(kind):
        return text
    return pa.scalar(text, pa.string()).cast(kind).as_py()


def level_type(texts: Iterable[str | None]) -> pa.DataType:
    """The type of a directory level over all files: int64 or float64 if all texts are such numbers, else string."""
    kinds = {level_value(text)[1] for text in texts if text is not None}
    if not kinds or pa.string() in kinds:
        return pa.string()
    return pa.int64() if kinds == {pa.int64()} else pa.float64()


def unified(files: Sequence[tuple[str, pa.Schema]], optional: Sequence[str], needed: Sequence[str] | None) -> pa.Schema:
    """The columns of a table, in the order of its first file, each with a type that holds the values of all files.

    Parameters
    ----------
    files
        Names and columns of the files, at least one.
    optional
        Columns that a file may lack.
    needed
        Names of the columns that must have one type over all files; None for all columns.

    Raises
    ------
    PartitionError
        ``schema_mismatch``: a file lacks a column that another has, or the types of a column have no common type. The
        message names both files.
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
            kind = "float64" if pt.is_string(kind) else kind  # an example: csv columns have no known type
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
    """The type of the values without special storage: a dictionary, for example, belongs to a file, not to a table."""
    if isinstance(kind, pa.BaseExtensionType):
        return extension_type(kind)
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
    """Mark the columns ``keys`` of the schema: they are no features unless the recipe names them."""
    for name in keys:
        if name in schema.names:
            at = schema.get_field_index(name)
            schema = schema.set(at, schema.field(at).with_metadata(KEY_FIELD))
    return schema
