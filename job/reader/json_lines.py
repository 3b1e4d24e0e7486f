"""Reads JSON lines (one object a line). Texts stay texts, also those of dates; whole numbers keep their value."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pjson
import pyarrow.types as pt

from job.errors import PartitionError
from job.reader.exact import EXACT, inexact
from job.reader.text_encoding import to_utf8

_BLOCK = 1 << 20
_ONE_BLOCK = 1 << 30
_NO_OBJECT = re.compile(rb"(?:^|\n)[ \t\r]*([^{ \t\r\n])")
_ROW = re.compile(r" in row (\d+)$")
_CHANGED = re.compile(r"Column\(/(.*?)\) changed from (\w+) to (\w+)")
_LONG = re.compile(rb"[0-9]{16}")
_WHOLE = pa.decimal128(38, 0)
_TWICE = re.compile(r"Column\(/(.*?)\) was specified twice")


def read_json(
    name: str, data: Any, encoding: str, declared: Mapping[str, pa.DataType] | None = None
) -> pa.Table | None:
    """Read one file of JSON objects. Returns None if it holds none.

    A name that a line lacks is a missing value in its row. The columns do not have the declared types yet, but can be
    cast to them without a loss.

    Raises
    ------
    PartitionError
        ``bad_row``, ``duplicate_column``, ``encoding``, ``inexact_number``, ``schema_mismatch``.
    """
    text = to_utf8(name, data, encoding)
    if not text.strip():
        return None
    if other := _NO_OBJECT.search(text):  # before pyarrow, which crashes on a text that is only "null"
        raise _no_object(name, text, other.start(1))
    try:
        table = _parsed(text, None)
        # The parser turns texts that look like time stamps into time stamps. Then parse again, with these as texts.
        timed = [field.with_type(_untimed(field.type)) for field in table.schema if _untimed(field.type) != field.type]
        if timed:
            table = _parsed(text, pa.schema(timed))
        table.validate(full=True)
        _check_count(name, text, table.num_rows)
        table = _whole_numbers(name, table, text, declared or {})
    except pa.ArrowInvalid as error:
        raise _error(name, str(error)) from error
    except UnicodeDecodeError as error:
        raise PartitionError("encoding", f"{name}: a column's name is not UTF-8 text") from error
    return table


def _parsed(text: bytes, explicit: pa.Schema | None) -> pa.Table:
    # One block: then row numbers in errors, and types, refer to the whole file.
    block = max(_BLOCK, min(len(text) + 1, _ONE_BLOCK))
    return pjson.read_json(
        pa.BufferReader(text),
        read_options=pjson.ReadOptions(use_threads=False, block_size=block),
        parse_options=pjson.ParseOptions(newlines_in_values=False, explicit_schema=explicit),
    )


def _untimed(kind: pa.DataType) -> pa.DataType:
    """The type with texts in place of time stamps, at any depth."""
    if pt.is_timestamp(kind):
        return pa.string()
    if pt.is_list(kind):
        return pa.list_(_untimed(kind.value_type))
    if pt.is_struct(kind):
        return pa.struct([field.with_type(_untimed(field.type)) for field in kind])
    return kind


def _whole_numbers(name: str, table: pa.Table, text: bytes, declared: Mapping[str, pa.DataType]) -> pa.Table:
    """Check that no whole number was rounded. The parser makes doubles of those beyond 64 bits or beside fractions."""
    for at, field in enumerate(table.schema):
        wanted = declared.get(field.name)
        if not _may_be_rounded(table.column(at), text) or (wanted is not None and pt.is_floating(wanted)):
            continue
        if pt.is_floating(field.type):
            try:
                exact = _parsed(text, pa.schema([(field.name, _WHOLE)])).column(field.name)
                column = exact.cast(pa.uint64()) if wanted is None else exact
                table = table.set_column(at, field.with_type(column.type), column)
                continue
            except pa.ArrowInvalid:
                pass  # some are fractions, or have more digits than any integer type
        for row, line in enumerate((each for each in text.split(b"\n") if each.strip()), start=1):
            if field.name.encode() in line and _rounded(json.loads(line).get(field.name)):
                raise inexact(name, field.name, row, "no whole type holds it and the others")
    return table


def _may_be_rounded(column: pa.ChunkedArray, text: bytes) -> bool:
    if pt.is_floating(column.type):
        bounds = pc.min_max(column).as_py()
        return bounds["min"] is not None and max(-bounds["min"], bounds["max"]) >= EXACT
    return pt.is_nested(column.type) and "double" in str(column.type) and _LONG.search(text) is not None


def _rounded(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_rounded, value.values()))
    if isinstance(value, list):
        return any(map(_rounded, value))
    return isinstance(value, int) and abs(value) > EXACT and int(float(value)) != value


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
    """The parser's message without its row number, which counts from 0. It holds no values of the data."""
    return _ROW.sub("", text.removeprefix("JSON parse error: ").splitlines()[0][:120])
