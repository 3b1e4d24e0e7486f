"""The engine on Spark (local, standalone or Kubernetes): makes the session, runs its actions, reads Spark's metrics."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import uuid
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from job.config.score_settings import Settings
from job.engine.aside import aside
from job.engine.base import EngineReport
from job.engine.choice import default_master
from job.engine.spark import jars, jvm
from job.engine.spark.raised import not_started, translated
from job.engine.spark.waiting import Waiting
from job.errors import SetupError
from job.plan.packing import number_of_tasks
from job.plan.spark_read import TableRead
from job.worker.work import Work

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from job.engine.spark.frames import TableEngine

log = logging.getLogger(__name__)

_OURS = {
    # see job.engine.spark.daemon
    "spark.python.daemon.module": "job.engine.spark.daemon",
    "spark.python.worker.reuse": "true",
    "spark.executorEnv.OMP_NUM_THREADS": "1",
    "spark.executorEnv.OPENBLAS_NUM_THREADS": "1",
    "spark.executorEnv.MKL_NUM_THREADS": "1",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "8",
    "spark.rpc.message.maxSize": "256",
}
_LOCAL = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.memory": "1g",
    "spark.driver.extraJavaOptions": jvm.OPTIONS,
}


def local_cores(master: str) -> int | None:
    """Number of cores of a local master (``local``, ``local[N]``, ``local[*,F]``); None for a cluster."""
    import os

    match = re.fullmatch(r"local(?:\[(\*|\d+)(?:,\s*\d+)?\])?", master)
    if match:
        return (os.cpu_count() or 1) if match[1] == "*" else int(match[1] or 1)
    return None


def cluster_cores(get: Callable[[str, str], str]) -> int:
    """Number of cores of a cluster by its options. (At the start of a run, few executors have registered.)"""
    each = int(get("spark.executor.cores", "1"))
    most = get("spark.dynamicAllocation.maxExecutors", "")
    if get("spark.dynamicAllocation.enabled", "false") == "true" and most.isdigit() and int(most) < 100_000:
        return each * int(most)
    return each * int(get("spark.executor.instances", "2"))


def most_attempts(master: str, get: Callable[[str, str], str]) -> int:
    """Attempts at one task before Spark ends the job. A local master has the number in its name; default 1."""
    match = re.fullmatch(r"local(?:\[(?:\*|\d+)(?:,\s*(\d+)\s*)?\])?", master)
    if match:
        return int(match[1] or 1)
    return int(get("spark.task.maxFailures", "4"))


class SparkEngine:
    """Runs tasks in a Spark session.

    Parameters
    ----------
    settings
        The job, with its ``spark.master`` and ``spark.conf``.

    Raises
    ------
    SetupError
        Java is missing, or Spark does not start.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.session, self._jvm = aside(lambda: _session(settings))
        self._context = self.session.sparkContext
        self._master: str = self._context.master
        self.given = frozenset(settings.spark.conf)
        """names of ``spark.conf`` that the user has set"""
        self._tables: TableEngine | None = None
        self._looking: Waiting | None = None
        self._worked = False

    def cores(self) -> int:
        """Number of tasks that can run at the same time, by the options of Spark."""
        return local_cores(self._master) or cluster_cores(self._conf)

    def _conf(self, name: str, default: str) -> str:
        return str(self._context.getConf().get(name, default))

    def number_of_tasks(self, costs: np.ndarray) -> int:
        """The best number of tasks. They are few and long, because Spark needs a tenth of a second for each."""
        return number_of_tasks(costs, self.cores(), local=self.local())

    def local(self) -> bool:
        """Whether the executors are threads of the local JVM."""
        return self._master.startswith("local[") or self._master == "local"

    def run(self, work: Work, tasks: int, tick: Callable[[], None]) -> EngineReport:
        """Run all tasks as one Spark action. The returned summaries are only hints for the report."""
        waiting = self._waiting()

        def look() -> None:
            tick()
            waiting.tick()

        return aside(lambda: self._run(work, tasks), tick=look, cancel=self._context.cancelAllJobs)

    def _run(self, work: Work, tasks: int) -> EngineReport:
        from job.engine.spark.task import SUMMARY_DDL, TaskRunner

        work = replace(work, attempts=most_attempts(self._master, self._conf))
        if work.table is not None:
            return self._table_engine().run(work, tasks)
        if work.readers:
            from job.engine.spark import exchange

            return exchange.run(self, work, tasks)
        # A range, with one number for each Spark partition: Spark would distribute the rows of a local DataFrame anew.
        numbers = self.session.range(0, tasks, 1, tasks)
        rows, metrics = self.action(lambda: numbers.mapInPandas(TaskRunner(work), SUMMARY_DDL).collect())
        return EngineReport(summaries=tuple(row.asDict() for row in rows), metrics=metrics)

    def count(self, read: TableRead) -> pa.Table:
        """See `job.engine.base.Engine.count`."""
        look = self._waiting().tick
        return aside(lambda: self._table_engine().count(read), tick=look, cancel=self._context.cancelAllJobs)

    def _table_engine(self) -> TableEngine:
        from job.engine.spark.frames import TableEngine

        if self._tables is None:
            self._tables = TableEngine(self)
        return self._tables

    def action(self, action: Callable[[], Any]) -> tuple[Any, dict[str, int]]:
        """Run one Spark action. Returns its value and its metrics. Only to be called within `aside`."""
        group = f"manyfit-{uuid.uuid4().hex[:12]}"
        self._context.setJobGroup(group, "manyfit", interruptOnCancel=False)
        try:
            value = action()
        except Exception as error:
            if self._jvm is not None and self._jvm.died():
                raise SetupError(
                    "the Java process of Spark's driver died in the middle of the run",
                    hint="Was it killed for its memory? Run again: finished partitions are taken over.",
                ) from None
            raise translated(error) from None
        self._worked = True
        return value, self._metrics(group)

    def executors(self) -> int | None:
        """The last known number of executors; None for a local master, and before the first look."""
        return None if self.local() or self._looking is None else self._looking.count

    def _waiting(self) -> Waiting:
        self._looking = Waiting(lambda: aside(self._executors))
        return self._looking

    def _executors(self) -> int:
        """The number of executors now. Spark counts the driver too. 1 for a local JVM, or if Spark does not answer."""
        if not self.local():
            with contextlib.suppress(Exception):  # if the JVM has ended, the action raises the error
                return len(self._context._jsc.sc().statusTracker().getExecutorInfos()) - 1
        return 1

    def _metrics(self, group: str) -> dict[str, int]:
        """Totals over the stages of a job group, from Spark's status store, which needs no user interface."""
        context = self._context
        tracker = context.statusTracker()
        stages = {stage for job in tracker.getJobIdsForGroup(group) for stage in _stages(tracker, job)}
        store = context._jsc.sc().statusStore()
        totals = {"stages": 0, "tasks": 0, "failed_tasks": 0, "shuffle_read_bytes": 0, "shuffle_write_bytes": 0}
        for stage in stages:
            data = store.lastStageAttempt(stage)
            totals["stages"] += 1
            totals["tasks"] += data.numCompleteTasks()
            totals["failed_tasks"] += data.numFailedTasks()
            totals["shuffle_read_bytes"] += data.shuffleReadBytes()
            totals["shuffle_write_bytes"] += data.shuffleWriteBytes()
        return totals

    def stop(self) -> None:
        """Stop the session, and the JVM that was started for it."""
        aside(self._stop)

    def _stop(self) -> None:
        if self._jvm is not None and self._jvm.gateway.proc.poll() is not None:
            self._jvm.forget()
            return
        self.session.stop()
        if self._jvm is not None:
            self._jvm.stop(worked=self._worked)


