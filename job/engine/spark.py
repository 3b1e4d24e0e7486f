"""The engine on Spark: local, standalone or Kubernetes. The session, the one job of a run, and Spark's own metrics."""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import subprocess
import sys
import uuid
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from job.engine import EngineReport, jars
from job.engine.chatter import quiet_start
from job.engine.raised import translated
from job.errors import SetupError
from job.settings import JobSettings
from job.work import TableRead, Work

if TYPE_CHECKING:
    import pyarrow as pa

    from job.engine.table import TableEngine

log = logging.getLogger(__name__)

MINIMUM_JAVA = 17

_OURS = {
    # see job.engine.daemon
    "spark.python.daemon.module": "job.engine.daemon",
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
}
# The driver does nothing but hand out task numbers: the first compiler and one collector thread start fastest.
_LOCAL_JAVA = (
    f"-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile={Path(__file__).parent / 'log4j2.properties'}"
)


def check_java(environ: dict[str, str]) -> None:
    """Find Java and its version before Spark does, for one clear line instead of a launcher's stack trace.

    Raises
    ------
    SetupError
        No Java, or one older than 17.
    """
    home = environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java", path=environ.get("PATH"))
    hint = "Install a Java 17 runtime (for example the package openjdk-17-jre-headless) and set JAVA_HOME or PATH."
    if not java or not Path(java).exists():
        raise SetupError(f"Java was not found: {'JAVA_HOME is ' + home if home else 'no java on PATH'}", hint=hint)
    done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    match = re.search(r'version "(\d+)(?:\.(\d+))?', done.stderr)
    major = int(match[1]) if match else 0
    if major < MINIMUM_JAVA:
        raise SetupError(f"Spark needs Java {MINIMUM_JAVA} or later; {java} is {major or 'unknown'}", hint=hint)


def local_cores(master: str) -> int | None:
    """The N of ``local[N]`` and its kin; None for a cluster."""
    import os

    match = re.fullmatch(r"local(?:\[(\*|\d+)(?:,\s*\d+)?\])?", master)
    if match:
        return (os.cpu_count() or 1) if match[1] == "*" else int(match[1] or 1)
    return None


def cluster_cores(get: Callable[[str, str], str]) -> int:
    """Cores from the settings, not from the executors that happen to have registered by now."""
    each = int(get("spark.executor.cores", "1"))
    most = get("spark.dynamicAllocation.maxExecutors", "")
    if get("spark.dynamicAllocation.enabled", "false") == "true" and most.isdigit() and int(most) < 100_000:
        return each * int(most)
    return each * int(get("spark.executor.instances", "2"))


def most_attempts(master: str, get: Callable[[str, str], str]) -> int:
    """Attempts at one task before Spark ends the job: local masters say it themselves, and try once by default."""
    match = re.fullmatch(r"local(?:\[(?:\*|\d+)(?:,\s*(\d+)\s*)?\])?", master)
    if match:
        return int(match[1] or 1)
    return int(get("spark.task.maxFailures", "4"))


