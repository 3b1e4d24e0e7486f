"""Scoring on Spark: objects, tables that Spark reads, forecasts without rows, and one generation a key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from job.run.assembly import Assembly
from tests.support.folder_job import line
from tests.support.score_job import ScoreJob, counts, rows
from tests.support.spark_jobs import SharedEngine

pytestmark = pytest.mark.spark

ON_SPARK: dict[str, Any] = {"run": {"engine": "spark"}}


def start(assembly: Assembly) -> SharedEngine:
    return SharedEngine(assembly.settings)


@pytest.fixture
def job(tmp_path: Path, spark: SparkSession) -> ScoreJob:
    made = ScoreJob(tmp_path, keys=6)
    made.trained.run()
    return made


def test_objects_are_scored_once_and_replaced_by_their_key(job: ScoreJob) -> None:
    job.overrides = {**ON_SPARK, "output": {"mode": "replace"}}
    assert counts(job.score(start)) == (6, 0, 0, 0)
    job.put("k4.csv", rows(5.0, count=2))

    assert counts(job.score(start)) == (1, 5, 0, 0)

    assert job.keys() == {**dict.fromkeys((f"k{number}" for number in range(6)), 6), "k4": 2}
    found = job.table().to_pandas()
    slope = found["_key"].str[1:].astype(int) + 1
    assert np.allclose(found["prediction"], found["x"] * slope, atol=1e-5)


def test_models_forecast_without_rows_by_code_that_travels_to_the_executors(job: ScoreJob, tmp_path: Path) -> None:
    (tmp_path / "horizon.py").write_text("STEPS = 4\n")
    (tmp_path / "score.py").write_text(
        "import pandas as pd\nfrom horizon import STEPS\n\n"
        "def forecast(model, frame, key):\n"
        "    if key == 'k5':\n        raise ValueError('no forecast')\n"
        "    return model.predict(pd.DataFrame({'x': range(STEPS)}))\n"
    )
    job.overrides = {
        "input": {"uri": None},
        "score": {"function": "score.py:forecast", "code": ["horizon.py"]},
        "run": {"engine": "spark", "max_failed": 1},
    }

    report = job.score(start)

    assert counts(report) == (5, 0, 0, 1)
    assert report.totals.rows_written == 20
    assert sorted(job.table()["prediction"].to_pylist())[-1] == pytest.approx(15.0)


@pytest.mark.parametrize("mode", ["append", "replace"])
def test_a_table_that_spark_reads_is_scored_by_its_key_columns(job: ScoreJob, mode: str) -> None:
    number = np.tile(np.arange(6), 5)
    x = np.repeat(np.arange(5), 6).astype(float)
    frame = pd.DataFrame({"id": [f"k{each}" for each in number], "x": x, "y": x * (number + 1)})
    job.data = job.data.with_name("table")
    job.data.mkdir()
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), job.data / "p.parquet")
    job.trained.put("id=k0.csv.gz", line(1.0))
    for each in range(6):
        job.trained.put(f"id=k{each}.csv.gz", line(each + 1.0))
    job.trained.run()
    job.overrides = {
        **ON_SPARK,
        "input": {"layout": "columns", "key": ["id"], "reader": "spark"},
        "output": {"mode": mode, "uri": f"{job.out}-{mode}"},
    }
    job.out = Path(f"{job.out}-{mode}")

    assert counts(job.score(start)) == (6, 0, 0, 0)
    assert job.keys() == {f"id=k{each}": 5 for each in range(6)}
    frame.loc[0, "x"] = 9.0
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), job.data / "p.parquet")

    report = job.score(start)

    assert report.totals.scored == 1
    assert job.keys()["id=k0"] == (5 if mode == "replace" else 10)
    assert len(job.predictions.files()) <= (1 if mode == "replace" else 7)
