"""The engine of one process: no Spark, no Java. For tests and for debugging a recipe (``--run.engine inline``)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from job.engine.base import EngineReport
from job.plan.packing import number_of_tasks
from job.plan.spark_read import TableRead
from job.worker.direct import work_on
from job.worker.work import Work, summary_row


class InlineEngine:
    """Runs one task after the other, here."""

    def cores(self) -> int:
        """One."""
        return 1

    def number_of_tasks(self, costs: np.ndarray) -> int:
        """As on a local Spark."""
        return number_of_tasks(costs, self.cores(), local=True)

    def executors(self) -> None:
        """This process is the only one."""

    def count(self, read: TableRead) -> pa.Table:
        """Never called: `job.engine.make` refuses tables."""
        raise NotImplementedError

    def run(self, work: Work, tasks: int, tick: Callable[[], None]) -> EngineReport:
        """Run all tasks; an error of the store ends the run."""
        rows = []
        for task in range(tasks):
            rows.append(summary_row(work_on(work, task, 0, expendable=False)))
            tick()
        return EngineReport(summaries=tuple(rows))

    def stop(self) -> None:
        """Nothing to let go of."""
