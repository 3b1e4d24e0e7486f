"""A task of the ``spark`` reader, without Spark: the same attempt, outcomes and reasons as the ``direct`` reader's."""

from __future__ import annotations

import gzip
import uuid
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from job import run_paths
from job.arrow import encode
from job.config.settings import JobSettings, StorageSide
from job.engine.spark.gather import AT, CONTENT, OBJECT, SAME, TASK, WHOLE, TableRunner
from job.engine.spark.unseen import Unseen
from job.plan.spark_read import BINARY, TableRead
from job.reader.spec import VERSION
from job.run.assembly import assemble
from job.store import open_store
from job.worker import segment
from job.worker.operation import Item
from job.worker.training import Training
from job.worker.work import TASK_SCHEMA, Work

AT_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def item(key: str, *objects: tuple[str, int, str], content: str | None = None) -> dict[str, Any]:
    described = [{"name": name, "etag": etag, "size": size, "modified": AT_NOON} for name, size, etag in objects]
    return {"key": key, "data": f"data of {key}", "content": content, "bytes": 10, "objects": described}


@pytest.fixture
def work() -> Work:
    store = open_store(f"memory://{uuid.uuid4().hex}", StorageSide())
    settings = JobSettings.model_validate(
        {
            "input": {"uri": "memory://in", "layout": "columns", "key": "k"},
            "recipe": {
                "features": ["x"],
                "target": "y",
                "estimator": {"_target_": "sklearn.linear_model.LinearRegression"},
            },
            "output": {"uri": "memory://out"},
        }
    )
    return Work(
        run="r",
        plan="p",
        input=store,
        output=store,
        operation=Training(fitting=assemble(settings).fitting, recipe="recipe", environment="environment"),
        hive=False,
        timeout=None,
        memory=None,
        table=TableRead(layout="columns", root="file:/x", format="parquet", key=("k",)),
    )


def plan(work: Work, *items: dict[str, Any], task: int = 0) -> None:
    table = pa.Table.from_pylist([{"reading": VERSION, **each} for each in items], schema=TASK_SCHEMA)
    work.output.ensure(run_paths.task_list(work.run, work.plan, task), encode(table))


def rows(*keys: str) -> pa.RecordBatch:
    """Five rows for each key, in the order of the list."""
    at = [number for number in range(len(keys)) for _ in range(5)]
    return pa.RecordBatch.from_pydict(
        {
            TASK: pa.array([0] * len(at), pa.int32()),
            AT: pa.array(at, pa.int32()),
            "k": [keys[number] for number in at],
            "x": [float(each) for each in range(5)] * len(keys),
            "y": [float(each) * 2 for each in range(5)] * len(keys),
        }
    )


def outcomes(work: Work) -> dict[str, dict[str, Any]]:
    found = segment.read(work.output, run_paths.segments(work.run)).to_pylist()
    assert len({row["key"] for row in found}) == len(found)
    return {row["key"]: row for row in found}


def test_a_second_beginning_takes_over_what_is_there_though_spark_counts_from_zero_again(work: Work) -> None:
    plan(work, item("k=a", ("k=a", 1, "s:5")), item("k=b", ("k=b", 1, "s:5")))
    (first,) = list(TableRunner(work)([rows("a", "b")]))
    (second,) = list(TableRunner(work)([rows("a", "b")]))
    assert (first.to_pylist()[0]["done"], first.to_pylist()[0]["adopted"]) == (2, 0)
    assert (second.to_pylist()[0]["done"], second.to_pylist()[0]["adopted"]) == (0, 2)
    assert {row["status"] for row in outcomes(work).values()} == {"trained"}


def test_an_empty_spark_partition_does_nothing(work: Work) -> None:
    assert list(TableRunner(work)([])) == []
    assert list(TableRunner(work)([rows("a").slice(0, 0)])) == []


def test_rows_that_are_not_as_many_as_were_counted_are_no_model(work: Work) -> None:
    plan(work, item("k=a", ("k=a", 1, "s:6")), item("k=b", ("k=b", 1, "s:5")))
    list(TableRunner(work)([rows("a", "b")]))
    assert {key: (row["status"], row["reason"]) for key, row in outcomes(work).items()} == {
        "k=a": ("failed", "input_changed"),
        "k=b": ("trained", None),
    }


