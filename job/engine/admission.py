"""Chooses the next task: in order, and only if there is enough memory for it. Pure.

It works on numbers of tasks and on bytes alone; nothing is read or started here.
"""

from __future__ import annotations

from collections.abc import Sequence


class Admission:
    """The tasks that wait for a worker, and the estimated memory of the running ones.

    Parameters
    ----------
    tasks
        Number of tasks. They are handed out in the order of their numbers, from 0.
    needs
        Estimated bytes of memory for each task; empty if they are not known.
    budget
        Bytes of memory for all running tasks together; None means no limit.

    Notes
    -----
    If a task does not fit beside the running ones, smaller tasks may go first. A task that is larger than the budget
    runs alone: it may need less memory than estimated. If it does not, its partition fails.
    """

    def __init__(self, tasks: int, needs: Sequence[int] = (), budget: int | None = None) -> None:
        self._waiting = [(task, 0) for task in range(tasks)]
        self._needs, self._budget = needs, budget
        self._running: dict[int, int] = {}

    def __bool__(self) -> bool:
        """Whether a task is waiting or running."""
        return bool(self._waiting or self._running)

    def take(self) -> tuple[int, int] | None:
        """The next task and the number of its attempt; None if no task may begin now."""
        used = sum(self._need(task) for task in self._running)
        for place, (task, attempt) in enumerate(self._waiting):
            if not self._running or self._budget is None or used + self._need(task) <= self._budget:
                del self._waiting[place]
                self._running[task] = attempt
                return task, attempt
        return None

    def done(self, task: int) -> None:
        """Record that a task has finished."""
        del self._running[task]

    def again(self, task: int) -> int:
        """Put a task whose attempt failed first in the queue. Returns the number of its next attempt."""
        attempt = self._running.pop(task) + 1
        self._waiting.insert(0, (task, attempt))
        return attempt

    def _need(self, task: int) -> int:
        return self._needs[task] if len(self._needs) else 0
