"""Finds the fit that has been running longest, from the number of outcomes of each task. Pure.

Tasks begin in their order, and a task fits the keys of its list in their order, the largest first. So of ``cores``
tasks that have begun and are not done, the first key without an outcome is being fitted, or was at the last look.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

Numbers = np.ndarray


class Running:
    """The tasks of a plan as they go on.

    Parameters
    ----------
    assigned
        The task of each key that is to be trained.
    costs
        Of each of them.
    name
        The key of a row.
    cores
        How many tasks run at once.
    """

    def __init__(self, assigned: Numbers, costs: Numbers, name: Callable[[int], str], cores: int) -> None:
        self._assigned, self._costs, self._name, self._cores = assigned, costs, name, cores
        self._sizes = np.bincount(assigned)
        self._done: dict[int, tuple[int, float]] = {}

    def note(self, done: Mapping[int, int], now: float) -> None:
        """Take the number of outcomes of each task, as they are ``now`` (seconds)."""
        running: dict[int, tuple[int, float]] = {}
        for task, size in enumerate(self._sizes.tolist()):
            if len(running) == self._cores:
                break
            count = done.get(task, 0)
            if count < size:
                before = self._done.get(task)
                running[task] = before if before is not None and before[0] == count else (count, now)
        self._done = running

    def slowest(self, now: float) -> tuple[str, float] | None:
        """The key that has been fitted longest, and for how many seconds at least; None where nothing runs."""
        if not self._done:
            return None
        task, (position, since) = min(self._done.items(), key=lambda each: each[1][1])
        rows = np.flatnonzero(self._assigned == task)
        order = rows[np.argsort(-self._costs[rows], kind="stable")]
        return self._name(int(order[position])), now - since
