"""``reader: spark`` on layouts ``objects`` and ``hive``: the planned key is the unit, wherever Spark puts a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark


def test_400_small_gzip_files_give_400_right_models_without_a_shuffle(job: Any, line: Callable[..., bytes]) -> None:
    for number in range(400):
        job.put(f"part {number:03d}.csv.gz", line(number + 1))
    report = job.run()
    assert (report.totals.trained, report.totals.failed) == (400, 0)
    assert job.slopes() == {f"part {number:03d}": number + 1 for number in range(400)}
    assert report.spark["shuffle_read_bytes"] == report.spark["shuffle_write_bytes"] == 0
    assert report.spark["tasks"] < 40
    again = job.run()
    assert (again.totals.unchanged, again.totals.trained) == (400, 0)


def test_keys_are_exact_text_and_models_are_those_of_the_direct_reader(job: Any, line: Callable[..., bytes]) -> None:
    names = ["a b", "c%20d", "e+f", "g=h,é{x}", "k[1]*?", "sub/x;y#z", "~", "Congo, Dem. Rep."]
    for number, name in enumerate(names):
        job.put(f"{name}.csv.gz", line(number + 2))
    job.put("_hidden/x.csv.gz", line(1))
    assert job.run().totals.trained == len(names)
    assert job.slopes() == {name: number + 2 for number, name in enumerate(names)}
    digests = {key: row["digest"] for key, row in job.rows().items()}
    # The same fingerprints and bytes: the other reader has nothing to do.
    assert job.run(input={"reader": "direct"}, spark={"master": "inline"}).totals.unchanged == len(names)
    job.out = job.out.with_name("direct")
    job.sections["spark"] = {"master": "inline"}
    from job import engine as engines

    assert job.run(engines.make, input={"reader": "direct"}).totals.trained == len(names)
    assert {key: row["digest"] for key, row in job.rows().items()} == digests


def test_one_changed_object_is_the_only_one_read(job: Any, line: Callable[..., bytes]) -> None:
    for number in range(5):
        job.put(f"{number}.csv.gz", line(number + 1))
    job.run()
    job.put("3.csv.gz", line(9))
    report = job.run()
    assert (report.totals.trained, report.totals.unchanged) == (1, 4)
    assert job.slopes()["3"] == 9


def test_bad_objects_are_rows_with_the_reasons_of_the_strict_reader(job: Any, line: Callable[..., bytes]) -> None:
    job.put("good.csv.gz", line(2))
    job.put("cut.csv.gz", line(2)[:-20])
    job.put("ragged.csv", "x,y\n1,2\n3\n")
    job.put("header.csv", "x,y\n")
    job.put("nothing.csv", "")
    job.put("12:30.csv.gz", line(2))
    report = job.run()
    assert (report.totals.trained, report.totals.failed, report.totals.skipped) == (1, 3, 2)
    rows = job.rows()
    assert rows["12:30"]["reason"] == "unsupported_key"
    assert rows["cut"]["reason"] == "corrupt_compression"
    assert rows["ragged"]["reason"] == "bad_row"
    assert rows["header"]["reason"] == rows["nothing"]["reason"] == "empty"


def test_objects_replaced_or_deleted_after_the_plan_are_named_and_never_mixed(
    job: Any, line: Callable[..., bytes]
) -> None:
    from tests.support.spark_jobs import SharedEngine

    paths = [job.put(f"{number}.csv.gz", line(number + 1)) for number in range(4)]

    class Meanwhile(SharedEngine):
        def run(self, *arguments: Any) -> Any:
            paths[0].write_bytes(line(7, rows=30))
            same = line(8)
            stat = paths[1].stat()
            paths[1].write_bytes(same)
            os.utime(paths[1], (stat.st_mtime + 5, stat.st_mtime + 5))
            paths[2].unlink()
            return super().run(*arguments)

    report = job.run(Meanwhile)
    assert (report.totals.trained, report.totals.failed) == (1, 3)
    reasons = {key: row["reason"] for key, row in job.rows().items()}
    assert reasons == {"0": "input_changed", "1": "input_changed", "2": "input_missing", "3": None}


def test_hive_groups_by_planned_key_with_one_shuffle_that_leaves_no_task_empty(
    job: Any, line: Callable[..., bytes]
) -> None:
    for store in range(20):
        for part in range(3):
            job.put(f"store={store:02d}/item=a%2Fb/part-{part}.csv.gz", line(store + 1, rows=5 + part))
    report = job.run(input={"layout": "hive"})
    assert (report.totals.planned, report.totals.trained) == (20, 20)
    assert job.slopes() == {f"store={store:02d}/item=a%2Fb": store + 1 for store in range(20)}
    assert report.spark["shuffle_write_bytes"] > 0
    assert job.run(input={"layout": "hive", "reader": "direct"}).totals.unchanged == 20


def test_a_format_of_sparks_is_grouped_by_file_and_a_split_file_is_refused(job: Any, spark: SparkSession) -> None:
    for number in range(6):
        frame = pd.DataFrame({"x": [float(each) for each in range(50)]})
        frame["y"] = frame["x"] * (number + 1)
        folder = job.data.parent / f"made-{number}"
        spark.createDataFrame(frame).coalesce(1).write.orc(str(folder))
        (made,) = folder.glob("*.orc")
        job.put(f"key {number}.orc", made.read_bytes())
    report = job.run(input={"format": "orc"})
    assert (report.totals.trained, report.spark["shuffle_write_bytes"]) == (6, 0)
    assert job.slopes() == {f"key {number}": number + 1 for number in range(6)}
    assert job.run(input={"format": "orc"}).totals.unchanged == 6
    cut = job.run(
        input={"format": "orc"}, spark={"conf": {"spark.sql.files.maxPartitionBytes": "200"}}, run={"seed": 1}
    )
    assert cut.totals.failed == 6
    assert {row["reason"] for row in job.rows().values()} == {"split_object"}


@pytest.mark.parametrize("option", ["200", None])
def test_a_session_has_no_option_of_the_test_before(spark: SparkSession, option: str | None) -> None:
    """One that cuts files into pieces of 200 bytes made 5,000 tasks of a later test's table."""
    name = "spark.sql.files.maxPartitionBytes"
    assert spark.conf.get(name) != "200"
    if option:
        spark.conf.set(name, option)
