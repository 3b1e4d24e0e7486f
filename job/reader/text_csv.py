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
from job.reader.decompress import looks_compressed
from job.reader.schema import check_declared, check_duplicates, delimiter_hint, wanted
from job.reader.spec import ReadSpec
from job.reader.text_types import null_texts

_BLOCK = 1 << 25  # a large block: each block makes one more chunk of a column, and each chunk costs time
_BOM = b"\xef\xbb\xbf"
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
        table = pcsv.read_csv(
            pa.BufferReader(text),
            read_options=pcsv.ReadOptions(use_threads=False, block_size=max(1 << 20, min(len(text), _BLOCK))),
            parse_options=_parse_options(delimiter, spec.quote, len(header), quoted, bad),
            convert_options=_convert_options(spec, decoded, types),
        )
    except pa.ArrowInvalid as error:
        raise _parse_error(name, error, bad, text, header, delimiter, spec.quote) from error
    except UnicodeDecodeError as error:  # pragma: no cover - the header was decoded before
        raise _encoding_error(name, None) from error
    if quoted:
        _check_quotes(name, text, delimiter, spec.quote, table.num_rows)
    return table


def to_utf8(name: str, data: Any, encoding: str) -> Any:
    """Convert text to UTF-8 bytes. UTF-8 bytes are returned as they are, without a byte order mark.

    Raises
    ------
    PartitionError
        ``encoding``; ``corrupt_compression`` if the data is compressed and its name does not say so.
    """
    view = memoryview(data)
    head = bytes(view[:4])
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig"):
        if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
            message = f"{name}: the text is UTF-16, not UTF-8"
            raise PartitionError("encoding", message, hint="Declare it: input.format.encoding: utf-16.")
        text = data if isinstance(data, bytes) else bytes(view)
        found = looks_compressed(text)
        if found:
            message = f"{name}: the data is compressed with {found}, but its name does not say so"
            raise PartitionError("corrupt_compression", message, hint="Give the object its compression's suffix.")
        nul = text.find(b"\0")
        if nul >= 0:
            line = text.count(b"\n", 0, nul) + 1
            message = f"{name}: line {line} holds a NUL byte, which is no text"
            raise PartitionError("encoding", message, hint="If it is UTF-16, declare input.format.encoding: utf-16-le.")
        return text[3:] if text.startswith(_BOM) else text
    try:
        decoded = str(view, encoding)
    except LookupError:
        raise PartitionError("encoding", f"no encoding is called {encoding!r}") from None
    except UnicodeError as error:
        message = f"{name}: the text is not {encoding}, as input.format.encoding declares"
        raise PartitionError("encoding", message) from error
    if "\0" in decoded:
        raise PartitionError("encoding", f"{name}: the text holds NUL characters when read as {encoding}")
    return decoded.removeprefix("\ufeff").encode()


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
        raise _encoding_error(name, None) from error
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
    name: str, error: pa.ArrowInvalid, bad: list[Any], text: bytes, header: list[str], delimiter: str, quote: str
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
        return _not_utf8(name, text, header, delimiter, quote)
    if match:
        column = header[int(match[1])] if int(match[1]) < len(header) else f"#{match[1]}"
        line = f"line {match[2]}" if match[2] else "a line"
        message = f"{name}: {line}, column {column!r} is not {match[3]}, as input.schema declares"
        return PartitionError("schema_mismatch", message)
    return PartitionError("corrupt_csv", f"{name}: the csv text cannot be parsed")


def _check_quotes(name: str, text: bytes, delimiter: str, quote: str, rows: int) -> None:
    """Raise ``corrupt_csv`` if a quote is never closed, or closed by accident in another line.

    This is possible only with an odd number of quotes, or with line breaks inside fields. Only then Python's strict
    parser, which is slower, checks the text.
    """
    breaks = text.count(b"\n") or text.count(b"\r")
    lines = breaks + (not text.endswith((b"\n", b"\r")))
    if text.count(quote.encode()) % 2 or lines != rows + 1:
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
        raise _encoding_error(name, None) from error
    finally:
        csv.field_size_limit(before)


def _corrupt_quotes(name: str, line: int | None) -> PartitionError:
    where = "a line" if line is None else f"line {line}"
    message = f"{name}: in the row that starts in {where} a quote is opened and not closed, or closed inside a field"
    return PartitionError("corrupt_csv", message, hint="Quotes inside a quoted field are written twice.")


def _not_utf8(name: str, text: bytes, header: list[str], delimiter: str, quote: str) -> PartitionError:
    """The ``encoding`` error with column and row. To find them, the values are read once more, as bytes."""
    table = pcsv.read_csv(
        pa.BufferReader(text),
        read_options=pcsv.ReadOptions(use_threads=False, block_size=max(1 << 20, min(len(text), _BLOCK))),
        parse_options=_parse_options(delimiter, quote, len(header), quote.encode() in text, []),
        convert_options=pcsv.ConvertOptions(column_types=dict.fromkeys(header, pa.binary())),
    )
    for column in header:
        for row, value in enumerate(table.column(column), start=1):
            try:
                value.as_py().decode()
            except UnicodeDecodeError:
                return _encoding_error(name, row, column)
    raise AssertionError("a value that is not UTF-8 was found before, and is not found now")


def _encoding_error(name: str, row: int | None, column: str | None = None) -> PartitionError:
    where = "the header" if column is None else f"column {column!r}" + (f", row {row}" if row else "")
    message = f"{name}: {where} is not UTF-8 text"
    return PartitionError("encoding", message, hint="Declare the encoding, for example input.format.encoding: latin-1.")
