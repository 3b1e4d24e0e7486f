"""Spark reads the table of predictions, as plain Parquet by the file list of the Delta table: no jar of Delta is needed."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.support.score_job import of_many_releases

pytestmark = pytest.mark.spark


def test_spark_reads_each_row_of_the_current_version_once(tmp_path: Path, spark: SparkSession) -> None:
    job = of_many_releases(tmp_path)
    files = [str(job.out / "predictions" / name) for name in job.predictions.files()]

    table = spark.read.option("mergeSchema", "true").parquet(*files)

    expected = job.table().select(["_key", "id", "prediction", "late"]).to_pylist()
    found = [row.asDict() for row in table.select("_key", "id", "prediction", "late").collect()]
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert table.groupBy("_key").count().orderBy("_key").collect() == [("k0", 6), ("k1", 9)]
