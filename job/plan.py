"""The plan: which keys are trained, which are left alone, each with its reason; and who trains what. Pure.

A plan is frozen Arrow tables, validated and printable before anything runs. A million keys take about 300 bytes each.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job.fingerprint import data_fingerprint
from job.selection import Selected, starts

if TYPE_CHECKING:
    from job.work import TableRead

TRAIN, UNCHANGED, SKIP, ADOPT = "train", "unchanged", "skip", "adopt"

WHY = {
    "new": "not in the published set",
    "data": "an object was added, removed or replaced",
    "recipe": "the recipe, the reader's settings or the seed changed",
    "environment": "library versions changed (run.environment)",
    "failed": "the last attempt failed",
    "unchanged": "data, recipe and environment are as recorded",
    "skipped": "skipped before, and nothing changed",
    "finished": "trained by a run that did not finish; taken over",
}
"""Why a key has its action."""

INDEX_COLUMNS = ("key", "state", "data", "recipe", "environment", "content", "seconds")
"""What a plan needs of the index."""

_SLICE = 16_384
"""Rows that are Python objects at a time."""

BASE_COST = 0.004
COST_PER_BYTE = 1.5e-7
"""Seconds for a partition nothing is known of: measured for a linear model on 2,000 rows of gzipped csv."""


@dataclass(frozen=True, kw_only=True)
class Fingerprints:
    """What a published model is compared with."""

    recipe: str
    environment: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run would do."""

    keys: pa.Table
    """key, action, why, bytes, first, count (rows of ``objects``), data, content, cost; sorted by key"""
    objects: pa.Table
    """key, name, size, etag, modified; sorted by key and name"""
    gone: pa.Array
    """published keys that a complete listing no longer has"""
    returned: pa.Array
    """planned keys that were marked gone and are here again"""
    published: int
    """keys in the index"""
    ignored: int
    """objects passed over: markers, hidden files"""
    unmatched: int
    """objects that input.match leaves out"""
    listed_at: datetime
    """the store's clock at the listing"""
    read: TableRead | None = None
    """how ``spark.read`` reads it; None where the tasks read by themselves"""
    files: pa.Table | None = None
    """``columns``: the table's files as they were listed"""

    @property
    def planned(self) -> int:
        """Number of keys."""
        return int(self.keys.num_rows)

    def count(self, action: str) -> int:
        """Number of keys with one action."""
        return int(pc.sum(pc.equal(self.keys["action"], action)).as_py() or 0)

    def with_action(self, action: str) -> pa.Table:
        """The rows of ``keys`` with one action."""
        return self.keys.filter(pc.equal(self.keys["action"], action))

    def reasons(self) -> dict[str, int]:
        """Number of keys for each why, most first."""
        counts = pc.value_counts(self.keys["why"]).to_pylist()
        return {each["values"]: each["counts"] for each in sorted(counts, key=lambda each: -each["counts"])}


def make(
    selected: Selected,
    index: pa.Table,
    finished: pa.Table,
    fingerprints: Fingerprints,
    *,
    listed_at: datetime,
) -> Plan:
    """Compare what is there with what is published.

    Parameters
    ----------
    selected
        The objects of the chosen keys.
    index
        The published rows, with `INDEX_COLUMNS` and ``gone_since``.
    finished
        Outcomes (key, data, recipe, environment, digest) of runs that did not finish, status trained.
    fingerprints
        Of this job's recipe and of the environment.
    listed_at
        The store's clock at the listing.
    """
    objects = selected.objects
    runs = starts(objects["key"])
    sizes = objects["size"].to_numpy()
    total = np.add.reduceat(sizes, runs.first) if len(runs.first) else np.zeros(0, np.int64)
    data = _data_fingerprints(objects, runs.first, runs.count)

    at = pc.index_in(runs.keys, value_set=index["key"].combine_chunks())

    def known(name: str) -> pa.Array:
        return index[name].combine_chunks().take(at)

    def has(name: str, value: str) -> pa.Array:
        # Compared before it is brought into the order of the keys: a million truths are an eighth of a megabyte.
        return pc.fill_null(pc.equal(index[name], value).combine_chunks().take(at), False)

    is_new = pc.is_null(at)
    same_data = pc.fill_null(pc.equal(known("data"), data), False)
    same_recipe = has("recipe", fingerprints.recipe)
    same_environment = has("environment", fingerprints.environment)
    live = has("state", "live")
    skipped = has("state", "skipped")
    settled = pc.or_(live, skipped)
    why = pc.case_when(
        pc.make_struct(
            is_new,
            pc.invert(settled),
            pc.invert(same_data),
            pc.invert(same_recipe),
            pc.invert(same_environment),
            skipped,
        ),
        *[pa.scalar(each) for each in ("new", "failed", "data", "recipe", "environment", "skipped", "unchanged")],
    )
    action = pc.if_else(pc.equal(why, "unchanged"), UNCHANGED, pc.if_else(pc.equal(why, "skipped"), SKIP, TRAIN))
    if finished.num_rows:
        taken = _finished(runs.keys, data, finished, fingerprints)
        adopt = pc.and_(pc.equal(action, TRAIN), taken)
        action, why = pc.if_else(adopt, ADOPT, action), pc.if_else(adopt, "finished", why)

    # The bytes' digest only helps where the recipe and the environment are as they were: else the fit is due anyway.
    reusable = pc.and_(pc.and_(same_recipe, same_environment), live)
    content = pc.if_else(reusable, known("content"), pa.scalar(None, pa.string()))
    cost = np.maximum(
        BASE_COST + COST_PER_BYTE * total, pc.fill_null(known("seconds"), 0.0).to_numpy(zero_copy_only=False)
    )
    keys = pa.table(
        {
            "key": runs.keys,
            "action": action,
            "why": why,
            "bytes": pa.array(total, pa.int64()),
            "first": pa.array(runs.first, pa.int64()),
            "count": pa.array(runs.count, pa.int32()),
            "data": data,
            "content": content,
            "cost": pa.array(cost, pa.float64()),
        }
    )
    gone, returned = pa.array([], pa.string()), pa.array([], pa.string())
    was_gone = pc.is_valid(index["gone_since"])
    if index.num_rows:
        present = pc.is_in(index["key"], value_set=runs.keys)
        returned = index.filter(pc.and_(was_gone, present))["key"].combine_chunks()
        if selected.complete:
            gone = index.filter(pc.invert(present))["key"].combine_chunks()
    return Plan(
        keys=keys,
        objects=objects,
        gone=gone,
        returned=returned,
        published=index.num_rows,
        ignored=selected.ignored,
        unmatched=selected.unmatched,
        listed_at=listed_at,
    )


