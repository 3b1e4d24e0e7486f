"""The parts of a table whose rows are replaced (``mode: replace``): which part holds a key, and new parts. Pure.

Each part holds neighbouring keys, sorted, and no key is in two parts. So the parts divide the keys into ranges: the
range of part i goes from its first key to the first key of part i + 1. New rows of a key belong to its range.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from job.arrow import whole

MOST_KEYS = 32
"""Number of keys of a part at most. With fewer there are more files; with more, a replacement copies more rows
(docs/decisions/0016-replacing-predictions.md)."""
MOST_BYTES = 32_000_000
"""Bytes of the input, or of rows in memory, of a part at most; a larger key is a part of its own."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """A part of the current table."""

    path: str
    size: int
    rows: int
    first: str
    last: str


def ranges(keys: Sequence[str], firsts: Sequence[str]) -> np.ndarray:
    """The number of the range of each key.

    Parameters
    ----------
    keys
        The keys, sorted.
    firsts
        The first key of each part, sorted. Keys before the first part belong to the first range.

    Returns
    -------
    numpy.ndarray
        Shape (keys,); zeros if there are no parts.
    """
    begins = [bisect_left(keys, first) for first in firsts[1:]]
    return np.searchsorted(np.array(begins, int), np.arange(len(keys)), side="right")


def together(keys: Sequence[str], sizes: Sequence[int], firsts: Sequence[str]) -> np.ndarray:
    """Divide the keys to score into chunks: each has neighbouring keys of one range, as many as a part may hold.

    Parameters
    ----------
    keys, sizes
        The keys, sorted, and the bytes of each.
    firsts
        As in `ranges`.

    Returns
    -------
    numpy.ndarray
        Shape (keys,): the number of the chunk of each key.
    """
    found = np.zeros(len(keys), np.int32)
    number, held, count, before = -1, 0, 0, -1
    for at, (place, size) in enumerate(zip(ranges(keys, firsts).tolist(), sizes, strict=True)):
        if place != before or count >= MOST_KEYS or held + size > MOST_BYTES:
            number, held, count, before = number + 1, 0, 0, place
        found[at] = number
        held, count = held + size, count + 1
    return found


def by_key(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Yield each key of a part with its rows, in the order of the part, where the rows of a key are adjacent."""
    column = whole(table.column("_key"))
    codes = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    names, numbers = codes.dictionary.to_pylist(), codes.indices.to_numpy(zero_copy_only=False)
    bounds = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    for begin, end in pairwise(bounds):
        if end > begin:
            yield names[numbers[begin]], table.slice(begin, end - begin)


def merged(base: pa.Table | None, new: Iterable[pa.Table], out: Collection[str]) -> Iterator[list[pa.Table]]:
    """Merge old and new rows of a range into new parts.

    Parameters
    ----------
    base
        The rows of the old part of the range; None if there was none.
    new
        Tables with the rows of keys that were scored.
    out
        The keys whose old rows are left out: those that were scored, and those that are retired.

    Yields
    ------
    list of pyarrow.Table
        For each new part, the tables of the rows of its keys, sorted by key.
    """
    rows: dict[str, list[pa.Table]] = {}
    sizes: Counter[str] = Counter()
    for table in [*([] if base is None else [base]), *new]:
        size = table.nbytes / (table.num_rows or 1)
        for key, each in by_key(table):
            if table is not base or key not in out:
                rows.setdefault(key, []).append(each)
                sizes[key] += int(size * each.num_rows)
    parts = -(-len(rows) // MOST_KEYS) or 1
    most = -(-len(rows) // parts)  # keys are divided equally, so that all new parts have room for more
    gathered: list[pa.Table] = []
    keys = held = 0
    for key in sorted(rows):
        if keys and (keys >= most or held + sizes[key] > MOST_BYTES):
            yield gathered
            gathered, keys, held = [], 0, 0
        gathered += rows[key]
        keys, held = keys + 1, held + sizes[key]
    if gathered:
        yield gathered


def apart(spans: Sequence[tuple[str, str]]) -> bool:
    """Whether the spans of keys (first and last key of each part) do not overlap."""
    ordered = sorted(spans)
    return all(one[1] < other[0] for one, other in pairwise(ordered))
