"""What a plan shows of the data before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from job.cli.main import main
from job.errors import ConfigurationError
from job.run import preview
from job.run.assembly import assemble
from job.run.planning import plan_alone
from tests.support.folder_job import Job, line

RIDGE = {"_target_": "sklearn.linear_model.Ridge"}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def seen(job: Job, **sections: Any) -> preview.Preview:
    assembly = assemble(job.settings(**sections))
    return preview.of_first(assembly, plan_alone(assembly))


def of_key(job: Job, key: str, **sections: Any) -> dict[str, Any]:
    assembly = assemble(job.settings(**sections))
    return preview.of_key(assembly, plan_alone(assembly), key)


CODES = (
    b"store,day,price,n,ok,empty,y\n007,2024-01-01,0.5,1,True,,1\nA7,2024-01-02,,2,False,,2\nA8,2024-01-03,2,,True,,3\n"
)


def test_columns_are_shown_as_they_reach_the_estimator(job: Job) -> None:
    job.put("a.csv", CODES)
    found = seen(job, recipe={"features": ["price"], "target": "y", "validation": {"method": "time", "column": "day"}})
    assert [(each.name, each.type, each.example, each.missing, each.role) for each in found.columns] == [
        ("store", "text", '"007"', 0, ""),
        ("day", "text", '"2024-01-01"', 0, "order"),
        ("price", "float64", "0.5", 1, "feature"),
        ("n", "float64", "1", 1, ""),
        ("ok", "bool", "True", 0, ""),
        ("empty", "float64 (no value)", None, 3, ""),
        ("y", "int64", "1", 0, "target"),
    ]
    assert (found.keys, found.rows) == (("a",), 3)
    assert [(each.key, each.reason) for each in found.problems] == [("a", "missing_values")]


def test_columns_that_differ_between_partitions_say_so(job: Job) -> None:
    job.put("a.csv", b"x,y\n1,2\n2,3\n")
    job.put("b.csv", b"x,y\nlow,2\nhigh,3\n")
    job.put("c.csv.gz", line(2.0))
    found = seen(job)
    assert found.columns[0].type == "int64 (a), text (b), float64 (c)"
    assert [(each.key, each.reason) for each in found.problems] == [("b", "non_numeric")]


def test_codes_with_zeros_in_front_are_told(job: Job) -> None:
    job.put("a.csv", b"x,y\n10,2\n007,3\n")
    assert "column 'x' is numbers, so that \"007\" is 7" in seen(job).warnings[0]


def test_objects_that_cannot_be_read_are_problems_and_the_others_are_shown(job: Job) -> None:
    job.put("a.csv.gz", b"no gzip")
    job.put("b.csv.gz", line(2.0))
    found = seen(job)
    assert found.keys == ("b",)
    assert [(each.key, each.reason) for each in found.problems] == [("a", "corrupt_compression")]


def test_bytes_times_and_categories_have_words_of_their_own(job: Job) -> None:
    table = pa.table(
        {
            "b": pa.array([b"x", b"y"]),
            "t": pa.array([1, 2], pa.timestamp("us")),
            "d": pa.array([1, 2], pa.date32()),
            "c": pa.array(["u", "v"]).dictionary_encode(),
            "k": pa.array([1, 2], pa.time32("s")),
            "l": pa.array([[1], [2]]),
            "o": pa.array([True, None]),
            "x": pa.array([1, 2**60]),
            "y": pa.array([1.0, 2.0], pa.float32()),
        }
    )
    pq.write_table(table, job.data / "a.parquet")
    types = {each.name: each.type for each in seen(job).columns}
    assert types == {
        "b": "bytes",
        "t": "datetime64[ns]",
        "d": "datetime64[ns]",
        "c": "category",
        "k": "time of day",
        "l": "list<element: int64>",
        "o": "bool with gaps",
        "x": "int64",
        "y": "float32",
    }


def test_one_partition_tells_its_objects_rows_and_what_would_fail(job: Job) -> None:
    job.put("s=1/a.csv", b"x,y\n1,2\n2,4\n")
    job.put("s=1/b.csv", b"x,y\n,6\n4,8\n")
    found = of_key(job, "s=1", input={"uri": str(job.data), "layout": "hive"})
    assert (found["key"], found["action"], found["why"], found["rows"]) == ("s=1", "train", "new", 4)
    assert [each["name"] for each in found["objects"]] == ["s=1/a.csv", "s=1/b.csv"]
    (problem,) = found["preview"].problems
    assert problem.reason == "missing_values"
    assert "recipe.missing" in problem.message
    with pytest.raises(ConfigurationError, match="no partition has the key 's=2'"):
        of_key(job, "s=2", input={"uri": str(job.data), "layout": "hive"})


def test_a_plan_as_json_has_the_columns(job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job.put("a.csv.gz", line(2.0))
    document = job.settings().model_dump(mode="json", exclude_defaults=True, by_alias=True)
    (tmp_path / "job.yaml").write_text(json.dumps(document))
    assert main(["plan", "-c", str(tmp_path / "job.yaml"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["columns"]
    assert [each["name"] for each in told["columns"]] == ["x", "y"]
    assert main(["plan", "-c", str(tmp_path / "job.yaml"), "--json", "--key", "a"]) == 0
    assert json.loads(capsys.readouterr().out)["preview"]["rows"] == 50
    assert main(["plan", "-c", str(tmp_path / "job.yaml")]) == 0
    assert "columns, as they reach the estimator (from a: 50 rows)" in capsys.readouterr().out
    assert main(["plan", "-c", str(tmp_path / "job.yaml"), "--key", "a"]) == 0
    assert "nothing is wrong with its rows before the fit" in capsys.readouterr().out
