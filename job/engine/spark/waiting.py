"""Warns if a cluster gives a run no executor: Spark waits for ever, and our log level hides its messages."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

LOOK = 10.0
"""seconds between two looks"""
PATIENCE = 60.0
"""seconds without an executor until that is said; then twice as long, and so on"""


class Waiting:
    """Looks now and then how many executors there are.

    Parameters
    ----------
    executors
        Counts those that have registered.
    clock
        Seconds.
    """

    def __init__(self, executors: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._executors = executors
        self._clock = clock
        self._looked = self._seen = clock()
        self.count: int | None = None
        """how many there were at the last look"""
        self._patience = PATIENCE

    def tick(self) -> None:
        """Look, if it is time to, and warn if nobody has been there for long."""
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
                "no executor for %.0f s, and nothing is trained without one: are its pods Pending (no room), or "
                "refused (quota, admission; Spark's lines above say so with 'forbidden')?",
                now - self._seen,
            )
