"""The engines that a job can run on, and jobs whose recipes are slow or deadly: for what must hold on all of them."""

from __future__ import annotations

import functools
import gzip
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from job.config.settings import JobSettings
from job.engine.local import LocalEngine
from job.run.assembly import assemble
from job.run.report import RunReport
from job.run.run import run

INLINE = {"run": {"engine": "inline"}}
LOCAL = {"run": {"engine": "local", "workers": 2}}
SPARK = {"spark": {"master": "local[2,4]"}}
EVERY = [
    pytest.param(INLINE, id="inline"),
    pytest.param(LOCAL, id="local"),
    pytest.param(SPARK, id="spark", marks=pytest.mark.spark),
]
PROCESSES = EVERY[1:]
"""Engines whose workers are processes of their own, and may be lost."""
LONG = 600
"""Seconds for a process of its own: more than it takes on any machine, less than hangs a run of all tests."""

POISON = """
import os, time
from sklearn.linear_model import LinearRegression

def fit(frame, key):
    key = key.rpartition("=")[2]
    if key == "exits":
        os._exit(3)
    if key == "crashes":
        import ctypes
        ctypes.string_at(0)
    if key == "hangs":
        time.sleep(600)
    if key == "eats":
        held = []
        while True:
            held.append(b"1" * 200_000_000)
            time.sleep(0.02)
    if key == "raises":
        raise RuntimeError("no")
    return LinearRegression().fit(frame[["x"]], frame["y"])
"""
SLOW = """
import glob, os, time
from sklearn.linear_model import LinearRegression

def fit(frame, key):
    mine, end = "{folder}/fitted-%d-" % os.getpid(), time.monotonic() + 900
    while len(glob.glob(mine + "*")) >= 5 and not os.path.exists("{folder}/go") and time.monotonic() < end:
        time.sleep(0.05)
    open(mine + key, "w").close()
    return LinearRegression().fit(frame[["x"]], frame["y"])
"""
"""Each worker fits five, and waits with the next until it may: no run ends before it is ended, however slow the test is."""


def body(slope: float, rows: int = 40) -> bytes:
    """A gzipped data set with a known slope."""
    x = np.linspace(0, 5, rows)
    return gzip.compress(("x,y\n" + "".join(f"{a:.5f},{slope * a:.5f}\n" for a in x)).encode())


def merged(*sections: dict[str, Any]) -> dict[str, Any]:
    """Documents, each on top of those before."""
    found: dict[str, Any] = {}
    for each in sections:
        for name, values in each.items():
            found[name] = {**found.get(name, {}), **values}
    return found


def settings(folder: Path, *sections: dict[str, Any]) -> JobSettings:
    """A linear model for each file of a folder."""
    base = {
        "input": {"uri": str(folder / "in")},
        "output": {"uri": str(folder / "out"), "report": "short"},
        "recipe": {
            "features": ["x"],
            "target": "y",
            "estimator": {"_target_": "sklearn.linear_model.LinearRegression"},
        },
    }
    document = merged(base, *sections)
    if "function" in document["recipe"]:
        document["recipe"] = {"function": document["recipe"]["function"]}
    return JobSettings.model_validate(document)


class SharedWorkers(LocalEngine):
    """Worker processes that outlive a run, and end with this process: each start of them imports scikit-learn."""

    def stop(self) -> None:
        """Left to the end of this process."""


@functools.cache
def workers() -> SharedWorkers:
    """Two worker processes for all runs of this process."""
    return SharedWorkers(2)


def trained(job: JobSettings, base: Path | None = None) -> RunReport:
    """One run; on Spark in the session of the whole test process, with local workers in its processes."""
    document = job.model_dump(mode="json", exclude_defaults=True, by_alias=True)
    if job.run.engine == "local":
        return run(assemble(job, base), document, make_engine=lambda _: workers())
    if job.spark.master is None:
        return run(assemble(job, base), document)
    from tests.support.spark_jobs import SharedEngine

    return run(assemble(job, base), document, make_engine=lambda made: SharedEngine(made.settings))


def manyfit(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """A command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "job.cli.main", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where tests run in the background Ctrl-C is ignored, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **options,
    )


def write_slow_job(folder: Path, engine: dict[str, Any]) -> Path:
    """A job whose workers wait; the file that describes it."""
    import json

    (folder / "recipe.py").write_text(SLOW.replace("{folder}", str(folder)))
    (folder / "in").mkdir()
    for number in range(40):
        (folder / "in" / f"k{number:02d}.csv.gz").write_bytes(body(number + 1.0))
    document = {
        "input": {"uri": f"{folder}/in"},
        "recipe": {"function": "recipe.py:fit"},
        "output": {"uri": f"{folder}/out", "report": "short"},
        **engine,
    }
    (folder / "job.json").write_text(json.dumps(document))
    return folder / "job.json"


def begun(folder: Path, segments: int, *arguments: str) -> subprocess.Popen[str]:
    """A run of the slow job that has put so many segments, and does not end by itself."""
    process = manyfit("run", "-c", str(folder / "job.json"), "--log-format", "text", *arguments)
    deadline = time.monotonic() + LONG
    while len(list(folder.glob("out/runs/*/segments/*/*.arrow"))) < segments:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "nothing was trained"
        time.sleep(0.2)
    return process


def below(pid: int) -> set[int]:
    """The processes that a process has started, and those that they have."""
    import psutil

    return {each.pid for each in psutil.Process(pid).children(recursive=True)}


def until(holds: Callable[[], bool]) -> None:
    """Wait for what must come to hold."""
    end = time.monotonic() + LONG
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def gone(pids: set[int]) -> None:
    """Wait until none of the processes is there any more; what waits to be buried is not one."""
    import psutil

    def alive(pid: int) -> bool:
        try:
            return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False

    until(lambda: not any(alive(pid) for pid in pids))


def kill(pid: int) -> None:
    """As the kernel would, for want of memory."""
    os.kill(pid, signal.SIGKILL)
