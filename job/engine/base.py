"""The interface of an engine, which runs the tasks of a plan; and an engine that starts on first use."""

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
    """the tasks' summaries, as rows; hints for the report, never the truth"""
    metrics: Mapping[str, int] = field(default_factory=dict)
    """of Spark's stages: tasks, failed_tasks, shuffle_read_bytes, shuffle_write_bytes, executors"""


class Engine(Protocol):
    """What runs the tasks of a plan."""

    def cores(self) -> int:
        """Tasks that can run at once."""

    def number_of_tasks(self, costs: np.ndarray) -> int:
        """The best number of tasks for keys of these costs, in seconds."""

    def executors(self) -> int | None:
        """The number of other training processes at the last look; None if it is unknown, or if none are expected."""

    def count(self, read: TableRead) -> pa.Table:
        """The rows for each key of a table (`job.plan.table_keys.COUNTS`)."""

    def run(self, work: Work, tasks: int, tick: Callable[[], None]) -> EngineReport:
        """Run all tasks to their end; ``tick`` is called about twice a second meanwhile."""

    def stop(self) -> None:
        """End the processes and free the memory."""


class Borrowed:
    """An engine that is started when it is first needed, and stopped once.

    Parameters
    ----------
    start
        Makes the engine.
    """

    def __init__(self, start: Callable[[], Engine]) -> None:
        self._start = start
        self._engine: Engine | None = None
        self._ahead: Future[Engine] | None = None

    def begin(self) -> None:
        """Start it in the background: `get` waits for the rest. The thread does not keep the process from ending."""
        ahead: Future[Engine] = Future()

        def start() -> None:
            try:
                ahead.set_result(self._start())
            except BaseException as error:
                ahead.set_exception(error)

        self._ahead = ahead
        threading.Thread(target=start, name="engine", daemon=True).start()

    def get(self) -> Engine:
        """The engine, started."""
        if self._engine is None:
            ahead, self._ahead = self._ahead, None
            self._engine = ahead.result() if ahead is not None else self._start()
        return self._engine

    def take(self) -> Engine:
        """The engine, started; the caller stops it."""
        engine, self._engine = self.get(), None
        return engine

    def stop(self) -> None:
        """Stop it, if it was started; one that was begun and never asked for stops once it is there."""
        if self._engine is not None:
            engine, self._engine = self._engine, None
            engine.stop()
        elif self._ahead is not None:
            ahead, self._ahead = self._ahead, None
            ahead.add_done_callback(_stop_unused)


def _stop_unused(ahead: Future[Engine]) -> None:
    if ahead.exception() is None:
        ahead.result().stop()