def test_equal_content_is_not_fitted_again_in_whatever_order_the_rows_come(work: Work) -> None:
    plan(work, item("k=a", ("k=a", 1, "s:5")))
    list(TableRunner(work)([rows("a")]))
    content = outcomes(work)["k=a"]["content"]
    plan(work, item("k=a", ("k=a", 1, "t:5"), content=content), task=1)
    batch = rows("a").take(pa.array([4, 2, 0, 1, 3]))
    batch = batch.set_column(0, TASK, pa.array([1] * 5, pa.int32()))
    (summary,) = list(TableRunner(work)([batch.slice(0, 2), batch.slice(2)]))
    assert summary.to_pylist()[0]["unchanged"] == 1


def of_files(work: Work, **changes: Any) -> Work:
    from dataclasses import replace

    return replace(work, table=TableRead(layout="objects", root="file:/x", **changes))


def test_whole_objects_go_to_the_strict_reader_and_changed_or_absent_ones_are_named(work: Work) -> None:
    work = of_files(work, format=BINARY)
    body = gzip.compress(b"x,y\n1,2\n2,4\n3,6\n")
    plan(
        work,
        item("good", ("good.csv.gz", 9, "e")),
        item("other", ("other.csv.gz", 9, "e")),
        item("half", ("h/1.csv.gz", 9, "e"), ("h/2.csv.gz", 9, "e")),
        item("large", ("l/1.csv.gz", 9, "e"), ("l/2.csv.gz", 2_000_000_000, "e")),
        item("two", ("t/1.csv.gz", 9, "e"), ("t/2.csv", 0, "e")),
        item("cut", ("cut.csv.gz", 9, "e")),
    )
    batch = pa.RecordBatch.from_pydict(
        {
            TASK: pa.array([0] * 6, pa.int32()),
            AT: pa.array(range(6), pa.int32()),
            OBJECT: pa.array([0] * 6, pa.int32()),
            SAME: [True, False, True, True, True, True],
            CONTENT: pa.array([body, None, body, body, body, body[:-5]], pa.large_binary()),
        }
    )
    list(TableRunner(work)([batch]))
    assert {key: row["reason"] for key, row in outcomes(work).items()} == {
        "good": None,
        "other": "input_changed",
        "half": "input_missing",
        "large": "unsupported_format",
        "two": None,
        "cut": "corrupt_compression",
    }
    assert "h/2.csv.gz" in outcomes(work)["half"]["message"]


def test_a_file_that_spark_split_is_no_model(work: Work) -> None:
    work = of_files(work, format="orc")
    plan(work, item("a", ("a.orc", 9, "e")), item("b", ("b.orc", 9, "e")))
    batch = pa.RecordBatch.from_pydict(
        {
            TASK: pa.array([0] * 6, pa.int32()),
            AT: pa.array([0, 0, 0, 1, 1, 1], pa.int32()),
            OBJECT: pa.array([0] * 6, pa.int32()),
            SAME: [True] * 6,
            WHOLE: [True, True, True, False, False, False],
            "x": [1.0, 2.0, 3.0] * 2,
            "y": [1.0, 2.0, 3.0] * 2,
        }
    )
    list(TableRunner(work)([batch]))
    assert {key: row["reason"] for key, row in outcomes(work).items()} == {"a": None, "b": "split_object"}


def test_keys_that_spark_handed_nothing_over_for_have_the_reason_that_is_found_or_none(work: Work) -> None:
    work.input.put("there.csv", b"x,y\n1,2\n")
    work.input.put("empty.csv", b"")
    items = [
        item("deleted", ("deleted.csv", 8, "e")),
        item("grown", ("there.csv", 5, "e")),
        item("there", ("there.csv", 8, "e")),
        {**item("empty", ("empty.csv", 0, "e")), "bytes": 0},
        item("odd", ("p//b.csv", 8, "e")),
        item("colon", ("12:30.csv", 8, "e")),
        item("large", ("large.csv", 2_000_000_000, "e")),
    ]
    unseen = Unseen(of_files(work, format=BINARY), [Item(**each) for each in items])
    found = {each.key: error.reason for each, error in unseen.read(lambda item: True)}  # type: ignore[union-attr]
    # "there" lies there as it was planned: nothing excuses that it was not handed over, and the barrier will say so.
    assert found == {
        "deleted": "input_missing",
        "grown": "input_changed",
        "empty": "empty",
        "odd": "unsupported_key",
        "colon": "unsupported_key",
        "large": "unsupported_format",
    }
