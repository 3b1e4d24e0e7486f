"""Columns from directories: ``store=1/month=02/`` adds ``store`` and ``month`` to the rows of its files. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job.errors import PartitionError
from job.reader.exact import convert
from job.reader.schema import NO_FEATURE
from job.reader.spec import as_text

Levels = Mapping[str, str | None]

_INTEGER = re.compile(r"-?\d{1,18}")
_NUMBER = re.compile(r"-?\d+\.\d+(?:[eE][+-]?\d+)?")
_NOTES = b"manyfit.notes"


def level_value(text: str | None) -> tuple[int | float | str | None, pa.DataType]:
    """The value and the type of a directory's text: an int64, a float64, or the text itself."""
    if text is not None and _INTEGER.fullmatch(text):
        return int(text), pa.int64()
    if text is not None and _NUMBER.fullmatch(text):
        return float(text), pa.float64()
    return text, pa.string()


def add(
    table: pa.Table,
    levels: Sequence[Levels],
    file_of_row: np.ndarray[Any, Any] | None = None,
    declared: Mapping[str, pa.DataType] | None = None,
    beside: Collection[str] = (),
) -> pa.Table:
    """Add the columns of the directories. They are no features unless the recipe names them.

    A directory level replaces a column of the same name in the files, as in Spark and DuckDB: people rename
    directories, and keys come from them. If the values differ, a note is added (`notes`).

    Parameters
    ----------
    table
        The rows of one partition.
    levels
        The levels of each file, from name to text.
    file_of_row
        For each row the position of its file in ``levels``, shape (rows,); None if all files have the same levels.
    declared
        Declared types. Other columns are int64 if all texts are whole numbers, float64 if all are numbers, else texts.

    beside
        Levels whose texts are kept beside their values, if these are no texts (`job.reader.spec.as_text`).

    Raises
    ------
    PartitionError
        ``schema_mismatch``: the files have different levels, or a text cannot be cast to its declared type.
    """
    told = list(notes(table))
    if any(each.keys() != levels[0].keys() for each in levels):
        raise PartitionError("schema_mismatch", "the files of this key lie below directories of other levels")
    for name in levels[0]:
        texts = [each[name] for each in levels]
        values = _typed(name, texts, (declared or {}).get(name))
        column = _of_rows(values, table.num_rows, file_of_row)
        if name in beside and values.type != pa.string():
            text = _of_rows(pa.array(texts, pa.string()), table.num_rows, file_of_row)
            table = table.append_column(pa.field(as_text(name), pa.string(), metadata=NO_FEATURE), text)
        field = pa.field(name, column.type, metadata=NO_FEATURE)
        if name in table.column_names:
            at = table.column_names.index(name)
            if not _agree(table.column(at), column):
                told.append(f"column {name!r} of the files differs from their directories, which count")
            table = table.set_column(at, field, column)
        else:
            table = table.append_column(field, column)
    if told:
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), _NOTES: json.dumps(told).encode()})
    return table


def _of_rows(values: pa.Array, rows: int, file_of_row: np.ndarray[Any, Any] | None) -> pa.ChunkedArray:
    """The value of each row, from the values of the files."""
    return pa.chunked_array([pa.repeat(values[0], rows) if file_of_row is None else values.take(pa.array(file_of_row))])


def notes(table: pa.Table) -> tuple[str, ...]:
    """The warnings about the rows that `add` has put into the metadata of the table."""
    return tuple(json.loads((table.schema.metadata or {}).get(_NOTES, b"[]")))


def _typed(name: str, texts: Sequence[str | None], declared: pa.DataType | None) -> pa.Array:
    if declared is not None:
        try:
            return pa.array(texts, pa.string()).cast(declared)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            message = f"the directory level {name!r} is not {declared}, as input.schema says"
            raise PartitionError("schema_mismatch", message) from None
    values = [level_value(text) for text in texts]
    kinds = {kind for (_, kind), text in zip(values, texts, strict=True) if text is not None}
    if pa.string() in kinds or not kinds:
        return pa.array(texts, pa.string())
    kind = pa.float64() if pa.float64() in kinds else pa.int64()
    return pa.array([value for value, _ in values], kind)


def _agree(own: pa.ChunkedArray, given: pa.ChunkedArray) -> bool:
    """Whether the file's own column has the same values as the directory, apart from missing ones."""
    try:
        same = pc.equal(convert(own, given.type, ""), given)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return pc.all(same).as_py() is not False
