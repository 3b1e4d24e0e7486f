"""JSON lines (one object a line) to a table."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import pyarrow.json as pjson

from job.errors import PartitionError
from job.reader.text_csv import to_utf8

_BLOCK = 1 << 20
_ONE_BLOCK = 1 << 30
_NO_OBJECT = re.compile(rb"(?:^|\n)[ \t\r]*([^{ \t\r\n])")
_ROW = re.compile(r" in row (\d+)$")
_CHANGED = re.compile(r"Column\(/(.*?)\) changed from (\w+) to (\w+)")
_TWICE = re.compile(r"Column\(/(.*?)\) was specified twice")


def read_json(name: str, data: Any, encoding: str) -> pa.Table | None:
    """One file of JSON objects, or None for one without any.

    A name that a line lacks is a missing value there, as JSON lines have it.

    Raises
    ------
    PartitionError
        ``bad_row``, ``duplicate_column``, ``encoding``, ``schema_mismatch``.
    """
    text = to_utf8(name, data, encoding)
    if not text.strip():
        return None
    if other := _NO_OBJECT.search(text):  # before pyarrow, which crashes on a text that is only "null"
        raise _no_object(name, text, other.start(1))
    # One block, so that row numbers and types are those of the file, not of a part of it.
    block = max(_BLOCK, min(len(text) + 1, _ONE_BLOCK))
    try:
        table = pjson.read_json(
            pa.BufferReader(text),
            read_options=pjson.ReadOptions(use_threads=False, block_size=block),
            parse_options=pjson.ParseOptions(newlines_in_values=False),
        )
        table.validate(full=True)
        _check_count(name, text, table.num_rows)
    except pa.ArrowInvalid as error:
        raise _error(name, str(error)) from error
    except UnicodeDecodeError as error:
        raise PartitionError("encoding", f"{name}: a column's name is not UTF-8 text") from error
    return table


def _no_object(name: str, text: bytes, position: int) -> PartitionError:
    line = text.count(b"\n", 0, position) + 1
    array = text[position : position + 1] == b"["
    message = f"{name}: line {line} is {'a JSON array' if array else 'not a JSON object'}; one object a line is read"
    return PartitionError("bad_row", message, hint="Write one object a line (JSON lines)." if array else "")


def _check_count(name: str, text: bytes, rows: int) -> None:
    lines = text.count(b"\n") + (not text.endswith(b"\n"))
    if lines != rows and sum(1 for line in text.split(b"\n") if line.strip()) != rows:
        raise PartitionError("bad_row", f"{name}: a line holds more than one value; one object a line is read")


def _error(name: str, text: str) -> PartitionError:
    found = _ROW.search(text)
    where = f"row {int(found[1]) + 1}" if found else "a row"
    if changed := _CHANGED.search(text):
        column, before, after = changed.groups()
        if not column:
            return PartitionError("bad_row", f"{name}: {where} is not a JSON object but {after}")
        message = f"{name}: {where}: column {column!r} changes from {before} to {after}"
        return PartitionError("schema_mismatch", message, hint="A column must hold values of one kind.")
    if twice := _TWICE.search(text):
        return PartitionError("duplicate_column", f"{name}: {where}: {twice[1]!r} occurs twice in one object")
    if "UTF8" in text or "UTF-8" in text.upper():
        return PartitionError("encoding", f"{name}: the text is not UTF-8", hint="Declare input.format.encoding.")
    return PartitionError("bad_row", f"{name}: {where} is not JSON ({_without_values(text)})")


def _without_values(text: str) -> str:
    """The parser's own words: they hold no values but may name a row, which counts from zero."""
    return _ROW.sub("", text.removeprefix("JSON parse error: ").splitlines()[0][:120])
