"""The ``direct`` reader on real Spark: right models, no shuffle, and every way a worker or a driver can die."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from job.config.settings import JobSettings
from job.registry.model_set import ModelSet
from job.registry.verify import verify
from job.run.assembly import assemble
from job.run.report import RunReport
from job.run.run import run
from tests.conftest import S3
from tests.support.spark_jobs import SharedEngine

pytestmark = pytest.mark.spark


def body(slope: float, rows: int = 40) -> bytes:
    x = np.linspace(0, 5, rows)
    return gzip.compress(("x,y\n" + "".join(f"{a:.5f},{slope * a:.5f}\n" for a in x)).encode())


def settings(document: dict[str, Any], **more: Any) -> JobSettings:
    linear = {"_target_": "sklearn.linear_model.LinearRegression"}
    base = {
        "recipe": {"features": ["x"], "target": "y", "estimator": linear},
        "spark": {"master": "local[2,4]"},
    }
    return JobSettings.model_validate({**base, **document, **more})


def trained(job: JobSettings, base: Path | None = None) -> RunReport:
    document = job.model_dump(mode="json", exclude_defaults=True, by_alias=True)
    return run(assemble(job, base), document, make_engine=lambda made: SharedEngine(made.settings))


def test_four_hundred_small_objects_give_four_hundred_right_models_without_a_shuffle(spark: Any, s3: S3) -> None:
    bucket, client = s3.bucket(), s3.client()
    for number in range(400):
        client.put_object(Bucket=bucket, Key=f"in/k{number:03d}.csv.gz", Body=body(number + 1.0))
    job = settings(
        {"input": {"uri": f"s3://{bucket}/in"}, "output": {"uri": f"s3://{bucket}/out"}, "storage": s3.storage}
    )

    report = trained(job)

    assert (report.exit_code, report.totals.planned, report.totals.trained) == (0, 400, 400)
    assert report.spark["shuffle_read_bytes"] == report.spark["shuffle_write_bytes"] == 0
    assert report.workers == 2
    models = ModelSet.open(f"s3://{bucket}/out", storage=job.storage.side("output"))
    for number in range(0, 400, 37):
        assert models[f"k{number:03d}"].coef_[0] == pytest.approx(number + 1.0, rel=1e-4)
    checked = verify(assemble(job).output)
    assert (checked.checked, list(checked.damaged)) == (400, [])


POISON = """
import os, time
from sklearn.linear_model import LinearRegression

def fit(frame, key):
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


def test_a_partition_that_kills_hangs_or_eats_its_worker_is_a_named_row_and_all_others_are_trained(
    spark: Any, tmp_path: Path
) -> None:
    (tmp_path / "recipe.py").write_text(POISON)
    (tmp_path / "in").mkdir()
    poisons = ("exits", "crashes", "hangs", "eats", "raises")
    for name in (*poisons, *(f"k{n:02d}" for n in range(20))):
        (tmp_path / "in" / f"{name}.csv.gz").write_bytes(body(2.0))
    job = settings(
        {"input": {"uri": str(tmp_path / "in")}, "output": {"uri": str(tmp_path / "out")}},
        recipe={"function": "recipe.py:fit"},
        # Long enough for 1 GB to be eaten, and for a healthy fit, on a machine that stands still for seconds.
        run={"timeout": "20s", "memory": "1GB", "max_failed": 5},
    )

    report = trained(job, tmp_path)

    assert report.totals.trained == 20
    assert report.exit_code == 0
    assert {each["key"]: each["reason"] for each in report.examples} == {
        "exits": "worker_died",
        "crashes": "worker_died",
        "hangs": "timeout",
        "eats": "memory_limit",
        "raises": "fit_error",
    }
    messages = {each["key"]: each["message"] for each in report.examples}
    assert "exit code 3" in messages["exits"]
    assert "SIGSEGV" in messages["crashes"]
    assert (tmp_path / f"out/runs/{report.run}/failures/raises.txt").read_text().count("RuntimeError") >= 1


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
LONG = 600
"""Seconds for a process of its own: more than it takes on any machine, less than hangs a run of all tests."""


def manyfit(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "job.cli.main", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where tests run in the background Ctrl-C is ignored, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **options,
    )


@pytest.fixture
def slow_job(tmp_path: Path) -> Path:
    (tmp_path / "recipe.py").write_text(SLOW.replace("{folder}", str(tmp_path)))
    (tmp_path / "in").mkdir()
    for number in range(40):
        (tmp_path / "in" / f"k{number:02d}.csv.gz").write_bytes(body(number + 1.0))
    (tmp_path / "job.yaml").write_text(
        f"input: {{uri: {tmp_path}/in}}\nrecipe: {{function: 'recipe.py:fit'}}\noutput: {{uri: {tmp_path}/out}}\n"
        "spark: {master: 'local[2,4]'}\n"
    )
    return tmp_path


def begun(folder: Path, segments: int) -> subprocess.Popen[str]:
    """A run of the slow job that has put so many segments, and does not end by itself."""
    process = manyfit("run", "-c", str(folder / "job.yaml"), "--log-format", "text")
    deadline = time.monotonic() + LONG
    while len(list(folder.glob("out/runs/*/segments/*/*.arrow"))) < segments:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "nothing was trained"
        time.sleep(0.2)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_driver_that_is_stopped_or_killed_loses_nothing_that_was_finished(
    slow_job: Path, number: signal.Signals
) -> None:
    process = begun(slow_job, 2)
    os.kill(process.pid, number)
    _, said = process.communicate(timeout=LONG)

    if number is signal.SIGKILL:
        assert process.returncode == -9
    else:
        assert process.returncode == 128 + number
        assert "finished and kept" in said
        assert "same command again" in said
        assert "Traceback" not in said
    assert not (slow_job / "out" / "index" / "_delta_log" / "00000000000000000001.json").exists()

    (slow_job / "go").touch()
    again = manyfit("run", "-c", str(slow_job / "job.yaml"), "--spark.master", "inline", "--json")
    out, said = again.communicate(timeout=LONG)
    assert again.returncode == 0, said
    report = RunReport.from_json(out)
    assert report.totals.trained == 40
    assert 0 < report.totals.adopted < 40
    assert ModelSet.open(str(slow_job / "out"))["k07"].coef_[0] == pytest.approx(8.0, abs=1e-4)


def test_a_jvm_that_dies_ends_the_run_with_3_and_says_how_to_go_on(slow_job: Path) -> None:
    process = begun(slow_job, 1)
    found = subprocess.run(["pgrep", "-P", str(process.pid), "java"], capture_output=True, text=True, check=True)
    os.kill(int(found.stdout.split()[0]), signal.SIGKILL)
    _, said = process.communicate(timeout=LONG)

    assert process.returncode == 3, said
    assert "Run again" in said
    assert "Traceback" not in said


def test_spark_installs_no_handler_of_ctrl_c_which_would_call_the_jvm_from_within_a_call(spark: Any) -> None:
    assert signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_IGN)


def test_the_demo_shows_every_step_of_the_article() -> None:
    process = manyfit("demo")
    out, said = process.communicate(timeout=LONG)

    assert process.returncode == 0, said
    for text in (
        "df1.csv.gz",
        "df2.csv.gz",
        "2 trained",
        "shuffle read 0 B, shuffle write 0 B",
        "put their models straight into the bucket",
        "0 damaged",
    ):
        assert text in out
    slopes = [float(line.split()[2]) for line in out.splitlines() if line.strip().startswith("df")]
    assert slopes == pytest.approx([2.5, 3.0], abs=0.05)
    assert "Traceback" not in said
