"""Memory of large tables: a column in one piece without a copy, and what is free given back to the machine."""

from __future__ import annotations

import ctypes

import pyarrow as pa
import pyarrow.compute as pc

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
