"""Finds the fit that has been running longest, from the number of outcomes of each task. Pure.

Tasks start in order, and a task fits the keys of its list in order, the largest first. At most ``cores`` tasks run at
once. In each of them the first key without an outcome is being fitted, or was at the last look.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

Numbers = np.ndarray


class Running:
    """Follows the tasks of a plan by their numbers of outcomes.

    Parameters
    ----------
    assigned
        Shape (due keys,): the task of each key that is to be trained.
    costs
        Shape (due keys,): the estimated cost of each of these keys.
    name
        Returns the key of a row.
    cores
        How many tasks run at once.
    """

    def __init__(self, assigned: Numbers, costs: Numbers, name: Callable[[int], str], cores: int) -> None:
        self._assigned, self._costs, self._name, self._cores = assigned, costs, name, cores
        self._sizes = np.bincount(assigned)
        self._done: dict[int, tuple[int, float]] = {}

    def note(self, done: Mapping[int, int], now: float) -> None:
        """Record the number of outcomes of each task at the time ``now``, in seconds."""
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
        """The key whose fit has been running longest, and for how many seconds at least; None if none is running."""
        if not self._done:
            return None
        task, (position, since) = min(self._done.items(), key=lambda each: each[1][1])
        rows = np.flatnonzero(self._assigned == task)
        order = rows[np.argsort(-self._costs[rows], kind="stable")]
        return self._name(int(order[position])), now - since
