"""Warns if a run gets no executor: Spark waits without a limit, and its own warnings are hidden by our log level."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

LOOK = 10.0
"""seconds between two counts of executors"""
PATIENCE = 60.0
"""seconds without an executor until the first warning; the time doubles after each warning"""


class Waiting:
    """Counts the executors every `LOOK` seconds.

    Parameters
    ----------
    executors
        Returns the number of registered executors.
    clock
        Returns the time in seconds.
    """

    def __init__(self, executors: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._executors = executors
        self._clock = clock
        self._looked = self._seen = clock()
        self.count: int | None = None
        """the last known number of executors; None before the first count"""
        self._patience = PATIENCE

    def tick(self) -> None:
        """Count the executors if it is time to, and warn if there has been none for long."""
        now = self._clock()
        if now - self._looked < LOOK:
            return
        self._looked = now
        self.count = self._executors()
        if self.count:
            self._seen, self._patience = now, PATIENCE
        elif now - self._seen >= self._patience:
            self._patience *= 2
            log.warning(
                "no executor for %.0f s, and nothing goes on without one: are its pods Pending (no room), or "
                "refused (quota, admission; Spark's lines above say so with 'forbidden')?",
                now - self._seen,
            )
