"""Decompresses bytes, and checks the limits on size meanwhile.

Damaged data, truncated data and trailing garbage are errors: otherwise a gzip file of several members whose tail is
damaged would be read as a shorter file. Truncation exactly between two members cannot be seen in the bytes; there the
size and the ETag of the object are the protection.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from isal import isal_zlib

from job.errors import PartitionError
from job.words import first_line

MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh91AY&SY": "bz2",
    b"\x04\x22\x4d\x18": "lz4",
    b"\xfd7zXZ\x00": "xz",
    b"PK\x03\x04": "zip",
}
"""Magic numbers of compressed data. Messages use them to explain data that is not what its name says."""

_CHUNK = 1 << 20
_DAMAGED: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # its stub says an instance


def looks_compressed(data: Any) -> str | None:
    """The compression whose magic number is at the start of the data, or None."""
    head = bytes(memoryview(data)[:10])
    return next((codec for magic, codec in MAGIC.items() if head.startswith(magic)), None)


def inflate(name: str, data: Any, codec: str, *, max_bytes: int, max_ratio: float) -> Any:
    """Decompress ``data``.

    Parameters
    ----------
    name
        The object's name, for messages.
    data
        Any buffer.
    codec
        One of the values of `job.formats.COMPRESSIONS`.
    max_bytes, max_ratio
        Limits of the output: in bytes, and as a multiple of the input. Decompression stops as soon as one is exceeded.

    Raises
    ------
    PartitionError
        ``corrupt_compression``, ``decompression_limit``, ``unsupported_format``.
    """
    size = memoryview(data).nbytes
    limit = min(max_bytes, int(max_ratio * size))
    try:
        if codec == "gzip":
            plain: Any = _gunzip(data, limit)
        elif codec == "xz":
            plain = _join(_unxz(data), limit)
        elif codec == "snappy":
            raise PartitionError(
                "unsupported_format",
                f"{name}: a snappy stream cannot be read",
                hint="Store it as gzip or zstd; parquet files may use snappy inside.",
            )
        else:
            plain = _join(_stream(data, codec), limit)
    except (_DAMAGED, lzma.LZMAError, EOFError, OSError) as error:
        what = "is cut short" if "truncated" in str(error).lower() else "is damaged"
        found = looks_compressed(data)
        hint = f"Its first bytes look like {found}, not {codec}." if found not in (codec, None) else ""
        if found is None:
            hint = f"Its first bytes are not those of {codec}: is it compressed at all?"
        message = f"{name}: the {codec} data {what} ({first_line(error)})"
        raise PartitionError("corrupt_compression", message, hint=hint) from error
    if plain is None:
        cap = f"{max_bytes} bytes" if limit == max_bytes else f"{max_ratio:g} times its size of {size} bytes"
        raise PartitionError(
            "decompression_limit",
            f"{name}: unpacks to more than {cap}",
            hint="If that is right, raise input.format.max_bytes or input.format.max_ratio.",
        )
    return plain


def _gunzip(data: Any, limit: int) -> bytes | None:
    """Decompress gzip like zlib, in half of the time; None if the output exceeds the limit."""
    inflater = _member(data)
    plain: bytes = inflater.decompress(data, limit + 1)
    if inflater.eof and not inflater.unused_data and len(plain) <= limit:
        return plain  # one member, the common case: no copy
    parts = [plain]
    total = len(plain)
    while True:
        if total > limit:
            return None
        if not inflater.eof:
            raise EOFError("truncated: the end of a gzip member is missing")
        rest = inflater.unused_data
        if not rest:
            return b"".join(parts)
        if rest[:2] != b"\x1f\x8b"[: len(rest)]:
            raise OSError(f"{len(rest)} bytes that are not gzip follow the data")
        inflater = _member(rest)
        parts.append(inflater.decompress(rest, limit + 1 - total))
        total += len(parts[-1])


def _member(data: Any) -> Any:
    """A decompressor for the gzip member at the start of the data."""
    if len(head := memoryview(data)[:4]) == 4 and head[3] & 0xE0:
        raise OSError("unknown header flags set")  # zlib refuses these flags, ISA-L ignores them
    return isal_zlib.decompressobj(31)


def _unxz(data: Any) -> Iterator[bytes]:
    rest: Any = data
    while True:
        inflater = lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
        piece = inflater.decompress(rest, _CHUNK)
        while True:
            yield piece
            if inflater.eof:
                break
            if inflater.needs_input:
                raise EOFError("truncated: the end of the xz stream is missing")
            piece = inflater.decompress(b"", _CHUNK)
        rest = inflater.unused_data
        if not rest:
            return


def _stream(data: Any, codec: str) -> Iterator[bytes]:
    with pa.CompressedInputStream(pa.BufferReader(pa.py_buffer(data)), codec) as stream:
        while piece := stream.read(_CHUNK):
            yield piece


def _join(pieces: Iterator[bytes], limit: int) -> bytes | None:
    parts, total = [], 0
    for piece in pieces:
        total += len(piece)
        if total > limit:
            return None
        parts.append(piece)
    return b"".join(parts)
