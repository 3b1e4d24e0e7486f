"""Column names and types: checks that a declared schema, a header, and the files of one key agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import pyarrow as pa
import pyarrow.types as pt

from job.errors import ConfigurationError, PartitionError
from job.reader.exact import convert, refuse_rounded

NO_FEATURE = {b"manyfit": b"key"}
"""Metadata of key, order and index columns, which are no features unless the recipe names them."""

_TYPES = {
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "float": pa.float64(),
    "double": pa.float64(),
    "int": pa.int64(),
    "str": pa.string(),
    "text": pa.string(),
    "category": pa.dictionary(pa.int32(), pa.string()),
}


def arrow_type(column: str, name: str) -> pa.DataType:
    """The Arrow type for a name in ``input.schema``: one of Arrow's aliases, or of a few further names.

    Raises
    ------
    ConfigurationError
        No such type.
    """
    try:
        return _TYPES[name] if name in _TYPES else pa.type_for_alias(name)
    except ValueError:
        raise ConfigurationError(
            f"input.schema.{column}: no type is called {name!r}",
            hint="Types: int64, float64, string, bool, date32, timestamp, or any alias of pyarrow.",
        ) from None


def check_duplicates(name: str, columns: Sequence[str]) -> None:
    """Raise ``duplicate_column`` if a column name occurs twice."""
    if len(set(columns)) < len(columns):
        twice = [repr(column) for column, count in Counter(columns).items() if count > 1]
        message = f"{name}: column {', '.join(twice)} occurs more than once in the header"
        raise PartitionError("duplicate_column", message, hint="Column names must differ.")


def wanted(names: Sequence[str], needed: Collection[str] | None, elsewhere: Collection[str]) -> list[str] | None:
    """Choose the columns of a file to decode, or None for all.

    All are decoded, too, if a needed column is neither in the file nor in ``elsewhere``: then the message about the
    missing column lists the columns that exist.
    """
    if needed is None or not all(each in names or each in elsewhere for each in needed):
        return None
    return [each for each in names if each in needed]


def check_declared(
    name: str,
    columns: Sequence[str],
    declared: Mapping[str, pa.DataType],
    delimiter: str | None,
    elsewhere: Collection[str] = (),
) -> None:
    """Raise ``schema_mismatch`` unless the columns are exactly the declared ones, in any order.

    Columns in ``elsewhere`` (from the path, or optional) may be declared or not.
    """
    if set(columns) - set(elsewhere) == set(declared) - set(elsewhere):
        return
    missing = [repr(each) for each in declared if each not in columns and each not in elsewhere]
    extra = [repr(each) for each in columns if each not in declared and each not in elsewhere]
    parts = [f"missing {', '.join(missing)}"] if missing else []
    parts += [f"not declared {', '.join(extra)}"] if extra else []
    message = f"{name}: the columns are not those of input.schema: {'; '.join(parts)}"
    raise PartitionError("schema_mismatch", message, hint=delimiter_hint(columns, delimiter))


def delimiter_hint(columns: Sequence[str], delimiter: str | None = None) -> str:
    """A hint at a wrong delimiter for a header of one column, or an empty text."""
    if len(columns) == 1:
        for mark, word in ((";", "';'"), ("\t", "a tab"), ("|", "'|'"), (",", "','")):
            if mark != delimiter and mark in columns[0]:
                return f"The header is one column that holds {word}: is input.format.delimiter right?"
    return ""


def cast_declared(name: str, table: pa.Table, declared: Mapping[str, pa.DataType]) -> pa.Table:
    """Cast the table to the declared types; raises ``schema_mismatch`` if a value would be lost."""
    for number, field in enumerate(table.schema):
        wanted = declared.get(field.name)
        if wanted is None or field.type == wanted:
            continue
        try:
            column = convert(table.column(number), wanted, field.name)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            message = (
                f"{name}: column {field.name!r} is {field.type}, and not all of it is {wanted}, as input.schema says"
            )
            raise PartitionError("schema_mismatch", message) from None
        table = table.set_column(number, pa.field(field.name, wanted), column)
    return table


def concatenate(tables: Sequence[tuple[str, pa.Table]]) -> pa.Table:
    """Join the files of one key into one table. Their columns must have equal names and a common type (`wider`).

    Raises
    ------
    PartitionError
        ``schema_mismatch``: names or types differ; the message names the files and the columns. ``inexact_number``: an
        integer would be rounded, because its column is float64 in another file.
    """
    first_name, first = tables[0]
    if len(tables) == 1:
        return first
    names = first.column_names
    aligned = [first]
    for name, table in tables[1:]:
        if set(table.column_names) != set(names):
            lost = [repr(each) for each in names if each not in table.column_names]
            new = [repr(each) for each in table.column_names if each not in names]
            parts = [f"{name} lacks {', '.join(lost)}"] if lost else []
            parts += [f"{first_name} lacks {', '.join(new)}"] if new else []
            raise PartitionError("schema_mismatch", f"the files of this key differ: {'; '.join(parts)}")
        aligned.append(table.select(names))
    columns = []
    for number, column in enumerate(names):
        wanted = first.schema.field(number).type
        for (name, _), table in zip(tables[1:], aligned[1:], strict=True):
            found = table.schema.field(number).type
            both = wider(wanted, found)
            if both is None:
                raise PartitionError(
                    "schema_mismatch",
                    f"the files of this key differ: {column!r} is {wanted} in {first_name} and {found} in {name}",
                    hint="Declare input.schema if they are meant to be the same.",
                )
            wanted = both
        chunks = [_widened(table.column(number), wanted, column) for table in aligned]
        columns.append(pa.chunked_array([piece for chunk in chunks for piece in chunk.chunks], type=wanted))
    return pa.table(
        columns, schema=pa.schema([first.schema.field(at).with_type(col.type) for at, col in enumerate(columns)])
    )


def _widened(column: pa.ChunkedArray, wanted: pa.DataType, name: str) -> pa.ChunkedArray:
    if pt.is_float64(wanted) and pt.is_integer(column.type):
        refuse_rounded(column, name, "other files of this key make its column one")
    try:
        return convert(column, wanted, name)
    except pa.ArrowInvalid:
        message = (
            f"the files of this key differ: not all of column {name!r} of one file is {wanted}, as it is in another"
        )
        hint = f"Declare input.schema with a type for {name} that holds all of them."
        raise PartitionError("schema_mismatch", message, hint=hint) from None


def wider(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The common type of a column that has these types in two files, or None if they must not be mixed.

    A column without values fits every type. Numbers have a common type, so have texts, and so have time stamps of one
    zone. A dictionary counts as its values.
    """
    if one == other or pt.is_null(other):
        return one
    if pt.is_null(one):
        return other
    numbers = [pt.is_integer(each) or pt.is_floating(each) for each in (one, other)]
    if all(numbers):
        if pt.is_integer(one) and pt.is_integer(other):
            return pa.int64()
        return pa.float64()
    texts = (pt.is_string, pt.is_large_string)
    if any(check(one) for check in texts) and any(check(other) for check in texts):
        return pa.large_string()
    if pt.is_dictionary(one) or pt.is_dictionary(other):
        return wider(
            one.value_type if pt.is_dictionary(one) else one, other.value_type if pt.is_dictionary(other) else other
        )
    if pt.is_timestamp(one) and pt.is_timestamp(other) and one.tz == other.tz:
        return pa.timestamp("ns" if "ns" in (one.unit, other.unit) else "us", one.tz)
    return None
