"""Layout ``columns``: the rows of a table by key columns, counted first, placed where the plan says, fitted once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from job import engine as engines
from job.errors import ConfigurationError, InputError
from tests.support.spark_jobs import Job, SharedEngine

pytestmark = pytest.mark.spark


def sales(keys: int = 30, rows: int = 12) -> pd.DataFrame:
    """Interleaved rows of many keys; one key is null."""
    number = np.tile(np.arange(keys), rows)
    x = np.repeat(np.arange(rows), keys).astype(float)
    names = [None if each == 0 else f"shop {each:02d}/é=%" for each in number]
    return pd.DataFrame({"shop": names, "item": number % 3, "x": x, "y": x * (number + 1), "note": "n"})


def key(number: int) -> str:
    shop = "__HIVE_DEFAULT_PARTITION__" if number == 0 else f"shop {number:02d}%2Fé%3D%25"
    return f"shop={shop}/item={number % 3}"


@pytest.fixture
def table(job: Job) -> Job:
    job.sections["input"] = {"layout": "columns", "key": ["shop", "item"], "reader": "spark"}
    frame = sales()
    for part in range(3):
        pq.write_table(
            pa.Table.from_pandas(frame.iloc[part::3], preserve_index=False), job.put(f"p{part}.parquet", b"")
        )
    return job


def test_every_key_null_too_is_fitted_on_all_its_rows_with_one_sized_shuffle(table: Job) -> None:
    report = table.run()
    assert (report.totals.planned, report.totals.trained) == (30, 30)
    assert table.slopes() == {key(number): number + 1 for number in range(30)}
    assert {row["rows"] for row in table.rows().values()} == {12}
    assert report.spark["shuffle_write_bytes"] > 0
    # Nothing changed: nothing is read, and Spark is not started.
    again = table.run()
    assert (again.totals.unchanged, again.totals.trained, table.engines) == (30, 0, 1)


def test_a_new_file_trains_only_the_keys_whose_rows_changed(table: Job) -> None:
    table.run()
    new = pd.DataFrame(
        {"shop": ["shop 05/é=%", "new"], "item": [2, 1], "x": [100.0, 1.0], "y": [0.0, 2.0], "note": "n"}
    )
    more = pd.concat([new, new.iloc[1:].assign(x=2.0, y=4.0), new.iloc[1:].assign(x=3.0, y=6.0)])
    pq.write_table(pa.Table.from_pandas(more, preserve_index=False), table.put("p9.parquet", b""))
    report = table.run()
    assert (report.totals.trained, report.totals.unchanged, report.totals.touched) == (2, 29, 29)
    assert table.rows()[key(5)]["rows"] == 13
    assert table.slopes()["shop=new/item=1"] == 2


def test_the_same_rows_in_another_order_and_other_files_are_unchanged(table: Job) -> None:
    table.run()
    for path in table.data.iterdir():
        path.unlink()
    frame = sales().sample(frac=1.0, random_state=3)
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), table.put("all.parquet", b""))
    report = table.run()
    assert (report.totals.trained, report.totals.unchanged) == (0, 30)


def test_filters_apply_to_keys_and_a_key_that_is_gone_is_kept_and_said(table: Job) -> None:
    report = table.run(input={"limit": 7})
    assert (report.totals.planned, report.totals.trained) == (7, 7)
    # The listing is the same; the keys that were never trained are known, and due.
    assert (table.run().totals.trained, table.engines) == (23, 2)
    for path in table.data.iterdir():
        kept = pq.read_table(path).to_pandas()
        pq.write_table(pa.Table.from_pandas(kept[kept["shop"] != "shop 03/é=%"], preserve_index=False), path)
    report = table.run()
    assert (report.totals.gone, report.totals.planned, report.totals.touched) == (1, 29, 29)
    assert table.rows()[key(3)]["gone_since"] is not None


def test_csv_in_hive_directories_keeps_their_names_as_exact_text_and_key_columns_can_be_features(job: Job) -> None:
    job.sections["input"] = {"layout": "columns", "key": ["store", "day"], "reader": "spark"}
    for store in ("01", "1"):
        for part in range(2):
            rows = "".join(f"{day},{x},{x * (day + int(store) * part)}\n" for day in (1, 2) for x in range(4))
            job.put(f"store={store}/p{part}.csv", "day,x,y\n" + rows)
    report = job.run(recipe={"features": ["x", "store", "day"]})
    assert report.totals.trained == 4, report
    assert sorted(job.rows()) == ["store=01/day=1", "store=01/day=2", "store=1/day=1", "store=1/day=2"]
    assert list(job.models["store=01/day=1"].feature_names_in_) == ["x", "store", "day"]


def test_a_damaged_row_a_wrong_key_and_a_missing_column_end_before_anything_is_published(job: Job) -> None:
    job.sections["input"] = {"layout": "columns", "key": "k", "reader": "spark"}
    job.put("a.csv", "k,x,y\n1,2,3\n1,2,3,secret-value\n")
    with pytest.raises(InputError, match="damaged or has another number of fields") as caught:
        job.run(recipe={"features": None})
    assert "secret-value" not in str(caught.value)
    job.put("a.csv", "k,x,y\n1,2,3\n1,2,3\n")
    job.put("b.csv", "k,y,x\n1,2,3\n")
    with pytest.raises(InputError, match=r"the header of .*in put/[ab]\.csv is not that"):
        job.run()
    (job.data / "b.csv").unlink()
    with pytest.raises(ConfigurationError, match="no column 'kk'"):
        job.run(input={"key": "kk"})
    with pytest.raises(ConfigurationError, match="no column 'xx'") as told:
        job.run(recipe={"features": ["xx"]})
    assert "Did you mean 'x'" in str(told.value)
    assert job.rows() == {}


def test_files_whose_columns_cannot_be_one_table_and_damaged_ones_are_named(job: Job) -> None:
    job.sections["input"] = {"layout": "columns", "key": "k", "reader": "spark"}
    pq.write_table(pa.table({"k": [1], "x": [1.0], "y": [2.0]}), job.put("a.parquet", b""))
    pq.write_table(pa.table({"k": [1], "x": ["text"], "y": [2.0]}), job.put("b.parquet", b""))
    with pytest.raises(InputError, match="Spark could not read"):
        job.run()
    (job.data / "b.parquet").write_bytes((job.data / "a.parquet").read_bytes()[:-20])
    with pytest.raises(InputError, match=r"Spark could not read .*b\.parquet"):
        job.run()
    # What only some files have is there, and missing elsewhere.
    pq.write_table(
        pa.table({"k": [1] * 3, "x": [1.0, 2, 3], "y": [2.0, 4, 6], "z": [1.0, 2, 3]}), job.data / "b.parquet"
    )
    report = job.run(recipe={"features": ["x", "z"]})
    assert report.failures == {"missing_values": 1}


def test_a_file_replaced_while_the_table_is_read_publishes_nothing(table: Job) -> None:
    class Meanwhile(SharedEngine):
        def run(self, *arguments: Any) -> Any:
            report = super().run(*arguments)
            path = table.data / "p1.parquet"
            pq.write_table(pq.read_table(path).slice(1), path)
            return report

    with pytest.raises(InputError, match=r"1 files of the table were replaced .* 'p1.parquet'"):
        table.run(Meanwhile)
    assert table.rows() == {}
    assert table.run().totals.planned == 30


def test_an_estimator_that_kills_its_process_is_a_named_row_and_the_others_are_trained(table: Job) -> None:
    (table.data.parent / "recipe.py").write_text(
        "import os\n"
        "from sklearn.linear_model import LinearRegression\n"
        "def fit(frame, key):\n"
        "    if key.startswith('shop=shop 07'):\n"
        "        os._exit(9)\n"
        "    return LinearRegression().fit(frame[['x']], frame['y'])\n"
    )
    function = {
        "function": f"{table.data.parent / 'recipe.py'}:fit",
        "estimator": None,
        "features": None,
        "target": None,
    }
    report = table.run(recipe=function)
    assert (report.totals.trained, report.totals.failed) == (29, 1)
    assert table.rows()[key(7)]["reason"] == "worker_died"


def test_csv_json_and_formats_of_sparks_give_the_same_models_also_gzipped_and_from_some_files_only(job: Job) -> None:
    import gzip

    frame = pd.DataFrame({"k": [1, 2] * 6, "x": np.repeat(np.arange(6.0), 2)}).assign(y=lambda each: each.x * each.k)
    text = frame.to_csv(index=False)
    half = frame.iloc[:6], frame.iloc[6:]
    job.put("csv/a.csv", half[0].to_csv(index=False))
    job.put("csv/deep/b.csv.gz", gzip.compress(half[1].to_csv(index=False).encode()))
    job.put("csv/other.txt", "not,the,table\n")
    job.put("json/a.jsonl", frame.to_json(orient="records", lines=True))
    job.put("tsv/a.tsv", text.replace(",", "\t"))
    from pyarrow import orc

    orc.write_table(pa.Table.from_pandas(frame, preserve_index=False), job.put("orc/a.orc", b""))
    job.sections["input"] = {"layout": "columns", "key": "k", "reader": "spark"}
    root, out, digests = job.data, job.out, set()
    for kind, more in (("csv", {"match": ["**/*.csv*"]}), ("json", {}), ("tsv", {}), ("orc", {})):
        job.data, job.out = root / kind, out.with_name(kind)
        report = job.run(input={**more, "uri": str(job.data)}, output={"uri": str(job.out)})
        assert job.slopes() == {"k=1": 1, "k=2": 2}, kind
        digests.add(job.rows()["k=2"]["digest"])
        assert report.totals.trained == 2, kind
    assert len(digests) == 1


def test_key_columns_of_every_type_have_one_text_and_declared_types_are_kept(job: Job) -> None:
    job.sections["input"] = {
        "layout": "columns",
        "key": ["day", "flag", "part"],
        "reader": "spark",
        "schema": {"day": "date", "flag": "bool", "part": "float64", "x": "int64", "y": "float64"},
    }
    rows = "".join(f"2024-02-0{day},true,1.5,{x},{x * day}\n" for day in (1, 2) for x in range(5))
    job.put("a.csv", "day,flag,part,x,y\n" + rows)
    assert job.run().totals.trained == 2
    assert job.slopes() == {f"day=2024-02-0{day}/flag=true/part=1.5": day for day in (1, 2)}
    job.put("a.csv", "day,flag,x,part,y\n" + rows)
    with pytest.raises(InputError, match=r"the header of .* is not that of input.schema"):
        job.run()


MEETING = """
import glob, os, time
from sklearn.linear_model import LinearRegression

