"""The engine of one process: no Spark, no Java. For tests and for debugging a recipe (``--run.engine inline``)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from job.engine.base import EngineReport
from job.plan.packing import number_of_tasks
from job.plan.spark_read import TableRead
from job.worker.direct import work_on
from job.worker.exchange import Folder, blobs
from job.worker.merge import train
from job.worker.work import Work, summary_row


class InlineEngine:
    """Runs one task after the other in this process."""

    def cores(self) -> int:
        """Always 1."""
        return 1

    def number_of_tasks(self, costs: np.ndarray) -> int:
        """The same number as for a local Spark session with one core."""
        return number_of_tasks(costs, self.cores(), local=True)

    def executors(self) -> None:
        """None: this process is the only one."""

    def count(self, read: TableRead) -> pa.Table:
        """Never called: `job.engine.make` refuses ``input.reader: spark`` for this engine."""
        raise NotImplementedError

    def run(self, work: Work, tasks: int, tick: Callable[[], None]) -> EngineReport:
        """Run all tasks. There is one attempt for each: an error of the store ends the run."""
        rows = []
        with tempfile.TemporaryDirectory(prefix="manyfit-") as scratch:
            folder = Folder(scratch)
            for reader in range(work.readers):
                folder.write(reader, blobs(work, reader))
                tick()
            for task in range(tasks):
                if work.readers:
                    done = train(work, task, 0, folder.read(task), expendable=False, scratch=scratch)
                else:
                    done = work_on(work, task, 0, expendable=False)
                rows.append(summary_row(done))
                tick()
        return EngineReport(summaries=tuple(rows))

    def stop(self) -> None:
        """Does nothing: there are no other processes."""
