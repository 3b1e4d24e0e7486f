"""The watchdog of a task: ends its process when the work on a key takes too long or too much memory."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from job.fit.partition_fit import Result, failed
from job.worker.machine import resident_bytes
from job.worker.operation import Item


class Watchdog:
    """Ends this process at a limit of time or memory, because native code cannot be stopped in another way.

    Before it ends the process for a timeout it writes the outcome, so that the next attempt need not wait again. For
    memory it writes none, because earlier partitions may have used it: the next attempt works in a guarded child.

    Parameters
    ----------
    named
        The work on one key, for messages: ``the fit``.
    timeout
        Limit in seconds for each partition; None: no limit.
    memory
        Limit in bytes for the resident memory of this process; None: no limit.
    record
        Records the outcome of a partition.
    flush
        Makes the recorded outcomes durable.
    """

    def __init__(
        self,
        *,
        named: str,
        timeout: float | None,
        memory: int | None,
        record: Callable[[Item, Result], None],
        flush: Callable[[], None],
    ) -> None:
        self._named, self._timeout, self._memory = named, timeout, memory
        self._record, self._flush = record, flush
        self._current: tuple[Item, float] | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def begin(self, item: Item) -> None:
        """Start the clock: the work on a partition begins."""
        self._current = (item, time.monotonic())

    def end(self) -> None:
        """Stop the clock: the work has ended."""
        with self._lock:
            self._current = None

    def stop(self) -> None:
        """Stop watching: the task has ended."""
        self._stop.set()

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            current = self._current
            if current is None:
                continue
            item, began = current
            if self._timeout and time.monotonic() - began > self._timeout:
                with self._lock:
                    if self._current is not current:
                        continue
                    text = f"{self._named} took longer than run.timeout ({self._timeout:g} s) and was ended"
                    self._record(item, failed("timeout", text))
                    self._die()
            used = resident_bytes(os.getpid())
            if self._memory and used is not None and used > self._memory:
                with self._lock:
                    if self._current is current:
                        self._die()

    def _die(self) -> None:
        try:
            self._flush()
        finally:
            os._exit(113)
