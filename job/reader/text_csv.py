"""Reads CSV text strictly: text that a lenient parser would repair is an error here.

pyarrow parses. It silently accepts a quote that is never closed (the rest of the file becomes one field), two columns
of one name, text that is not UTF-8 (as binary) and NUL bytes. This module checks for them.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.csv as pcsv

from job.errors import PartitionError
from job.reader.schema import check_declared, check_duplicates, delimiter_hint, wanted
from job.reader.spec import ReadSpec
from job.reader.text_encoding import encoding_error, to_utf8
from job.reader.text_types import null_texts

_PART = 1 << 20  # a block that stays in the processor's cache is parsed faster
_BLOCK = 1 << 25  # a large block: each block makes one more chunk of a column, and each chunk costs time
_CONVERSION = re.compile(r"In CSV column #(\d+): (?:Row #(\d+): )?CSV conversion error to ([^:]+)")


def read_csv(
    name: str,
    data: Any,
    spec: ReadSpec,
    delimiter: str,
    elsewhere: Collection[str],
    declared: Mapping[str, pa.DataType],
) -> pa.Table | None:
    """Read one CSV file. Returns None if it has no text.

    Columns without a declared type are texts; `job.reader.text_types` infers their types later.

    Raises
    ------
    PartitionError
        ``bad_row``, ``corrupt_csv``, ``duplicate_column``, ``encoding``, ``schema_mismatch``.
    """
    text = to_utf8(name, data, spec.encoding)
    header, header_only = _header(name, text, delimiter, spec.quote)
    if header is None:
        return None
    check_duplicates(name, header)
    if spec.whole_schema:
        check_declared(name, header, declared, delimiter, elsewhere)
    decoded = wanted(header, spec.needed, elsewhere) or None
    types = {each: declared.get(each, pa.string()) for each in header}
    if header_only:
        return pa.table({each: pa.array([], types[each]) for each in header})
    quoted = spec.quote.encode() in text
    bad: list[Any] = []
    try:
        table = _parsed(text, header, spec, delimiter, decoded, types, bad, quoted=quoted, headed=True)
    except pa.ArrowInvalid as error:
        raise _parse_error(name, error, bad, text, header, delimiter, spec.quote, headed=True) from error
    except UnicodeDecodeError as error:  # pragma: no cover - the header was decoded before
        raise encoding_error(name, None) from error
    if quoted:
        breaks = text.count(b"\n") or text.count(b"\r")
        check_quotes(name, text, delimiter, spec.quote, table.num_rows + 1, breaks, text.count(spec.quote.encode()))
    return table


class NotOfType(Exception):
    """A text in a column is not of the type that `read_rows` was told.

    Parameters
    ----------
    column
        Name of the column.
    """

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


def read_rows(
    name: str,
    text: bytes,
    header: list[str],
    spec: ReadSpec,
    delimiter: str,
    columns: list[str] | None,
    types: Mapping[str, pa.DataType],
    *,
    quoted: bool,
) -> pa.Table:
    """Read whole rows of a CSV file, without its header.

    Parameters
    ----------
    name
        Name of the file, for messages.
    text
        The rows, in UTF-8.
    header
        The names of the file's columns.
    spec, delimiter
        How bytes become values.
    columns
        The columns to decode; None: all.
    types
        Their types; texts by default.
    quoted
        Whether the text has quoting characters. `check_quotes` tells whether they are paired.

    Raises
    ------
    NotOfType
        A value does not have the type of its column.
    PartitionError
        As `read_csv`. Lines are counted from the first row.
    """
    types = {each: types.get(each, pa.string()) for each in header}
    if len(header) > 1 and not text.strip(b"\r\n"):
        return pa.table({each: pa.array([], types[each]) for each in columns or header})
    bad: list[Any] = []
    try:
        return _parsed(text, header, spec, delimiter, columns, types, bad, quoted=quoted, headed=False)
    except pa.ArrowInvalid as error:
        match = _CONVERSION.search(str(error))
        if match and "UTF8" not in str(error) and not bad:
            raise NotOfType(header[int(match[1])]) from error
        raise _parse_error(name, error, bad, text, header, delimiter, spec.quote, headed=False) from error


def _parsed(
    text: bytes,
    header: list[str],
    spec: ReadSpec,
    delimiter: str,
    columns: list[str] | None,
    types: Mapping[str, pa.DataType],
    bad: list[Any],
    *,
    quoted: bool,
    headed: bool,
) -> pa.Table:
    return pcsv.read_csv(
        pa.BufferReader(text),
        read_options=_read_options(text, header, headed=headed),
        parse_options=_parse_options(delimiter, spec.quote, len(header), quoted, bad),
        convert_options=_convert_options(spec, columns, types),
    )


def _read_options(text: bytes, header: list[str], *, headed: bool) -> pcsv.ReadOptions:
    size = max(1 << 20, min(len(text), _BLOCK if headed else _PART))
    return pcsv.ReadOptions(use_threads=False, block_size=size, column_names=None if headed else header)


def _header(name: str, text: bytes, delimiter: str, quote: str) -> tuple[list[str] | None, bool]:
    """The column names (None if there is no text), and whether the file ends after the header."""
    start = 0
    while text[start : start + 1] in (b"\n", b"\r"):
        start += 1
    if start >= len(text):
        return None, True
    ends = [at for at in (text.find(b"\n", start), text.find(b"\r", start)) if at >= 0]
    end = min(ends) if ends else len(text)
    line = text[start:end]
    try:
        if quote.encode() not in line:
            nothing = not text[end : end + 100].strip(b"\r\n") and not text[end:].strip(b"\r\n")
            return line.decode().split(delimiter), nothing
        stream = io.TextIOWrapper(io.BytesIO(text[start:]), encoding="utf-8", newline="")
        reader = csv.reader(stream, delimiter=delimiter, quotechar=quote, strict=True)
        names = next(reader)
        return names, next((row for row in reader if row), None) is None
    except UnicodeDecodeError as error:
        raise encoding_error(name, None) from error
    except csv.Error as error:
        if "field larger" not in str(error):
            raise _corrupt_quotes(name, 1) from error
        raise _corrupt_quotes(name, None) from error


def _parse_options(delimiter: str, quote: str, columns: int, quoted: bool, bad: list[Any]) -> pcsv.ParseOptions:
    def refuse(row: Any) -> str:
        bad.append(row)
        return "error"

    return pcsv.ParseOptions(
        delimiter=delimiter,
        quote_char=quote if quoted else False,
        newlines_in_values=quoted,
        ignore_empty_lines=columns > 1,  # in a file of one column an empty line is a missing value
        invalid_row_handler=refuse,
    )


def _convert_options(
    spec: ReadSpec, decoded: list[str] | None, types: Mapping[str, pa.DataType]
) -> pcsv.ConvertOptions:
    return pcsv.ConvertOptions(
        null_values=list(spec.null_values) if spec.whole_schema else null_texts(spec.null_values),
        strings_can_be_null=True,
        quoted_strings_can_be_null=True,
        decimal_point=spec.decimal,
        include_columns=decoded,
        column_types=dict(types),
    )


def _parse_error(
    name: str,
    error: pa.ArrowInvalid,
    bad: list[Any],
    text: bytes,
    header: list[str],
    delimiter: str,
    quote: str,
    *,
    headed: bool,
) -> PartitionError:
    if bad:
        row = bad[0]
        if quote.encode() in text:
            try:
                _strict(name, text, delimiter, quote)
            except PartitionError as unclosed:
                return unclosed
        line = f"line {row.number}" if row.number else "a line"
        message = f"{name}: {line} has {row.actual_columns} fields, the header {row.expected_columns}"
        return PartitionError("bad_row", message, hint=delimiter_hint(header, delimiter))
    match = _CONVERSION.search(str(error))
    if match and "UTF8" in str(error):
        return _not_utf8(name, text, header, delimiter, quote, headed=headed)
    if match:
        column = header[int(match[1])] if int(match[1]) < len(header) else f"#{match[1]}"
        line = f"line {match[2]}" if match[2] else "a line"
        message = f"{name}: {line}, column {column!r} is not {match[3]}, as input.schema declares"
        return PartitionError("schema_mismatch", message)
    return PartitionError("corrupt_csv", f"{name}: the csv text cannot be parsed")


def check_quotes(name: str, text: bytes, delimiter: str, quote: str, rows: int, breaks: int, quotes: int) -> None:
    """Raise ``corrupt_csv`` if a quote is never closed, or closed by accident in another line.

    This is possible only with an odd number of quotes, or with line breaks inside fields. Only then Python's strict
    parser, which is slower, checks the text.
    """
    lines = breaks + (not text.endswith((b"\n", b"\r")))
    if quotes % 2 or lines != rows:
        _strict(name, text, delimiter, quote)


def _strict(name: str, text: bytes, delimiter: str, quote: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(text), encoding="utf-8", newline="")
    before = csv.field_size_limit(2**31 - 1)
    reader = csv.reader(stream, delimiter=delimiter, quotechar=quote, strict=True)
    start = 1
    try:
        for _ in reader:
            start = reader.line_num + 1
    except csv.Error as error:
        raise _corrupt_quotes(name, start) from error
    except UnicodeDecodeError as error:
        raise encoding_error(name, None) from error
    finally:
        csv.field_size_limit(before)


def _corrupt_quotes(name: str, line: int | None) -> PartitionError:
    where = "a line" if line is None else f"line {line}"
    message = f"{name}: in the row that starts in {where} a quote is opened and not closed, or closed inside a field"
    return PartitionError("corrupt_csv", message, hint="Quotes inside a quoted field are written twice.")


def _not_utf8(name: str, text: bytes, header: list[str], delimiter: str, quote: str, *, headed: bool) -> PartitionError:
    """The ``encoding`` error with column and row. To find them, the values are read once more, as bytes."""
    table = pcsv.read_csv(
        pa.BufferReader(text),
        read_options=_read_options(text, header, headed=headed),
        parse_options=_parse_options(delimiter, quote, len(header), quote.encode() in text, []),
        convert_options=pcsv.ConvertOptions(column_types=dict.fromkeys(header, pa.binary())),
    )
    for column in header:
        for row, value in enumerate(table.column(column), start=1):
            try:
                value.as_py().decode()
            except UnicodeDecodeError:
                return encoding_error(name, row, column)
    raise AssertionError("a value that is not UTF-8 was found before, and is not found now")
