"""Workers die on the way of a scattered table's rows; every key has all of its rows, in their order, and the run ends well."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LinearRegression

from job.engine.inline import InlineEngine
from job.registry.model_set import ModelSet
from job.run.assembly import assemble
from job.run.report import RunReport
from job.run.run import run
from tests.chaos.dying_table import KEYS, POINTS, settings
from tests.support.engines import INLINE, LONG, below, kill, manyfit, until

ROWS = 2400
SLOW = """
import time
from sklearn.linear_model import LinearRegression

def fit(frame, key):
    time.sleep(0.5)
    return LinearRegression().fit(frame[["x"]], frame["y"])
"""
SPARK = {"run": {"engine": "spark"}, "spark": {"master": "local[2,4]"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Rows of all keys in each row group, with noise: a fit on fewer rows, or in another order, has other last bits."""
    (tmp_path / "in").mkdir()
    chance = np.random.default_rng(0)
    number = chance.permutation(np.arange(ROWS) % KEYS)
    x = chance.normal(size=ROWS)
    table = pa.table({"k": number, "x": x, "y": x * (number + 1) + chance.normal(size=ROWS)})
    for part in range(3):
        pq.write_table(table.slice(part * 800, 800), tmp_path / "in" / f"p{part}.parquet", row_group_size=50)
    return tmp_path


def local(folder: Path) -> dict[str, Any]:
    return {"run": {"engine": "local", "workers": 2, "scratch": str(folder / "scratch")}}


def ended(folder: Path, point: str, sections: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.dying_table", str(folder), point, json.dumps(sections)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        timeout=LONG,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert list(folder.glob("killed-*")), f"nobody came by the point: {done.stderr[-2000:]}"
    return done


def runs(pid: int, program: str) -> bool:
    try:
        return program in " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return False


def models(out: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in out.glob("models/**/*.joblib")}


def undisturbed(folder: Path) -> dict[str, bytes]:
    """The models of a run in one process, to another output."""
    (folder / "other").mkdir()
    (folder / "other" / "in").symlink_to(folder / "in")
    report = run(assemble(settings(folder / "other", INLINE)), {}, make_engine=lambda _: InlineEngine())
    assert report.totals.trained == KEYS
    return models(folder / "other" / "out")


def killed_worker(folder: Path, point: str, sections: dict[str, Any]) -> None:
    done = ended(folder, point, sections)
    assert done.returncode == 0, done.stderr[-2000:]
    count = RunReport.from_json(done.stdout).totals
    assert (count.planned, count.trained, count.failed) == (KEYS, KEYS, 0)
    wanted = undisturbed(folder)
    assert len(wanted) == KEYS
    assert models(folder / "out") == wanted


WORKER = [point for point in POINTS if not point.startswith("driver")]


@pytest.mark.parametrize(
    "point", [pytest.param(each, marks=[pytest.mark.chaos] if each == "before_merge" else []) for each in WORKER]
)
def test_a_worker_of_the_local_engine_that_is_killed_between_file_and_fit_costs_no_row(
    folder: Path, point: str
) -> None:
    killed_worker(folder, point, local(folder))
    if point == "mid_read":
        half = [int(path.read_text()) for path in folder.glob("killed-*")]
        assert max(half) > 0, "no blob was half written"
    assert not list((folder / "scratch").iterdir()), "nothing stays on the scratch disk"


@pytest.mark.chaos
@pytest.mark.spark
@pytest.mark.parametrize("point", WORKER)
def test_a_worker_of_spark_that_is_killed_between_file_and_fit_costs_no_row(folder: Path, point: str) -> None:
    killed_worker(folder, point, SPARK)


@pytest.mark.chaos
@pytest.mark.parametrize(
    "sections", [pytest.param(None, id="local"), pytest.param(SPARK, id="spark", marks=pytest.mark.spark)]
)
def test_a_driver_that_is_killed_between_the_stages_leaves_nothing_behind_and_the_next_run_is_whole(
    folder: Path, sections: dict[str, Any] | None
) -> None:
    done = ended(folder, "driver_before_merge", sections or local(folder))
    assert done.returncode == -9
    assert not list(folder.glob("out/index/_delta_log/*.json"))
    again = run(assemble(settings(folder, INLINE)), {}, make_engine=lambda _: InlineEngine())
    assert again.totals.trained == KEYS
    assert models(folder / "out") == undisturbed(folder)


@pytest.mark.chaos
@pytest.mark.spark
@pytest.mark.timeout(900)
def test_an_executor_that_is_lost_with_its_blobs_under_speculation_costs_no_row(folder: Path) -> None:
    """Spark reads that executor's pieces again, elsewhere: the blobs are the same."""
    (folder / "recipe.py").write_text(SLOW)
    speculation = {
        "spark.speculation": "true",
        "spark.speculation.interval": "50ms",
        "spark.speculation.multiplier": "1.01",
        "spark.speculation.quantile": "0.1",
        "spark.speculation.minTaskRuntime": "10ms",
        "spark.task.maxFailures": "8",
        "spark.executor.memory": "512m",
        "spark.executor.instances": "2",
        "spark.executor.cores": "1",
    }
    document = {
        "input": {"uri": f"{folder}/in", "layout": "columns", "key": "k"},
        "recipe": {"function": "recipe.py:fit"},
        "output": {"uri": f"{folder}/out", "report": "short"},
        "spark": {"master": "local-cluster[2,1,1024]", "conf": speculation},
    }
    (folder / "job.json").write_text(json.dumps(document))
    environ = {**os.environ, "SPARK_WORKER_DIR": str(folder / "work")}
    running = manyfit("run", "-c", str(folder / "job.json"), "--json", env=environ)
    until(lambda: bool(models(folder / "out")) or running.poll() is not None)
    assert running.poll() is None
    executors = [each for each in below(running.pid) if runs(each, "CoarseGrainedExecutorBackend")]
    kill(executors[0])
    said, errors = running.communicate(timeout=LONG)

    assert len(executors) == 2
    assert running.returncode == 0, errors[-2000:]
    report = RunReport.from_json(said)
    assert report.spark["shuffle_write_bytes"] > 0
    assert (report.totals.trained, report.totals.failed) == (KEYS, 0)
    found = ModelSet.open(str(folder / "out"))
    assert set(found.metrics()["rows"]) == {ROWS // KEYS}
    rows = pa.concat_tables(pq.read_table(folder / "in" / f"p{part}.parquet") for part in range(3)).to_pandas()
    for key, frame in rows.groupby("k"):
        fit = LinearRegression().fit(frame[["x"]], frame["y"])
        assert found[f"k={key}"].coef_[0] == fit.coef_[0], "the same rows in the same order"
