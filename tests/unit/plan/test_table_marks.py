"""Folders that are tables: which are seen, and which are not taken for one."""

from __future__ import annotations

import pyarrow as pa
import pytest

from job.errors import InputError
from job.plan import table_marks


def names(*texts: str) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(texts, pa.string())])


@pytest.mark.parametrize(
    ("mark", "kind"),
    [
        ("_delta_log/00000000000000000000.json", "Delta"),
        ("_delta_log/00000000000000000010.checkpoint.parquet", "Delta"),
        ("metadata/v1.metadata.json", "Iceberg"),
        ("metadata/00000-6c9d.metadata.json", "Iceberg"),
        ("metadata/00000-6c9d.metadata.json.gz", "Iceberg"),
        (".hoodie/hoodie.properties", "Hudi"),
        ("snapshot/snapshot-1", "Paimon"),
        ("_versions/1.manifest", "Lance"),
        ("delta_0000001_0000001_0000/bucket_00000", "Hive ACID"),
        ("base_0000005_v0000012/bucket_00000", "Hive ACID"),
        ("delete_delta_0000002_0000002/bucket_00000", "Hive ACID"),
        ("_spark_metadata/0", "Spark streaming"),
    ],
)
def test_a_table_is_known_by_its_log_at_any_depth(mark: str, kind: str) -> None:
    assert table_marks.tables(names("a.parquet", mark)) == {"": kind}
    assert table_marks.tables(names("a.parquet", f"raw/a\nb/{mark}")) == {"raw/a\nb/": kind}


@pytest.mark.parametrize(
    "name",
    [
        "delta_log/a.json",
        "_delta_log",
        "metadata/v1.json",
        "my-metadata/x.csv",
        "snapshot/2024.csv",
        "delta_1/a.csv",
        "base_2024/a.csv",
        "_SUCCESS",
        "_temporary/0/a.parquet",
        "_committed_12/a.csv",
        "_versions/a.csv",
    ],
)
def test_other_names_are_no_tables(name: str) -> None:
    assert table_marks.tables(names(name, "a.csv")) == {}


@pytest.mark.parametrize(
    ("marks", "dead"),
    [
        (["_started_1", "_committed_1"], False),
        (["_started_1"], True),
        (["_started_1", "_committed_1", "_started_2"], True),
        (["_started_1", "_committed_1", "_started_2", "_committed_2"], True),
        (["_committed_1"], False),
    ],
)
def test_files_of_one_committed_write_are_live_and_of_more_are_not_known_to_be(marks: list[str], dead: bool) -> None:
    assert table_marks.tables(names(*marks, "part-0-tid-1-0.parquet")) == ({"": "Databricks"} if dead else {})


def test_only_tables_whose_files_are_chosen_are_refused() -> None:
    every = names("a.csv", "t/_delta_log/0.json", "t/part-0.parquet")
    table_marks.refuse(every, names("a.csv"), "s3://b/")
    with pytest.raises(InputError, match=r"'t/' in s3://b/ is a table in the Delta format") as caught:
        table_marks.refuse(every, names("t/part-0.parquet"), "s3://b/")
    assert caught.value.exit_code == 4


def test_an_empty_object_is_a_mark_only_where_others_lie_below_it() -> None:
    sizes = pa.chunked_array([pa.array([0, 0, 1, 0, 5])])
    listed = names("a", "a/b", "a/b/c.csv", "d.csv", "e")
    assert table_marks.folder_marks(listed, sizes) == ["a", "a/b"]
    assert table_marks.folder_marks(names("a", "a/b"), pa.chunked_array([pa.array([1, 1])])) == []
