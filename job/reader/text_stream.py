"""Streams the decompressed bytes of a text file that may be larger than memory."""

from __future__ import annotations

import bz2
import lzma
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from job.errors import PartitionError


def stream(name: str, file: Any, codec: str | None, *, max_ratio: float) -> Callable[[int], bytes]:
    """Returns a function that reads the next decompressed bytes. At the end it returns no bytes.

    Parameters
    ----------
    name
        Name of the file, for messages.
    file
        A binary file with ``read`` and ``size``.
    codec
        A value of `job.formats.COMPRESSIONS`, or None for plain text.
    max_ratio
        Limit of the decompressed size as a multiple of the file's size.

    Raises
    ------
    PartitionError
        ``corrupt_compression``, ``decompression_limit``, ``unsupported_format``; by this call, or while reading.
    """
    if codec is None:
        return file.read  # type: ignore[no-any-return]
    opened = _open(name, file, codec)
    damaged: tuple[type[Exception], ...] = (OSError, EOFError, lzma.LZMAError, ValueError, _isal_error())
    limit, total = max_ratio * max(file.size(), 1), 0

    def read(size: int) -> bytes:
        nonlocal total
        parts, length = [], 0
        while length < size:
            try:
                piece = opened.read(size - length)
            except damaged as error:
                what = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
                raise PartitionError(
                    "corrupt_compression", f"{name}: the {codec} data is damaged or cut short ({what})"
                ) from error
            if not piece:
                break
            parts.append(piece)
            length += len(piece)
        total += length
        if total > limit:
            raise PartitionError(
                "decompression_limit",
                f"{name}: unpacks to more than {max_ratio:g} times its size of {file.size()} bytes",
                hint="If that is right, raise input.format.max_ratio.",
            )
        return parts[0] if len(parts) == 1 else b"".join(parts)

    return read


def _isal_error() -> type[Exception]:
    from isal import isal_zlib

    return isal_zlib.error  # type: ignore[return-value]  # its stub says an instance


def _open(name: str, file: Any, codec: str) -> Any:
    if codec == "gzip":
        from isal import igzip

        return igzip.IGzipFile(fileobj=file, mode="rb")  # type: ignore[no-untyped-call]
    if codec == "xz":
        return lzma.LZMAFile(file)
    if codec == "bz2":
        return bz2.BZ2File(file)
    if codec == "snappy":
        raise PartitionError(
            "unsupported_format",
            f"{name}: a snappy stream cannot be read",
            hint="Store it as gzip or zstd; parquet files may use snappy inside.",
        )
    return pa.CompressedInputStream(pa.PythonFile(file, mode="r"), codec)
