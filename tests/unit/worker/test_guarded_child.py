"""A guarded child: whatever it does to itself is a row, and memory that would end its container is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from job.config.settings import JobSettings
from job.run.assembly import assemble
from job.worker.guarded_child import Child
from job.worker.payload import Blobs
from job.worker.training import Training

FIT = """
import os, signal, time
import numpy as np
from sklearn.linear_model import LinearRegression

def fit(frame, key):
    if key == "greedy":
        np.ones(3_000_000_000 // 8)
    if key == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if key == "exit":
        os._exit(3)
    if key == "slow":
        time.sleep(3600)
    return LinearRegression().fit(frame[["x"]], frame["y"])
"""


@pytest.fixture
def operation(tmp_path: Path) -> Training:
    (tmp_path / "fit.py").write_text(FIT)
    document = {
        "input": {"uri": str(tmp_path / "in")},
        "recipe": {"function": "fit.py:fit"},
        "output": {"uri": str(tmp_path / "out")},
    }
    fitting = assemble(JobSettings.model_validate(document), tmp_path).fitting
    return Training(fitting=fitting, recipe="r", environment="e")


def data() -> Blobs:
    return Blobs([("a.csv", b"x,y\n1,2\n2,4\n3,6\n")])


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="does not apply: not Linux")
def test_memory_beyond_the_hard_limit_is_refused_at_once_and_the_child_goes_on(operation: Training) -> None:
    """It asks for 3 GB in one piece: a look twenty times a second would come when the container has ended."""
    child = Child(operation, timeout=120, memory=1 << 30, hard=True)
    try:
        greedy = child.run("greedy", data())
        assert (greedy.status, greedy.reason) == ("failed", "oom")
        pid = child._process.pid if child._process else None
        assert child.run("next", data()).status == "trained"
        assert child._process is not None
        assert child._process.pid == pid
    finally:
        child.close()


@pytest.mark.parametrize(
    ("key", "reason", "said"),
    [("crash", "worker_died", "by signal SIGSEGV"), ("exit", "worker_died", "with exit code 3")],
)
def test_a_death_is_a_row_that_says_how_and_the_next_key_gets_a_new_child(
    operation: Training, key: str, reason: str, said: str
) -> None:
    child = Child(operation, timeout=120, memory=None)
    try:
        result = child.run(key, data())
        assert (result.status, result.reason) == ("failed", reason)
        assert said in (result.message or "")
        assert child.run("next", data()).status == "trained"
    finally:
        child.close()


def test_a_fit_that_takes_too_long_is_ended(operation: Training) -> None:
    child = Child(operation, timeout=0.5, memory=None)
    try:
        child.run("next", data())
        assert child.run("slow", data()).reason == "timeout"
    finally:
        child.close()
