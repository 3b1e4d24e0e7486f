"""Helpers on Arrow data: columns in one piece, tables as bytes, columns of digests, memory given back.

A digest is 64 letters in storage and 32 bytes in memory, as there may be millions of them.
"""

from __future__ import annotations

import ctypes

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

DIGEST = pa.binary(32)
"""the type of a column of SHA-256 digests"""
COMPRESSION: str | None = "zstd"
"""of the columns in `encode`"""

_PAIRS = np.frombuffer("".join(f"{number:02x}" for number in range(256)).encode(), np.uint16)
_LIBC = ctypes.CDLL(None)
_M_MMAP_THRESHOLD = -3
"""of glibc's malloc.h"""


def whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """The column in one piece; ``combine_chunks`` copies it even where it is in one already."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def ascending(column: pa.ChunkedArray | pa.Array) -> bool:
    """Whether the values ascend, each but once: then no sort needs to copy them."""
    values = whole(column)
    return len(values) < 2 or bool(pc.all(pc.less(values[:-1], values[1:])).as_py())


def compact(table: pa.Table) -> pa.Table:
    """The table in one piece, made column by column: if the caller lets go of it, no two copies of it exist."""
    schema, columns = table.schema, []
    while table.num_columns:
        columns.append(whole(table.column(0)))
        table = table.remove_column(0)
    return pa.table(columns, schema=schema)


def use_plain_pool() -> None:
    """Have Arrow take memory from the C library: large buffers then go back to the machine when they are freed.

    Arrow's own pools keep them, a heap for each thread: a tenth of a gigabyte in a driver with a million keys.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    if hasattr(_LIBC, "mallopt"):
        # glibc raises this limit with every large buffer that is freed, and then keeps them as well.
        _LIBC.mallopt(_M_MMAP_THRESHOLD, 1 << 20)


def give_back() -> None:
    """Hand unused memory back: Arrow's pool and the C library both keep what a phase has freed."""
    pa.default_memory_pool().release_unused()
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)


def encode(table: pa.Table) -> bytes:
    """An Arrow stream, compressed."""
    sink = pa.BufferOutputStream()
    # Here as below: to hand some hundred rows to a pool, column by column, takes longer than to (un)pack them.
    options = pa.ipc.IpcWriteOptions(compression=COMPRESSION, use_threads=False)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def decode(data: object) -> pa.Table:
    """The inverse of `encode`."""
    with pa.ipc.open_stream(pa.py_buffer(data), options=pa.ipc.IpcReadOptions(use_threads=False)) as stream:
        return stream.read_all()


def digest_column(data: bytes | bytearray) -> pa.FixedSizeBinaryArray:
    """SHA-256 digests that stand one after the other in ``data``, as a column, without a copy."""
    return pa.FixedSizeBinaryArray.from_buffers(DIGEST, len(data) // 32, [None, pa.py_buffer(data)])


def digest_letters(digests: pa.FixedSizeBinaryArray) -> pa.StringArray:
    """Digests as they stand in storage: 64 hexadecimal letters each. None may be null."""
    begin = digests.offset * 32
    data = np.frombuffer(digests.buffers()[1], np.uint8)[begin : begin + len(digests) * 32]
    offsets = np.arange(len(digests) + 1, dtype=np.int32) * 64
    return pa.StringArray.from_buffers(len(digests), pa.py_buffer(offsets), pa.py_buffer(_PAIRS[data]))
