"""Spark reads the table of predictions, as plain Parquet by the file list of the Delta table: no jar of Delta is needed."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.support.score_job import ScoreJob, rows

pytestmark = pytest.mark.spark


def test_spark_reads_each_row_of_the_current_version_once(tmp_path: Path, spark: SparkSession) -> None:
    job = ScoreJob(tmp_path, keys=2)
    job.trained.run()
    job.score()
    job.put("k1.csv", rows(2.0, count=3).replace(b"id,x,y\n", b"id,x,late\n"))
    job.score()
    job.put("k0.csv", rows(1.0, count=2))
    job.score()
    job.predictions.rollback(2)
    files = [str(job.out / "predictions" / name) for name in job.predictions.files()]

    table = spark.read.option("mergeSchema", "true").parquet(*files)

    expected = job.table().select(["_key", "id", "prediction", "late"]).to_pylist()
    found = [row.asDict() for row in table.select("_key", "id", "prediction", "late").collect()]
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert table.groupBy("_key").count().orderBy("_key").collect() == [("k0", 6), ("k1", 9)]
