"""Texts of files as UTF-8, whatever their encoding is."""

from __future__ import annotations

from typing import Any

from job.errors import PartitionError
from job.reader.decompress import looks_compressed

_BOM = b"\xef\xbb\xbf"


def to_utf8(name: str, data: Any, encoding: str, *, first: bool = True) -> Any:
    """Convert text to UTF-8 bytes. UTF-8 bytes are returned as they are, without a byte order mark.

    Parameters
    ----------
    name
        Name of the file, for messages.
    data
        The text, or a part of it.
    encoding
        Its encoding.
    first
        Whether the data is the beginning of a file.

    Raises
    ------
    PartitionError
        ``encoding``; ``corrupt_compression`` if the data is compressed and its name does not say so.
    """
    view = memoryview(data)
    head = bytes(view[:4])
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig"):
        if first and head[:2] in (b"\xff\xfe", b"\xfe\xff"):
            message = f"{name}: the text is UTF-16, not UTF-8"
            raise PartitionError("encoding", message, hint="Declare it: input.format.encoding: utf-16.")
        text = data if isinstance(data, bytes) else bytes(view)
        found = looks_compressed(text) if first else None
        if found:
            message = f"{name}: the data is compressed with {found}, but its name does not say so"
            raise PartitionError("corrupt_compression", message, hint="Give the object its compression's suffix.")
        nul = text.find(b"\0")
        if nul >= 0:
            line = text.count(b"\n", 0, nul) + 1
            message = f"{name}: line {line} holds a NUL byte, which is no text"
            raise PartitionError("encoding", message, hint="If it is UTF-16, declare input.format.encoding: utf-16-le.")
        return text[3:] if first and text.startswith(_BOM) else text
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


def encoding_error(name: str, row: int | None, column: str | None = None) -> PartitionError:
    """The ``encoding`` error for a text that is not UTF-8, in a row (from 1) of a column, or in the header."""
    where = "the header" if column is None else f"column {column!r}" + (f", row {row}" if row else "")
    message = f"{name}: {where} is not UTF-8 text"
    return PartitionError("encoding", message, hint="Declare the encoding, for example input.format.encoding: latin-1.")