def _finished(keys: pa.Array, data: pa.Array, finished: pa.Table, fingerprints: Fingerprints) -> pa.Array:
    fits = pc.and_(
        pc.equal(finished["recipe"], fingerprints.recipe), pc.equal(finished["environment"], fingerprints.environment)
    )
    done = finished.filter(fits)
    names = pc.binary_join_element_wise(done["key"], done["data"], "\0").combine_chunks()
    return pc.is_in(pc.binary_join_element_wise(keys, data, "\0"), value_set=names)


def _data_fingerprints(objects: pa.Table, first: np.ndarray, count: np.ndarray) -> pa.Array:
    """In slices, and into one buffer: Python objects for a million names never exist at once, nor do two copies."""
    text = bytearray()
    for begin in range(0, len(first), _SLICE):
        block = slice(begin, begin + _SLICE)
        low = int(first[block][0])
        high = int(first[block][-1] + count[block][-1])
        part = objects.slice(low, high - low)
        rows = list(zip(part["name"].to_pylist(), part["size"].to_pylist(), part["etag"].to_pylist(), strict=True))
        bounds = zip((first[block] - low).tolist(), count[block].tolist(), strict=True)
        text += "".join([data_fingerprint(rows[begins : begins + length]) for begins, length in bounds]).encode()
    offsets = np.arange(len(first) + 1, dtype=np.int32) * 64
    return pa.StringArray.from_buffers(len(first), pa.py_buffer(offsets), pa.py_buffer(text))


def number_of_tasks(costs: Sequence[float] | np.ndarray, cores: int, *, local: bool) -> int:
    """How many Spark tasks: few and long, yet enough to even out what the estimate gets wrong.

    Each task costs Spark about 0.1 s, a task that dies repeats at most what was not flushed, and estimates are rough:
    so one task per core for work of seconds, four per core for minutes, and tasks of about a minute beyond that.
    """
    total = float(np.sum(costs))
    per_core = total / cores
    if per_core < 3 and local:
        each = 1
    elif per_core < 15:
        each = 2
    else:
        each = max(4, round(per_core / 60))
    return max(1, min(each * cores, len(costs)))


def pack(costs: Sequence[float] | np.ndarray, tasks: int) -> np.ndarray:
    """Longest processing time first: each item, largest first, goes to the task with the least so far.

    Parameters
    ----------
    costs
        Seconds (or any weight) of each item.
    tasks
        Number of tasks, 1 to ``len(costs)``.

    Returns
    -------
    numpy.ndarray
        The task of each item, int32; task 0 holds the largest item.

    Notes
    -----
    R. L. Graham, "Bounds on multiprocessing timing anomalies", SIAM J. Appl. Math. 17 (1969): the makespan is at most
    4/3 - 1/(3m) times the optimum.
    """
    costs = np.asarray(costs, float)
    order = np.argsort(-costs, kind="stable")
    heap = [(0.0, task) for task in range(tasks)]
    assigned = np.empty(len(costs), np.int32)
    for begin in range(0, len(order), _SLICE):
        block = order[begin : begin + _SLICE]
        for item, cost in zip(block.tolist(), costs[block].tolist(), strict=True):
            load, task = heap[0]
            assigned[item] = task
            heapq.heapreplace(heap, (load + cost, task))
    return assigned