def fit(frame, key):
    open("{folder}/worker-%d" % os.getpid(), "w").close()
    end = time.monotonic() + 120
    while len(glob.glob("{folder}/worker-*")) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    return LinearRegression().fit(frame[["x"]], frame["y"])
"""
"""Nobody ends before two workers have begun: else a quick one might do the work of both."""


def test_adaptive_execution_does_not_fold_the_tasks(table: Job) -> None:
    folder = table.data.parent
    (folder / "recipe.py").write_text(MEETING.replace("{folder}", str(folder)))
    function = {"function": f"{folder / 'recipe.py'}:fit", "estimator": None, "features": None, "target": None}
    conf = {"spark.sql.adaptive.enabled": "true"}
    frame = pd.concat([sales()] * 5)
    for path in table.data.iterdir():
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)
    report = table.run(spark={"conf": conf}, recipe=function)
    assert report.totals.trained == 30
    # Two cores, two lists: both had keys.
    assert table.slopes() == {key(number): number + 1 for number in range(30)}
    from job import run_paths
    from job.config.settings import StorageSide
    from job.outcome import TRAINED
    from job.store import open_store
    from job.worker.segment import read

    outcomes = read(open_store(str(table.out), StorageSide()), run_paths.segments(report.run)).to_pylist()
    assert {row["task"] for row in outcomes if row["status"] == TRAINED} == {0, 1}
    assert len({row["worker"] for row in outcomes}) == 2


def test_an_unknown_format_and_a_text_that_java_cannot_unpack_are_told_before_anything_runs(job: Job) -> None:
    job.sections["input"] = {"layout": "columns", "key": "k", "reader": "spark"}
    job.put("a.csv.zst", b"x")
    with pytest.raises(ConfigurationError, match=r"cannot unpack 'a\.csv\.zst'"):
        job.run()
    with pytest.raises(ConfigurationError, match="Spark knows no format 'dleta'"):
        job.run(input={"format": "dleta"})
    with pytest.raises(ConfigurationError, match="inline has no Spark"):
        job.run(engines.make, input={"format": "orc"}, spark={"master": "inline"})
