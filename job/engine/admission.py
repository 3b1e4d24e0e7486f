"""Chooses the next task: in order, and only if the memory suffices. Pure.

Parameters are bytes and numbers of tasks; nothing is read or started here.
"""

from __future__ import annotations

from collections.abc import Sequence


class Admission:
    """The tasks that wait for a worker, and the estimated memory of the running ones.

    Parameters
    ----------
    tasks
        Number of tasks; they are handed out from 0 on.
    needs
        Bytes that each task needs; empty where that is not known.
    budget
        Bytes for all that are under way; None where that is not known.

    Notes
    -----
    A task that does not fit beside those under way lets smaller ones pass. One that is larger than the budget runs
    alone: it may need less than was thought, and if not, its partition becomes a row that says so.
    """

    def __init__(self, tasks: int, needs: Sequence[int] = (), budget: int | None = None) -> None:
        self._waiting = [(task, 0) for task in range(tasks)]
        self._needs, self._budget = needs, budget
        self._running: dict[int, int] = {}

    def __bool__(self) -> bool:
        """Something waits or is under way."""
        return bool(self._waiting or self._running)

    def take(self) -> tuple[int, int] | None:
        """The next task and the number of its attempt; None while there is none that may begin."""
        used = sum(self._need(task) for task in self._running)
        for place, (task, attempt) in enumerate(self._waiting):
            if not self._running or self._budget is None or used + self._need(task) <= self._budget:
                del self._waiting[place]
                self._running[task] = attempt
                return task, attempt
        return None

    def done(self, task: int) -> None:
        """A task is finished."""
        del self._running[task]

    def again(self, task: int) -> int:
        """The attempt failed: it waits for the next one, before all others. The number of that attempt."""
        attempt = self._running.pop(task) + 1
        self._waiting.insert(0, (task, attempt))
        return attempt

    def _need(self, task: int) -> int:
        return self._needs[task] if len(self._needs) else 0
