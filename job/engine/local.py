"""The ``local`` engine: a worker process for each core of this machine, no Java. The default if no cluster is named."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from job.engine.admission import Admission
from job.engine.aside import aside
from job.engine.base import EngineReport
from job.engine.local_pool import Makers, Pool, makers
from job.engine.scratch import Scratch
from job.worker import machine

if TYPE_CHECKING:
    # The workers begin their own imports only after this module is imported, so it must import nothing slow.
    import numpy as np
    import pyarrow as pa

    from job.plan.spark_read import TableRead
    from job.worker.work import Work

ATTEMPTS = 4
"""attempts at one task at most, the same as Spark's default"""
_SHARE = 0.8
"""the share of the memory free at the start of the run that all running tasks may use together"""


class DirectTask:
    """A task that reads its own list and its own objects. It is called in a worker.

    Parameters
    ----------
    work
        The data that all tasks share.
    """

    def __init__(self, work: Work) -> None:
        self._work = work

    def __call__(self, task: int, attempt: int) -> dict[str, Any]:
        from job.worker.direct import work_on
        from job.worker.work import summary_row

        return summary_row(work_on(self._work, task, attempt, expendable=True))


class ReadTask:
    """A task of a table's first stage: reads pieces of files, and writes their rows for the training tasks.

    Parameters
    ----------
    work
        The data that all tasks share.
    folder
        The folder to write the rows to.
    """

    def __init__(self, work: Work, folder: str) -> None:
        self._work, self._folder = work, folder

    def __call__(self, task: int, attempt: int) -> None:
        from job.worker.exchange import Folder, blobs

        Folder(self._folder).write(task, blobs(self._work, task))


class TableTask:
    """A task of a table's second stage: trains keys from the rows that the reading tasks have written.

    Parameters
    ----------
    work
        The data that all tasks share.
    folder
        The folder with the rows.
    """

    def __init__(self, work: Work, folder: str) -> None:
        self._work, self._folder = work, folder

    def __call__(self, task: int, attempt: int) -> dict[str, Any]:
        from job.worker.exchange import Folder
        from job.worker.merge import train
        from job.worker.work import summary_row

        return summary_row(train(self._work, task, attempt, Folder(self._folder).read(task), expendable=True))


class LocalEngine:
    """Runs tasks in worker processes on this machine.

    Parameters
    ----------
    workers
        Number of worker processes; default: the number of cores that this process may use.
    scratch
        Folder for the temporary files of the workers; default: the system's folder for them.
    make
        Takes the folder for temporary files, and returns the `Makers` that start workers.
    """

    def __init__(
        self, workers: int | None = None, scratch: str | None = None, make: Callable[[str], Makers] = makers
    ) -> None:
        self._workers = workers or machine.usable_cores()
        self._scratch = Scratch(scratch)
        self._pool = Pool(self._workers, lambda: make(self._scratch.folder))

    def cores(self) -> int:
        """Number of tasks that can run at the same time."""
        return self._workers

    def number_of_tasks(self, costs: np.ndarray) -> int:
        """Many small tasks: a free worker takes the next one."""
        from job.plan.packing import number_of_small_tasks

        return number_of_small_tasks(costs, self._workers)

    def executors(self) -> None:
        """None: there is no cluster."""

    def count(self, read: TableRead) -> pa.Table:
        """Never called: `job.engine.make` refuses ``input.reader: spark`` for this engine."""
        raise NotImplementedError

    def run(self, work: Work, tasks: int, tick: Callable[[], None]) -> EngineReport:
        """Run all tasks, each with at most `ATTEMPTS` attempts. If a worker dies, another makes the next attempt."""
        free = machine.available_memory()
        waiting = Admission(tasks, work.needs, None if free is None else int(free * _SHARE))
        plain = replace(work, attempts=ATTEMPTS, needs=())
        job: DirectTask | TableTask = DirectTask(plain)
        if work.readers:
            folder = tempfile.mkdtemp(prefix="exchange-", dir=self._scratch.folder)
            reading, reader = Admission(work.readers), ReadTask(plain, folder)
            aside(lambda: self._pool.run(reader, reading, attempts=ATTEMPTS), tick=tick, cancel=self._pool.stop)
            job = TableTask(plain, folder)
        rows = aside(lambda: self._pool.run(job, waiting, attempts=ATTEMPTS), tick=tick, cancel=self._pool.stop)
        return EngineReport(summaries=tuple(rows))

    def stop(self) -> None:
        """End the workers, and remove their temporary files."""
        self._pool.stop()
        self._scratch.remove()
