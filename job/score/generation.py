"""One generation of predictions for each key: how its rows lie in parts, and how some keys' rows are replaced. Pure.

Parts hold neighbouring keys, in their order, and no key is in two. So a table of parts is a list of ranges: part number
i has the keys from its first one to that of part i + 1. New rows of a key go where its range is.
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
"""Keys of a part: fewer make more files, more make replacing dearer (docs/decisions/0016-replacing-predictions.md)."""
MOST_BYTES = 32_000_000
"""Objects, or rows in memory, of a part; a larger key is a part of its own."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """A part of the table, as it is now."""

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
        Sorted.
    firsts
        The first key of each part, sorted. What lies before all of them belongs to the first range.

    Returns
    -------
    numpy.ndarray
        Shape (keys,); zeros where there is no part.
    """
    begins = [bisect_left(keys, first) for first in firsts[1:]]
    return np.searchsorted(np.array(begins, int), np.arange(len(keys)), side="right")


def together(keys: Sequence[str], sizes: Sequence[int], firsts: Sequence[str]) -> np.ndarray:
    """The number of the chunk of each key that is scored: neighbours of one range, as many as a part holds.

    Parameters
    ----------
    keys, sizes
        Sorted, and the bytes of each.
    firsts
        As `ranges` takes them.
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
    """The rows of each key of a part, in the order in which they lie there: those of one key lie together."""
    column = whole(table.column("_key"))
    codes = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    names, numbers = codes.dictionary.to_pylist(), codes.indices.to_numpy(zero_copy_only=False)
    bounds = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    for begin, end in pairwise(bounds):
        if end > begin:
            yield names[numbers[begin]], table.slice(begin, end - begin)


def merged(base: pa.Table | None, new: Iterable[pa.Table], out: Collection[str]) -> Iterator[list[pa.Table]]:
    """The parts that a range becomes.

    Parameters
    ----------
    base
        Its part as it was; None where there was none.
    new
        Rows of keys that were scored.
    out
        The keys whose old rows go: those that were scored, and those that are retired.

    Yields
    ------
    list of pyarrow.Table
        The rows of each key of a part, in the order of keys.
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
    most = -(-len(rows) // parts)  # of two parts, each gets half: both have room for more
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
    """Whether no two of some parts, each from its first key to its last, have keys between each other's."""
    ordered = sorted(spans)
    return all(one[1] < other[0] for one, other in pairwise(ordered))
