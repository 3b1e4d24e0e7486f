"""Packs keys into tasks by their cost: the number of tasks, and the task of each key. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

_SLICE = 16_384

BASE_COST = 0.004
COST_PER_BYTE = 1.5e-7
"""Seconds a byte, for a partition that was never fitted: measured for a linear model on 2,000 rows of gzipped csv."""
FIT_MEMORY = 3.0
"""Memory to read, parse and fit a partition, as a multiple of its uncompressed size: a measured upper limit."""
UNPACKED = 6.0
"""Uncompressed size of gzipped csv as a multiple of its size, about."""


def number_of_tasks(costs: Sequence[float] | np.ndarray, cores: int, *, local: bool) -> int:
    """The number of Spark tasks: few and long, but enough to balance errors of the estimated costs.

    Each task costs Spark about 0.1 s. A task that dies loses only the outcomes that were not flushed. Estimates are
    rough. So there is one task per core for work of seconds, there are four per core for minutes, and for longer work
    tasks of about a minute.
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


def number_of_small_tasks(costs: Sequence[float] | np.ndarray, cores: int) -> int:
    """The number of tasks for an engine whose tasks cost some 0.01 s, and where any free worker takes the next one.

    Errors of the estimates then matter little: at the end a core is idle for at most the duration of one task. So there
    are tasks of half a second, up to 32 per core, and for longer work tasks of about a minute.
    """
    per_core = float(np.sum(costs)) / cores
    each = max(min(32, int(np.ceil(per_core / 0.5))), round(per_core / 60), 2)
    return max(1, min(each * cores, len(costs)))


def pack_together(costs: np.ndarray, tasks: int, groups: np.ndarray | None) -> np.ndarray:
    """Pack items into tasks like `pack`, with all items of a group in one task.

    Parameters
    ----------
    costs, tasks
        As in `pack`.
    groups
        Shape (items,): the number of each item's group, from 0 without gaps; None: each item is a group of its own.
    """
    if groups is None:
        return pack(costs, tasks)
    weights = np.bincount(groups, weights=costs)
    found: np.ndarray = pack(weights, min(tasks, len(weights)))[groups]
    return found


def pack(costs: Sequence[float] | np.ndarray, tasks: int) -> np.ndarray:
    """Pack items by longest processing time first: each item, largest first, goes to the task with the lowest sum.

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
