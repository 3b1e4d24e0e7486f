"""A column of SHA-256 digests: 64 letters in storage, 32 bytes in memory, as there may be millions of them. Pure."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

BYTES = pa.binary(32)

_PAIRS = np.frombuffer("".join(f"{number:02x}" for number in range(256)).encode(), np.uint16)


def column(data: bytes | bytearray) -> pa.FixedSizeBinaryArray:
    """Digests that stand one after the other, without a copy."""
    return pa.FixedSizeBinaryArray.from_buffers(BYTES, len(data) // 32, [None, pa.py_buffer(data)])


def letters(digests: pa.FixedSizeBinaryArray) -> pa.StringArray:
    """As they stand in storage. None may be null."""
    begin = digests.offset * 32
    data = np.frombuffer(digests.buffers()[1], np.uint8)[begin : begin + len(digests) * 32]
    offsets = np.arange(len(digests) + 1, dtype=np.int32) * 64
    return pa.StringArray.from_buffers(len(digests), pa.py_buffer(offsets), pa.py_buffer(_PAIRS[data]))