class SparkEngine:
    """One Spark session and the one action of a run.

    Parameters
    ----------
    settings
        ``spark.master`` and ``spark.conf`` of the job.

    Raises
    ------
    SetupError
        Java is missing, or Spark does not start.
    """

    def __init__(self, settings: JobSettings) -> None:
        self._settings = settings
        self.session = _session(settings)
        self._context = self.session.sparkContext
        self._master: str = self._context.master
        self.given = frozenset(settings.spark.conf)
        """names of ``spark.conf`` that the user has set"""
        self._tables: TableEngine | None = None

    def cores(self) -> int:
        """Tasks that can run at once, by the settings."""
        return local_cores(self._master) or cluster_cores(self._conf)

    def _conf(self, name: str, default: str) -> str:
        return str(self._context.getConf().get(name, default))

    def local(self) -> bool:
        """Whether the executors are threads of the local JVM."""
        return self._master.startswith("local[") or self._master == "local"

    def run(self, work: Work, tasks: int, tick: Callable[[], None]) -> EngineReport:
        """One action over ``tasks`` task numbers; the rows that come back are hints."""
        from job.engine.task import SUMMARY, TaskRunner

        work = replace(work, attempts=most_attempts(self._master, self._conf))
        if work.table is not None:
            return self._table_engine().run(work, tasks, tick)
        # A range, one number per Spark partition: Spark would repack the rows of a DataFrame and lose our packing.
        numbers = self.session.range(0, tasks, 1, tasks)
        rows, metrics = self.action(lambda: numbers.mapInPandas(TaskRunner(work), SUMMARY).collect(), tick)
        return EngineReport(summaries=tuple(row.asDict() for row in rows), metrics=metrics)

    def count(self, read: TableRead) -> pa.Table:
        """The rows for each key of a table."""
        return self._table_engine().count(read)

    def _table_engine(self) -> TableEngine:
        from job.engine.table import TableEngine

        if self._tables is None:
            self._tables = TableEngine(self)
        return self._tables

    def action(self, action: Callable[[], Any], tick: Callable[[], None]) -> tuple[Any, dict[str, int]]:
        """Run one Spark action in a thread of its own, so that progress and signals are served meanwhile."""
        from pyspark import InheritableThread

        group = f"manyfit-{uuid.uuid4().hex[:12]}"
        outcome: dict[str, Any] = {}

        def act() -> None:
            try:
                self._context.setJobGroup(group, "manyfit", interruptOnCancel=False)
                outcome["value"] = action()
            except BaseException as error:
                outcome["error"] = error

        thread = InheritableThread(target=act, daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(0.5)
                tick()
        except BaseException:
            self._context.cancelJobGroup(group)
            thread.join(10)
            raise
        if "error" in outcome:
            raise translated(outcome["error"]) from None
        return outcome["value"], self._metrics(group)

    def _metrics(self, group: str) -> dict[str, int]:
        """From Spark's own status store, which is there with the user interface off too."""
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
        gateway = self._context._gateway
        self.session.stop()
        process = getattr(gateway, "proc", None)
        if process is not None:
            gateway.shutdown()
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
            # The next session of this process starts a new JVM.
            type(self._context)._gateway = None
            type(self._context)._jvm = None


def _stages(tracker: Any, job: int) -> list[int]:
    info = tracker.getJobInfo(job)
    return list(info.stageIds) if info is not None else []


def _session(settings: JobSettings) -> Any:
    import os

    # Spark's workers must run this Python: another one would lack the packages, or have other versions of them.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    if not submitted:
        check_java(dict(os.environ))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyspark import find_spark_home
        from pyspark.sql import SparkSession
    builder = SparkSession.builder.appName(settings.name)
    conf: dict[str, str] = dict(_OURS)
    if not submitted:
        master = settings.spark.master or "local[*,4]"
        builder = builder.master(master)
        if local_cores(master):
            conf |= _LOCAL
            conf["spark.driver.extraJavaOptions"] = _LOCAL_JAVA
            if settings.input.layout == "columns" or settings.input.reader == "spark":
                # Here the data passes through the JVM.
                conf["spark.driver.memory"] = "2g"
            # Spark would warn about host names that resolve to a loopback address, which is where it shall listen.
            os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    elif settings.spark.master:
        builder = builder.master(settings.spark.master)
    inherited = _submitted_conf() if submitted else {}
    conf = {name: value for name, value in conf.items() if name not in inherited}
    conf |= {name: _text(value) for name, value in settings.spark.conf.items()}
    home: Any = find_spark_home
    folder = Path(home._find_spark_home()) / "jars"
    conf |= jars.conf(settings, folder, {**inherited, **conf}, submitted=submitted)
    for name, value in conf.items():
        builder = builder.config(name, value)
    try:
        with contextlib.nullcontext() if submitted else quiet_start():
            session = builder.getOrCreate()
            session.sparkContext.setLogLevel(conf.get("spark.log.level", "ERROR"))
    except Exception as error:  # whatever a JVM may say while it starts
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SetupError(
            f"Spark did not start: {line}", hint="Look at spark.master and spark.conf, and at the lines above."
        ) from error
    return session


def _submitted_conf() -> dict[str, str]:
    """What spark-submit has set already: that wins over our defaults."""
    from pyspark import SparkConf, SparkContext

    SparkContext._ensure_initialized()
    return dict(SparkConf(_jvm=SparkContext._jvm).getAll())


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
