"""Which Spark these tests run on: the newest in the lock, or the oldest where the target asks for it."""

from __future__ import annotations

import os
from pathlib import Path

import pyspark

from job.engine.spark import jars
from tests.support import locked


def test_the_tests_run_on_the_spark_that_was_asked_for() -> None:
    oldest, newest = locked.sparks()
    assert pyspark.__version__ == (oldest if os.environ.get("TESTED_SPARK") == "oldest" else newest)


def test_the_modules_of_s3a_are_known_for_the_hadoop_of_this_spark() -> None:
    (client,) = (Path(pyspark.__file__).parent / "jars").glob("hadoop-client-api-*.jar")
    hadoop = client.stem.removeprefix("hadoop-client-api-")
    assert jars.coordinates(hadoop)[0] == f"org.apache.hadoop:hadoop-aws:{hadoop}"
