"""Chunks: planned lists of keys whose results are put as one object. A chunk counts as a whole, or not at all.

A chunk's name ends with the number of its keys. The column ``part`` of an outcome holds the id of the attempt and the
name of the chunk. So a reader of outcomes can tell which attempts have finished the chunk. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job.arrow import whole
from job.fit.partition_fit import Result
from job.worker.operation import Item

Done = tuple[Item, Result, str | None]
"""A key, its result, and the digest of the data that was read."""
MOST_KEYS = 256
MOST_BYTES = 32_000_000
"""Bytes of the input of a chunk; a larger key is a chunk of its own."""


def name(plan: str, task: int, number: int, keys: int) -> str:
    """The name of a chunk of a plan."""
    return f"{plan}/{task}/{number}/{keys}"


def size(chunk: str) -> int:
    """The number of keys of a chunk, from its name."""
    return int(chunk.rpartition("/")[2])


def cut(sizes: Sequence[int], most_keys: int = MOST_KEYS) -> list[int]:
    """Divide the list of a task into chunks.

    Parameters
    ----------
    sizes
        Bytes of each key, in the order of the list.
    most_keys
        Number of keys of a chunk at most.

    Returns
    -------
    list of int
        For each key the number of its chunk.
    """
    found, number, keys, held = [], 0, 0, 0
    for each in sizes:
        if keys and (keys >= most_keys or held + each > MOST_BYTES):
            number, keys, held = number + 1, 0, 0
        found.append(number)
        keys, held = keys + 1, held + each
    return found


class Chunks:
    """Collects the results of keys until their chunk is complete."""

    def __init__(self) -> None:
        self._open: dict[str, list[Done]] = {}

    def add(self, item: Item, result: Result, content: str | None) -> list[Done] | None:
        """Add one key. Returns the whole chunk, sorted by key, if this was its last key; else None."""
        assert item.chunk is not None
        gathered = self._open.setdefault(item.chunk, [])
        gathered.append((item, result, content))
        if len(gathered) < size(item.chunk):
            return None
        return sorted(self._open.pop(item.chunk), key=lambda done: done[0].key)


def finished(outcomes: pa.Table) -> pa.Table:
    """The outcomes of those attempts that have finished their chunk.

    Parameters
    ----------
    outcomes
        Outcomes of any attempts, at least with the columns ``key``, ``chunk`` and ``part``. An attempt may have written
        a key twice.
    """
    if not outcomes.num_rows:
        return outcomes
    chunk = outcomes["chunk"].cast(pa.string())
    token = pc.binary_join_element_wise(chunk, outcomes["part"].cast(pa.string()), "#")
    rows = pa.table({"token": token, "key": outcomes["key"]}).filter(pc.is_valid(token))
    counts = rows.group_by("token").aggregate([("key", "count_distinct")])
    tokens = counts["token"].to_pylist()
    wanted = [size(each.partition("#")[0]) for each in tokens]
    complete = np.array(counts["key_count_distinct"].to_pylist()) == np.array(wanted, int)
    names = pa.array([each for each, fine in zip(tokens, complete, strict=True) if fine], pa.string())
    return outcomes.filter(pc.fill_null(pc.is_in(token, value_set=names), False))


def winners(outcomes: pa.Table, done: str) -> pa.Table:
    """Choose one finished attempt for each chunk: the one with the most successful keys, then the lowest digest."""
    best: dict[str, tuple[Any, ...]] = {}
    for row in _attempts(outcomes, done):
        chunk = row["chunk"]
        ranked = (-row["done"], row["digest"] or "", row["part"])
        if chunk not in best or ranked < best[chunk]:
            best[chunk] = ranked
    chosen = pa.array([ranked[2] for ranked in best.values()], pa.string())
    return once(outcomes.filter(pc.is_in(outcomes["part"], value_set=chosen)))


def _attempts(outcomes: pa.Table, done: str) -> Iterable[dict[str, Any]]:
    rows = pa.table(
        {
            "chunk": outcomes["chunk"].cast(pa.string()),
            "part": outcomes["part"],
            "digest": outcomes["digest"],
            "done": pc.equal(outcomes["status"].cast(pa.string()), done).cast(pa.int64()),
        }
    )
    found = rows.group_by(["chunk", "part"]).aggregate([("done", "sum"), ("digest", "min")]).to_pylist()
    return [
        {"chunk": each["chunk"], "part": each["part"], "done": each["done_sum"], "digest": each["digest_min"]}
        for each in found
    ]


def once(outcomes: pa.Table) -> pa.Table:
    """Each key of a part once: after a lost answer of the store, outcomes of a segment may have been written twice.

    If a run was started again, a key may be in a part of each of its plans. It stays in both: else the second one would
    seem to lack it, would be adopted beside the first one, and would bring the rows of the key once more.
    """
    pairs = pc.binary_join_element_wise(outcomes["part"].cast(pa.string()), outcomes["key"], "#")
    first = np.unique(whole(pairs).to_numpy(zero_copy_only=False), return_index=True)[1]
    return outcomes if len(first) == outcomes.num_rows else outcomes.take(pa.array(np.sort(first)))
