"""What Spark reads, seen from the driver: roots, formats, states, counted keys."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from job.config.settings import JobSettings, StorageSide
from job.errors import ConfigurationError, InputError
from job.plan import spark_read, table_keys
from job.plan.spark_read import BINARY, TableRead
from job.reader import ReadSpec
from job.store import open_store


def settings(**chosen: Any) -> JobSettings:
    return JobSettings.model_validate(
        {
            "input": {"uri": "/data/in", "layout": "columns", "key": ["store"], **chosen},
            "recipe": {"estimator": {"_target_": "sklearn.linear_model.LinearRegression"}},
            "output": {"uri": "/data/out"},
        }
    )


def read(*names: str, some: bool = False, **chosen: Any) -> TableRead:
    store = open_store("/data/in", StorageSide())
    return spark_read.of_table(settings(**chosen), store, names, some=some, spec=ReadSpec())


def listing(*names: str, etag: str = "e") -> pa.Table:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    rows = {"name": list(names), "size": [100] * len(names), "etag": [etag] * len(names), "modified": [at] * len(names)}
    kinds = {"name": pa.string(), "size": pa.int64(), "etag": pa.string(), "modified": pa.timestamp("us", "UTC")}
    return pa.table(rows, schema=pa.schema(kinds))


@pytest.mark.parametrize(
    ("uri", "written", "root"),
    [
        ("/data/a b%20", "/data/a b%20/", "file:/data/a b%20"),
        ("s3://bucket/p", "s3a://bucket/p/", "s3a://bucket/p"),
        ("gs://bucket/p", "gs://bucket/p", "gs://bucket/p"),
        ("az://c/p", "abfss://c@a.dfs.core.windows.net/p/", "abfss://c@a.dfs.core.windows.net/p"),
    ],
)
def test_a_store_has_the_name_that_hadoop_gives_it(uri: str, written: str, root: str) -> None:
    assert spark_read.hadoop_root(uri, written) == root


@pytest.mark.parametrize("written", ["az://container/p", "memory://x"])
def test_what_spark_cannot_reach_is_refused_with_the_way_out(written: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read by Spark") as caught:
        spark_read.hadoop_root(written, written)
    assert "reader: direct" in caught.value.hint


def test_objects_in_our_formats_are_handed_over_whole_and_others_by_spark() -> None:
    store = open_store("/data/in", StorageSide())
    chosen = {"layout": "objects", "key": None, "reader": "spark"}
    assert spark_read.of_objects(settings(**{**chosen, "reader": "direct"}), store) is None
    whole = spark_read.of_objects(settings(**chosen), store)
    assert whole is not None
    assert (whole.format, whole.whole, whole.shuffled) == (BINARY, True, False)
    orc = spark_read.of_objects(settings(**chosen, format={"type": "orc", "options": {"a": "b"}}), store)
    assert orc is not None
    assert (orc.format, orc.options, orc.whole) == ("orc", {"a": "b"}, False)


def test_csv_is_read_strictly_and_with_the_options_of_the_job() -> None:
    found = read("a.csv", "b.csv.gz", format={"delimiter": ";", "quote": "'", "null_values": ["NA"]})
    wanted = {"mode": "FAILFAST", "header": "true", "inferSchema": "true", "sep": ";", "quote": "'", "escape": "'"}
    assert found.format == "csv"
    assert {**found.options, **wanted} == found.options
    assert found.options["nullValue"] == "NA"
    assert found.options["recursiveFileLookup"] == "true"
    assert read("a.tsv").options["sep"] == "\t"
    assert read("a.csv", schema={"store": "int64"}).options["inferSchema"] == "false"


def test_directories_give_columns_and_only_some_files_are_named() -> None:
    found = read("store=1/a.parquet", "store=2/a.parquet", some=True)
    assert (found.format, found.partitioned) == ("parquet", ("store",))
    assert found.paths == ("file:/data/in/store=1/a.parquet", "file:/data/in/store=2/a.parquet")
    assert found.options == {"mode": "FAILFAST", "mergeSchema": "true"}


@pytest.mark.parametrize(
    ("names", "chosen", "message"),
    [
        (("a.csv", "b.parquet"), {}, r"cannot be told from its files' names \(found: csv, parquet\)"),
        (("a.arrow",), {}, "does not read arrow"),
        (("a.csv.zst",), {}, "cannot unpack"),
        (("a.csv",), {"format": {"null_values": ["", "NA"]}}, "has 2 texts"),
        (("a.csv",), {"format": {"decimal": ",", "delimiter": ";"}}, "decimal point only"),
        (("store=1/a.csv", "b.csv"), {}, "different k=v directories"),
    ],
)
def test_what_spark_would_read_wrongly_is_refused_before(names: Any, chosen: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read(*names, **chosen)


def test_the_state_of_a_table_depends_on_its_files_and_on_how_keys_are_read() -> None:
    found, chosen = listing("a.csv", "b.csv"), settings().input
    state = table_keys.state(found, chosen)
    assert state == table_keys.state(found, settings(limit=3).input)
    assert state != table_keys.state(listing("a.csv"), chosen)
    assert state != table_keys.state(listing("a.csv", "b.csv", etag="f"), chosen)
    assert state != table_keys.state(found, settings(key=["item"]).input)
    assert state != table_keys.state(found, settings(format={"delimiter": ";"}).input)


def test_hidden_files_belong_to_a_table_with_a_log_and_to_no_other() -> None:
    names = ("_delta_log/0.json", "a.parquet", "_SUCCESS")
    files, ignored, _ = table_keys.files(listing(*names), settings().input)
    assert (files["name"].to_pylist(), ignored) == (["a.parquet"], 2)
    files, ignored, _ = table_keys.files(listing(*names), settings(format="delta").input)
    assert (files["name"].to_pylist(), ignored) == (sorted(names), 0)


def counts(**rows: int) -> pa.Table:
    return pa.table({"key": sorted(rows), "rows": [rows[key] for key in sorted(rows)]}, schema=table_keys.COUNTS)


def test_keys_are_counted_once_for_each_state_and_only_a_run_keeps_them() -> None:
    output = open_store(f"memory://{uuid.uuid4().hex}", StorageSide())
    found, asked = listing("a.csv", "b.csv"), []

    def count() -> pa.Table:
        asked.append(1)
        return counts(a=30, b=10)

    def select(still: Any) -> Any:
        return table_keys.select(found, settings(), output, ignored=0, unmatched=0, count=count, still=still)

    state = table_keys.state(found, settings().input)
    select(None)
    select(lambda: "the table changed meanwhile")
    selected = select(lambda: state)
    assert len(asked) == 3
    again = select(None)
    assert len(asked) == 3
    assert again.objects.equals(selected.objects)
    assert selected.complete
    assert selected.objects["size"].to_pylist() == [150, 50]
    assert [table_keys.rows_of(etag) for etag in selected.objects["etag"].to_pylist()] == [30, 10]


def test_an_empty_table_and_filters_that_leave_nothing_are_input_errors() -> None:
    output = open_store(f"memory://{uuid.uuid4().hex}", StorageSide())

    def select(job: JobSettings, found: pa.Table) -> Any:
        return table_keys.select(listing("a.csv"), job, output, ignored=0, unmatched=0, count=lambda: found, still=None)

    with pytest.raises(InputError, match="has no row"):
        select(settings(), counts())
    with pytest.raises(InputError, match="no key is left"):
        select(settings(include=["z*"]), counts(a=1))
    assert not select(settings(include=["a*"]), counts(a=1, b=2)).complete


def test_files_that_are_new_are_no_replacement() -> None:
    before = listing("a", "b")
    assert table_keys.replaced(before, listing("a", "b", "c")) == []
    assert table_keys.replaced(before, listing("b")) == ["a"]
    assert table_keys.replaced(before, listing("a", "b", etag="f")) == ["a", "b"]


def test_files_of_0_bytes_are_left_out_by_name_and_markers_need_no_names() -> None:
    found = listing("a.parquet", "b.parquet", "_SUCCESS")
    sizes = found.schema.get_field_index("size")

    def with_sizes(*given: int) -> pa.Table:
        return found.set_column(sizes, "size", pa.array(given, pa.int64()))

    assert table_keys.has_empty(with_sizes(100, 0, 0), settings().input)
    assert not table_keys.has_empty(with_sizes(100, 100, 0), settings().input)
    assert not table_keys.has_empty(with_sizes(100, 0, 0), settings(format="delta").input)