def _stages(tracker: Any, job: int) -> list[int]:
    info = tracker.getJobInfo(job)
    return list(info.stageIds) if info is not None else []


def load() -> None:
    """Import pyspark. Called in the main thread before another thread makes a session."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pyspark.sql  # noqa: F401


def _session(settings: Settings) -> tuple[Any, jvm.LocalJvm | None]:
    import os

    # Spark's workers must run this Python: another one would lack the packages, or have other versions of them.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    os.environ.setdefault(jvm.LAUNCHER, jvm.FAST)
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    load()
    from pyspark import SparkContext, find_spark_home
    from pyspark.sql import SparkSession

    conf: dict[str, str] = dict(_OURS)
    if not submitted:
        master = settings.spark.master or default_master(os.environ) or "local[*,4]"
        conf["spark.master"] = master
        if local_cores(master):
            conf |= _LOCAL
            if settings.input.layout == "columns" or settings.input.reader == "spark":
                # With this input the data may pass through the JVM.
                conf["spark.driver.memory"] = "2g"
            # Else Spark warns if the host name resolves to a loopback address; but that is where it shall listen.
            os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    elif settings.spark.master:
        conf["spark.master"] = settings.spark.master
    inherited = _submitted_conf() if submitted else {}
    conf = {name: value for name, value in conf.items() if name not in inherited or name == "spark.master"}
    conf |= {name: _text(value) for name, value in settings.spark.conf.items()}
    home: Any = find_spark_home
    folder = Path(home._find_spark_home()) / "jars"
    conf |= jars.conf(settings, folder, {**inherited, **conf}, submitted=submitted)
    # On Kubernetes the names of executors begin with it, so that `kubectl get pods` shows to which release they belong.
    conf.setdefault("spark.app.name", settings.run.application or settings.name)
    own: jvm.LocalJvm | None = None
    try:
        if not submitted and SparkContext._gateway is None:
            os.environ.update(jvm.unicode(os.environ))
            own = jvm.LocalJvm(conf, folder, os.environ)
        builder = SparkSession.builder
        for name, value in conf.items():
            builder = builder.config(name, value)
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel(conf.get("spark.log.level", "ERROR"))
    except SetupError:
        raise
    except Exception as error:  # any error of a JVM while it starts
        raise not_started(error) from error
    return session, own


def _submitted_conf() -> dict[str, str]:
    """The options that spark-submit has set. They win over our defaults."""
    from pyspark import SparkConf, SparkContext

    SparkContext._ensure_initialized()
    return dict(SparkConf(_jvm=SparkContext._jvm).getAll())


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
