"""The interface of an engine, which runs the tasks of a plan, and a holder that starts an engine on first use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from job.plan.spark_read import TableRead
    from job.worker.work import Work


@dataclass(frozen=True, kw_only=True)
class EngineReport:
    """What an engine reports about one run."""

    summaries: tuple[Mapping[str, Any], ...] = ()
    """the summaries of the tasks, as rows: only hints for the report; the outcomes in the store are what counts"""
    metrics: Mapping[str, int] = field(default_factory=dict)
    """totals over Spark's stages: stages, tasks, failed_tasks, shuffle_read_bytes, shuffle_write_bytes"""


class Engine(Protocol):
    """Runs the tasks of a plan."""

    def cores(self) -> int:
        """Number of tasks that can run at the same time."""

    def number_of_tasks(self, costs: np.ndarray) -> int:
        """The best number of tasks for keys with these costs (one for each key, in seconds)."""

    def executors(self) -> int | None:
        """The last known number of executors of the cluster; None if it is unknown, or if there is no cluster."""

    def count(self, read: TableRead) -> pa.Table:
        """The number of rows of each key of a table (schema `job.plan.table_keys.COUNTS`)."""

    def run(self, work: Work, tasks: int, tick: Callable[[], None]) -> EngineReport:
        """Run all tasks to their end. ``tick`` is called again and again during the run."""

    def stop(self) -> None:
        """End the processes and free the memory."""


class Borrowed:
    """Holds an engine that is started when it is first needed, and stopped once.

    Parameters
    ----------
    start
        Makes and starts the engine.
    """

    def __init__(self, start: Callable[[], Engine]) -> None:
        self._start = start
        self._engine: Engine | None = None
        self._ahead: Future[Engine] | None = None

    def begin(self) -> None:
        """Start the engine in a background thread; `get` waits for it. The thread does not keep the process alive."""
        ahead: Future[Engine] = Future()

        def start() -> None:
            try:
                ahead.set_result(self._start())
            except BaseException as error:
                ahead.set_exception(error)

        self._ahead = ahead
        threading.Thread(target=start, name="engine", daemon=True).start()

    def get(self) -> Engine:
        """The started engine."""
        if self._engine is None:
            ahead, self._ahead = self._ahead, None
            self._engine = ahead.result() if ahead is not None else self._start()
        return self._engine

    def take(self) -> Engine:
        """The started engine; from now on the caller has to stop it."""
        engine, self._engine = self.get(), None
        return engine

    def stop(self) -> None:
        """Stop the engine if it was started. If it is still starting in the background, it is stopped afterwards."""
        if self._engine is not None:
            engine, self._engine = self._engine, None
            engine.stop()
        elif self._ahead is not None:
            ahead, self._ahead = self._ahead, None
            ahead.add_done_callback(_stop_unused)


def _stop_unused(ahead: Future[Engine]) -> None:
    if ahead.exception() is None:
        ahead.result().stop()
