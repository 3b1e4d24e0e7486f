"""Gives types to the rows of one key of a csv table: the types that a file with only these rows would have."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from job.errors import PartitionError
from job.reader import level_value
from job.reader.schema import cast_declared
from job.reader.spec import ReadSpec, as_text, declared_types, is_text_of_another
from job.reader.text_types import numbers_with_gaps, typed


def typed_rows(table: pa.Table, spec: ReadSpec, given: Collection[str], place: Callable[[int], str]) -> pa.Table:
    """Convert the rows to the declared types; columns without one to the type inferred from their texts.

    Parameters
    ----------
    table
        All rows of one key; the columns of its files are texts.
    spec
        How texts become values.
    given
        Columns that come from directories, and have their types already.
    place
        Gives the file and the line of a row (from 0) as text, for messages.

    Raises
    ------
    PartitionError
        ``schema_mismatch``: a text cannot be cast to the declared type; ``inexact_number``: see
        `job.reader.text_types`.
    """
    declared = declared_types(spec.schema)
    columns: list[tuple[pa.Field, pa.ChunkedArray]] = []
    beside: list[tuple[pa.Field, pa.ChunkedArray]] = []
    for field in table.schema:
        column = table.column(field.name)
        if field.name in declared:
            column = _declared(column, field.name, declared[field.name], spec, place)
        elif field.name not in given and pt.is_string(column.type):
            if field.name not in spec.texts and not is_text_of_another(field.name):
                text, column = column, typed(column, field.name, nulls=spec.null_values, decimal=spec.decimal)
                if field.name in spec.beside and column.type != text.type:
                    beside.append((pa.field(as_text(field.name), text.type), text))
        elif field.name not in given and column.null_count:
            column = numbers_with_gaps(column, field.name)
        columns.append((field.with_type(column.type), column))
    columns += beside
    return pa.table([column for _, column in columns], schema=pa.schema([field for field, _ in columns]))


def key_levels(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """Convert the columns of directories (``names``) to numbers where possible. Each has one value in a key's rows."""
    for name in names:
        if name in table.column_names and table.num_rows:
            value, kind = level_value(table.column(name)[0].as_py())
            at = table.column_names.index(name)
            column = pa.repeat(pa.scalar(value, kind), table.num_rows)
            table = table.set_column(at, table.schema.field(at).with_type(kind), column)
    return table


def declared_rows(source: str, table: pa.Table, spec: ReadSpec) -> pa.Table:
    """Cast rows of typed files to the declared types, also to those of one key only, such as categories."""
    declared = declared_types(spec.schema)
    if not declared:
        return table
    found = cast_declared(source, table, declared)
    fields = [field.with_metadata(before.metadata) for field, before in zip(found.schema, table.schema, strict=True)]
    return found.cast(pa.schema(fields))


def _declared(
    column: pa.ChunkedArray, name: str, kind: pa.DataType, spec: ReadSpec, place: Callable[[int], str]
) -> pa.ChunkedArray:
    if column.type == kind:
        return column
    if pt.is_dictionary(kind):
        return column.dictionary_encode().cast(kind)
    try:
        return cast_texts(column, kind, spec.decimal)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        row = _first_bad(_trimmed(column, kind, spec.decimal), kind, 0, len(column))
        raise PartitionError(
            "schema_mismatch", f"{place(row)}, column {name!r} is not {kind}, as input.schema declares"
        ) from None


def castable(kind: pa.DataType) -> bool:
    """Whether a column of texts can be cast to this type for several keys at once: no type with an own dictionary."""
    return not pt.is_dictionary(kind)


def cast_texts(column: pa.ChunkedArray | pa.Array, kind: pa.DataType, decimal: str) -> pa.ChunkedArray | pa.Array:
    """Cast texts to a declared type, with blanks around them, and with this decimal point.

    Raises
    ------
    pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError
        A text does not have the type.
    """
    return _trimmed(column, kind, decimal).cast(kind)


def _trimmed(column: pa.ChunkedArray | pa.Array, kind: pa.DataType, decimal: str) -> pa.ChunkedArray | pa.Array:
    if not pt.is_string(column.type) or pt.is_string(kind) or pt.is_large_string(kind):
        return column
    column = pc.utf8_trim_whitespace(column)
    return column if decimal == "." else pc.replace_substring(column, decimal, ".")


def _first_bad(column: pa.ChunkedArray, kind: pa.DataType, low: int, high: int) -> int:
    """The first row in [low, high) that cannot be cast, by binary search."""
    while high - low > 1:
        middle = (low + high) // 2
        try:
            column.slice(low, middle - low).cast(kind)
            low = middle
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            high = middle
    return low
