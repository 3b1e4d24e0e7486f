"""Helpers for Arrow data: columns as one chunk, tables as bytes, columns of digests, release of unused memory.

A digest is 64 hexadecimal digits in storage and 32 bytes in memory, as there may be millions of them.
"""

from __future__ import annotations

import ctypes

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

DIGEST = pa.binary(32)
"""the type of a column of SHA-256 digests"""
COMPRESSION: str | None = "zstd"
"""the compression of the columns in `encode`"""

_PAIRS = np.frombuffer("".join(f"{number:02x}" for number in range(256)).encode(), np.uint16)
_LIBC = ctypes.CDLL(None)
_M_MMAP_THRESHOLD = -3
"""constant of glibc's malloc.h"""


def whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """The column as one array. Unlike ``combine_chunks``, it does not copy a column of one chunk."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def ascending(column: pa.ChunkedArray | pa.Array) -> bool:
    """Whether the values ascend strictly, so that they need not be sorted (and copied)."""
    values = whole(column)
    return len(values) < 2 or bool(pc.all(pc.less(values[:-1], values[1:])).as_py())


def compact(table: pa.Table) -> pa.Table:
    """The table with one chunk for each column. It is made column by column, so that memory never holds two copies if
    the caller keeps no reference to the old table."""
    schema, columns = table.schema, []
    while table.num_columns:
        columns.append(whole(table.column(0)))
        table = table.remove_column(0)
    return pa.table(columns, schema=schema)


def use_plain_pool() -> None:
    """Make Arrow use the C library's allocator, which returns large buffers to the system when they are freed.

    Arrow's own pools keep them in a heap for each thread: about 0.1 GB in a driver with a million keys.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    if hasattr(_LIBC, "mallopt"):
        # By default glibc raises this threshold with every large buffer that is freed, and then keeps buffers, too.
        _LIBC.mallopt(_M_MMAP_THRESHOLD, 1 << 20)


def give_back() -> None:
    """Return unused memory to the system: Arrow's pool and the C library keep memory that was freed."""
    pa.default_memory_pool().release_unused()
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)


def encode(table: pa.Table) -> bytes:
    """Encode a table as a compressed Arrow stream."""
    sink = pa.BufferOutputStream()
    # No threads, here and in `decode`: for some hundred rows the pool takes longer than the (de)compression.
    options = pa.ipc.IpcWriteOptions(compression=COMPRESSION, use_threads=False)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def decode(data: object) -> pa.Table:
    """Read a table that `encode` has written."""
    with pa.ipc.open_stream(pa.py_buffer(data), options=pa.ipc.IpcReadOptions(use_threads=False)) as stream:
        return stream.read_all()


def digest_column(data: bytes | bytearray) -> pa.FixedSizeBinaryArray:
    """A column of SHA-256 digests from their concatenated bytes ``data``, without a copy."""
    return pa.FixedSizeBinaryArray.from_buffers(DIGEST, len(data) // 32, [None, pa.py_buffer(data)])


def digest_letters(digests: pa.FixedSizeBinaryArray) -> pa.StringArray:
    """Digests as text for storage: 64 hexadecimal digits each. No digest may be null."""
    begin = digests.offset * 32
    data = np.frombuffer(digests.buffers()[1], np.uint8)[begin : begin + len(digests) * 32]
    offsets = np.arange(len(digests) + 1, dtype=np.int32) * 64
    return pa.StringArray.from_buffers(len(digests), pa.py_buffer(offsets), pa.py_buffer(_PAIRS[data]))
