"""A digest of the rows of a key that depends neither on their order nor on the files that hold them. Pure.

Each row is hashed to 128 bits, with the types and names of its columns. The digest is the sum of these hashes and the
number of rows. Each cell is mixed into the hash of the cells before it, so the sum changes if two rows exchange a cell.
Integers of all widths hash alike, and so do floats. A missing value and NaN differ, and so do 0.0 and -0.0.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

_PREFIX = "rows1:"
"""Kind and version of the digest; the index holds it as a prefix."""
_ODD = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))
"""A multiplier for each of the two 64-bit halves of a hash."""
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_FINAL = np.uint64(0x94D049BB133111EB)
_NULL = np.uint64(0x1CE4E5B9A5A5C3D1)
_SHIFT = np.uint64(29)
_ROWS = 16_384


def digests(table: pa.Table, bounds: np.ndarray) -> list[str]:
    """Compute the digest of the rows of each key.

    Parameters
    ----------
    table
        Rows of several keys; the rows of one key are adjacent.
    bounds
        Shape (keys + 1,): the first row of each key, and the number of all rows. Each key has at least one row.

    Notes
    -----
    Each half multiplies and shifts for each cell, and ends with the mixing of splitmix64 (Steele, Lea, Flood, "Fast
    splittable pseudorandom number generators", OOPSLA 2014). It does not protect against deliberate collisions.
    """
    columns = [column.chunk(0) if column.num_chunks == 1 else _one(column) for column in table.columns]
    halves = [np.full(table.num_rows, _seed(table.schema, half), np.uint64) for half in (0, 1)]
    with np.errstate(over="ignore"):
        # A few rows at a time, so that they stay in the processor's cache.
        for begin in range(0, table.num_rows, _ROWS):
            block = [half[begin : begin + _ROWS] for half in halves]
            for column in columns:
                _column(block, column.slice(begin, _ROWS))
            for half in block:
                half[:] = _mixed(half)
        sums = [np.add.reduceat(half, bounds[:-1]) for half in halves]
    counts = np.diff(bounds)
    pairs = zip(sums[0].tolist(), sums[1].tolist(), counts.tolist(), strict=True)
    return [f"{_PREFIX}{count}:{low:016x}{high:016x}" for low, high, count in pairs]


def _one(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _seed(schema: pa.Schema, half: int) -> np.uint64:
    hasher = hashlib.sha256(str(half).encode())
    for field in schema:
        hasher.update(f"{len(field.name)}:{field.name}\0{_kind(field.type)}\n".encode("utf-8", "surrogatepass"))
    return np.uint64(int.from_bytes(hasher.digest()[:8], "little"))


def _kind(kind: pa.DataType) -> str:
    if pt.is_integer(kind):
        return "integer"
    if pt.is_floating(kind):
        return "float"
    if pt.is_string(kind) or pt.is_large_string(kind):
        return "text"
    return str(kind)


def _mixed(value: np.ndarray) -> np.ndarray:
    value = (value ^ (value >> np.uint64(30))) * _MIX
    value = (value ^ (value >> np.uint64(27))) * _FINAL
    mixed: np.ndarray = value ^ (value >> np.uint64(31))
    return mixed


def _fold(halves: list[np.ndarray], words: np.ndarray, at: np.ndarray | None = None) -> None:
    """Mix a word into the hash of each row (or of the rows ``at``)."""
    for half, odd in zip(halves, _ODD, strict=True):
        if at is None:
            half ^= words
            half *= odd
            half ^= half >> _SHIFT
        else:
            some = (half[at] ^ words) * odd
            half[at] = some ^ (some >> _SHIFT)


def _column(halves: list[np.ndarray], array: pa.Array) -> None:
    kind = array.type
    missing = array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None
    if pt.is_boolean(kind):
        words = pc.fill_null(array, False).cast(pa.uint8()).to_numpy(zero_copy_only=False).astype(np.uint64)
    elif pt.is_floating(kind):
        words = _filled(array.cast(pa.float64()), 0.0).view(np.uint64)
    elif pt.is_unsigned_integer(kind):
        words = _filled(array, 0).astype(np.uint64)
    elif pt.is_integer(kind):
        words = _filled(array, 0).astype(np.int64).view(np.uint64)
    elif pt.is_temporal(kind) and not pt.is_interval(kind):
        words = _filled(array.view(pa.int32() if kind.bit_width == 32 else pa.int64()), 0).astype(np.int64)
        words = words.view(np.uint64)
    else:
        _texts(halves, array if _is_text(kind) else _as_texts(array), missing)
        return
    _fold(halves, words)
    _missing(halves, missing)


def _missing(halves: list[np.ndarray], missing: np.ndarray | None) -> None:
    """Mix in one more word for rows without the cell, and none for others: a row's hash must not depend on others."""
    if missing is not None:
        at = np.flatnonzero(missing)
        _fold(halves, np.full(len(at), _NULL), at)


def _filled(array: pa.Array, value: float) -> np.ndarray:
    return np.ascontiguousarray(pc.fill_null(array, value).to_numpy(zero_copy_only=False))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pt.is_string(kind) or pt.is_large_string(kind) or pt.is_binary(kind) or pt.is_large_binary(kind))


def _as_texts(array: pa.Array) -> pa.Array:
    """Decimals and nested values as text. They are rare, and their text is exact."""
    return pa.array([None if value is None else repr(value) for value in array.to_pylist()], pa.string())


def _texts(halves: list[np.ndarray], array: pa.Array, missing: np.ndarray | None) -> None:
    """Mix in texts, eight bytes at a time, for all rows at once that are long enough."""
    wide = pt.is_large_string(array.type) or pt.is_large_binary(array.type)
    _, offsets, data = array.buffers()
    width = np.int64 if wide else np.int32
    bounds = np.frombuffer(offsets, width)[array.offset : array.offset + len(array) + 1].astype(np.int64)
    begins, lengths = bounds[:-1], np.diff(bounds)
    if missing is not None:
        lengths = np.where(missing, 0, lengths)
    low, high = (int(bounds[0]), int(bounds[-1])) if len(bounds) else (0, 0)
    plain = np.zeros(high - low + 8, np.uint8)
    if data is not None and high > low:
        plain[: high - low] = np.frombuffer(data, np.uint8)[low:high]
    # The 64-bit word that begins at each byte: numpy can read unaligned words.
    words = np.lib.stride_tricks.as_strided(plain[:8].view(np.uint64), (high - low + 1,), (1,), writeable=False)
    begins = begins - low
    _fold(halves, lengths.astype(np.uint64))
    _missing(halves, missing)
    at: np.ndarray | None = None
    done, longest = 0, int(lengths.max(initial=0))
    while done < longest:
        left = lengths - done if at is None else lengths[at] - done
        if not (left > 0).all():
            at = np.flatnonzero(lengths > done)
            left = lengths[at] - done
        begin = (begins if at is None else begins[at]) + done
        word = words[begin]
        short = left < 8
        if short.any():
            keep = np.where(
                short, (np.uint64(1) << (np.clip(left, 0, 7).astype(np.uint64) * np.uint64(8))) - 1, ~np.uint64(0)
            )
            word = word & keep
        _fold(halves, word, at)
        done += 8
