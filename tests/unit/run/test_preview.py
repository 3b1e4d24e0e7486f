"""What a plan shows of the data before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from job.cli.main import main
from job.errors import ConfigurationError
from job.run import key_of_table, preview
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


TABLE = {"layout": "columns", "key": ["shop"]}


def test_one_key_of_a_table_tells_its_files_its_rows_in_their_order_and_what_would_fail(job: Job) -> None:
    job.put("a.csv", b"shop,x,y,other\n007,1,2,u\n7,5,5,u\n007,03,4,u\n")
    job.put("b.csv", b"shop,x,y,other\n8,1,1,u\n")
    job.put("c.csv", b"shop,x,y,other\n007,,6,u\n")
    found = of_key(job, "shop=007", input=TABLE)
    assert (found["key"], found["action"], found["why"], found["rows"]) == ("shop=007", "train", "new", 3)
    assert [(each["name"], each["rows"]) for each in found["objects"]] == [("a.csv", 2), ("c.csv", 1)]
    seen = found["preview"]
    # The columns that the recipe reads, of this key's rows alone.
    assert [(each.name, each.type, each.missing, each.role) for each in seen.columns] == [
        ("x", "float64", 1, "feature"),
        ("y", "int64", 0, "target"),
    ]
    assert [each.reason for each in seen.problems] == ["missing_values"]
    assert "column 'x' is numbers, so that \"03\" is 3," in seen.warnings[0]
    with pytest.raises(ConfigurationError, match="no partition has the key 'shop=07'"):
        of_key(job, "shop=07", input=TABLE)
    assert not job.out.exists()


def test_one_key_of_a_parquet_table_with_directories_is_read_out_of_its_own_row_groups(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    for region in ("north", "south"):
        rows = pa.table({"shop": [1] * 40 + [2] * 40, "x": [float(x) for x in range(80)], "y": range(80)})
        (job.data / f"region={region}").mkdir()
        pq.write_table(rows, job.data / f"region={region}" / "a.parquet", row_group_size=20)
    read = []
    rows_of = key_of_table.piece_rows

    def watched(source: Any, scan: Any, pieces: pa.Table, mine: pa.Table) -> Any:
        read.extend(mine.select(["name", "part"]).to_pylist())
        return rows_of(source, scan, pieces, mine)

    monkeypatch.setattr(key_of_table, "piece_rows", watched)
    keyed = {"layout": "columns", "key": ["region", "shop"]}
    found = of_key(job, "region=south/shop=2", input=keyed, recipe={"features": None})
    assert [(each["name"], each["part"]) for each in read] == [("region=south/a.parquet", part) for part in (2, 3)]
    assert found["rows"] == 40
    columns = {each.name: (each.type, each.example, each.role) for each in found["preview"].columns}
    assert columns["x"] == ("float64", "40.0", "feature")
    assert columns["region"] == ("text", '"south"', "")
    assert found["preview"].problems == ()


def test_one_key_of_a_table_is_shown_by_the_command(
    job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job.put("a.csv", b"shop,x,y\n007,1,2\n7,5,5\n007,3,4\n")
    document = job.settings(input=TABLE).model_dump(mode="json", exclude_defaults=True, by_alias=True)
    (tmp_path / "job.yaml").write_text(json.dumps(document))
    assert main(["plan", "-c", str(tmp_path / "job.yaml"), "--key", "shop=007"]) == 0
    said = capsys.readouterr().out
    assert "a.csv  " in said
    assert "2 rows of it" in said
    assert "nothing is wrong with its rows before the fit" in said
    assert main(["plan", "-c", str(tmp_path / "job.yaml"), "--key", "shop=007", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["preview"]["rows"] == 2


def test_a_key_of_a_table_that_spark_reads_is_refused_with_a_way_out(job: Job) -> None:
    job.put("a.csv", b"shop,x,y\n007,1,2\n")
    assembly = assemble(job.settings(input={**TABLE, "reader": "spark"}))
    by_spark = SimpleNamespace(files=pa.table({}), table=None)
    with pytest.raises(ConfigurationError, match=r"read by Spark") as caught:
        preview.of_key(assembly, by_spark, "shop=7")  # type: ignore[arg-type]
    assert "input.only" in str(caught.value.hint)
