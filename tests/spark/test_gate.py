"""The gate where Spark hands over the rows, and the published table as Spark reads it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from job.registry.index import Index
from tests.support.spark_jobs import Job

pytestmark = pytest.mark.spark

METRIC = "neg_mean_absolute_error"


def sections(estimator: str, **source: Any) -> dict[str, Any]:
    validation = {"method": "backtest", "column": "day", "windows": 3, "horizon": "14d"}
    return {
        "input": {"format": "parquet", **source},
        "recipe": {
            "features": ["n"], "target": "y", "estimator": {"_target_": estimator}, "metrics": [METRIC],
            "validation": validation,
        },
        "promote": {"metric": METRIC},
    }  # fmt: skip


def night(job: Job, days: int, layout: str) -> None:
    """Six keys of so many days, as a file each, or as one table."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(6, 400))
    frames = []
    for number in range(6):
        n = np.arange(days)
        frame = pd.DataFrame(
            {"day": pd.date_range("2024-01-01", periods=days), "n": n, "y": n / 10 + noise[number, :days]}
        )
        frames.append(frame.assign(store=number % 2, item=number))
    if layout == "columns":
        pd.concat(frames).to_parquet(job.data / "table.parquet", index=False, coerce_timestamps="us")
        return
    for number, frame in enumerate(frames):
        frame.to_parquet(job.data / f"k{number}.parquet", index=False)


@pytest.mark.parametrize(
    ("layout", "source"),
    [
        ("objects", {"reader": "spark"}),
        ("objects", {"reader": "direct"}),
        ("columns", {"reader": "spark", "layout": "columns", "key": ["store", "item"]}),
        ("columns", {"reader": "direct", "layout": "columns", "key": ["store", "item"]}),
    ],
)
def test_whoever_reads_the_better_model_wins_and_the_worse_one_does_not(
    job: Job, layout: str, source: dict[str, Any]
) -> None:
    linear, mean = "sklearn.linear_model.LinearRegression", "sklearn.dummy.DummyRegressor"
    night(job, 100, layout)
    assert job.run(**sections(mean, **source)).gate["first"] == 6
    night(job, 142, layout)
    assert job.run(**sections(linear, **source)).gate["promoted"] == 6
    night(job, 184, layout)
    assert job.run(**sections(mean, **source)).gate["kept"] == 6
    rows = job.rows()
    assert {each["gate_rows"] for each in rows.values()} == {42}
    assert {each["estimator"] for each in rows.values()} == {linear}


def test_spark_reads_metrics_and_parts_of_the_key_as_maps(job: Job, spark: SparkSession) -> None:
    source = {"layout": "columns", "key": ["store", "item"]}
    night(job, 100, "columns")
    job.run(**sections("sklearn.linear_model.LinearRegression", **source))
    index = Index(job.models._store)
    files = [f"{index.store.uri}/index/{name}" for name in index.files(1)]
    table = spark.read.parquet(*files)
    found = (
        table.where("keys['store'] = '1'").selectExpr("keys['item'] as item", f"scores['{METRIC}'] as mae").collect()
    )
    assert sorted(row["item"] for row in found) == ["1", "3", "5"]
    assert all(-2 < row["mae"] < 0 for row in found)
