"""Layout ``columns`` read by the tasks themselves, on Spark: blobs through its shuffle, or nothing at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LinearRegression

from job.outcome import TRAINED
from tests.support.spark_jobs import Job

pytestmark = pytest.mark.spark


def sales(keys: int = 20, rows: int = 60) -> pd.DataFrame:
    random = np.random.default_rng(0)
    number = random.permutation(np.repeat(np.arange(keys), rows))
    x = random.normal(size=len(number))
    return pd.DataFrame({"shop": number, "x": x, "y": x * (number + 1) + random.normal(size=len(number))})


@pytest.fixture
def table(job: Job) -> Job:
    job.sections["input"] = {"layout": "columns", "key": ["shop"], "reader": "direct"}
    put(job, sales())
    return job


def put(job: Job, frame: pd.DataFrame) -> None:
    for part in range(4):
        rows = frame.iloc[part * len(frame) // 4 : (part + 1) * len(frame) // 4]
        table = pa.Table.from_pandas(rows, preserve_index=False)
        pq.write_table(table, job.put(f"p{part}.parquet", b""), row_group_size=100)


def assert_equal(job: Job, frame: pd.DataFrame) -> None:
    """To the last bit, which only the same rows in the same order give."""
    models = job.models
    for shop, rows in frame.groupby("shop"):
        model = LinearRegression().fit(rows[["x"]], rows["y"])
        found: Any = models[f"shop={shop}"]
        assert (found.coef_[0], found.intercept_) == (model.coef_[0], model.intercept_)


def test_a_scattered_table_goes_through_the_shuffle_once_also_with_adaptive_execution_and_speculation(
    table: Job,
) -> None:
    conf = {"spark.sql.adaptive.enabled": "true", "spark.speculation": "true"}
    report = table.run(spark={"conf": conf})
    assert (report.totals.planned, report.totals.trained) == (20, 20)
    assert 0 < report.spark["shuffle_write_bytes"] < 60_000
    assert_equal(table, sales())
    from job import run_paths
    from job.config.settings import StorageSide
    from job.store import open_store
    from job.worker.segment import read

    outcomes = read(open_store(str(table.out), StorageSide()), run_paths.segments(report.run)).to_pylist()
    assert {row["task"] for row in outcomes if row["status"] == TRAINED} == {0, 1}


def test_a_table_that_is_sorted_by_its_key_shuffles_nothing(table: Job) -> None:
    frame = sales().sort_values("shop", kind="stable")
    put(table, frame)
    report = table.run()
    assert report.totals.trained == 20
    assert (report.spark["shuffle_write_bytes"], report.spark["shuffle_read_bytes"]) == (0, 0)
    assert_equal(table, frame)


def test_keys_are_counted_without_spark_and_nothing_changed_starts_no_engine(table: Job) -> None:
    table.run()
    assert table.engines == 1
    assert table.run().totals.unchanged == 20
    assert table.engines == 1


def test_a_worker_that_dies_in_the_second_stage_is_one_row_and_the_others_are_trained(table: Job) -> None:
    (table.data.parent / "recipe.py").write_text(
        "import os\n"
        "from sklearn.linear_model import LinearRegression\n"
        "def fit(frame, key):\n"
        "    if key == 'shop=7':\n"
        "        os._exit(9)\n"
        "    return LinearRegression().fit(frame[['x']], frame['y'])\n"
    )
    function = {
        "function": f"{table.data.parent / 'recipe.py'}:fit",
        "estimator": None,
        "features": None,
        "target": None,
    }
    report = table.run(recipe=function)
    assert (report.totals.trained, report.totals.failed) == (19, 1)
    assert table.rows()["shop=7"]["reason"] == "worker_died"


def test_a_set_whose_table_was_read_by_spark_keeps_its_keys_when_the_tasks_read_it(table: Job) -> None:
    table.run(input={"reader": "spark"})
    assert sorted(table.models) == sorted(f"shop={shop}" for shop in range(20))
    report = table.run()
    assert (report.totals.trained, report.totals.gone) == (20, 0)
    assert_equal(table, sales())
    # And back: equal rows, digested in another way.
    assert table.run(input={"reader": "spark"}).totals.gone == 0
