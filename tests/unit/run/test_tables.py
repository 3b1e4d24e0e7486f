"""Layout ``columns`` read by the tasks themselves: every key's rows, in the order of the files, whatever the format."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LinearRegression

from job.config.settings import JobSettings
from job.errors import ConfigurationError, InputError
from job.plan import placing, table_files
from job.run.assembly import assemble
from job.run.planning import plan_alone
from job.worker import exchange, merge
from tests.support.folder_job import Job, counts


class Table(Job):
    """A table by store and item."""

    def settings(self, **sections: Any) -> JobSettings:
        given = {"layout": "columns", "key": ["store", "item"], **sections.pop("input", {})}
        return super().settings(input=given, **sections)


def sales(keys: int = 12, rows: int = 40, seed: int = 0) -> pd.DataFrame:
    """Rows of many keys in random order, with noise: a fit on another order of rows has other last bits."""
    random = np.random.default_rng(seed)
    number = random.permutation(np.repeat(np.arange(keys), rows))
    x = random.normal(size=len(number))
    return pd.DataFrame(
        {
            "store": [f"s {each // 3:02d}/é" for each in number],
            "item": number % 3,
            "x": x,
            "y": x * (number + 1) + random.normal(size=len(number)),
        }
    )


def parquet(frame: pd.DataFrame) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), sink, row_group_size=37)
    return sink.getvalue()


def arrow(frame: pd.DataFrame) -> bytes:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=29)
    return sink.getvalue()


def csv(frame: pd.DataFrame) -> bytes:
    return bytes(frame.to_csv(index=False).encode())


def tsv(frame: pd.DataFrame) -> bytes:
    return bytes(frame.to_csv(index=False, sep="\t").encode())


def lines(frame: pd.DataFrame) -> bytes:
    return bytes(frame.to_json(orient="records", lines=True, double_precision=15).encode())


FORMATS: dict[str, Callable[[pd.DataFrame], bytes]] = {
    "parquet": parquet,
    "arrow": arrow,
    "csv": csv,
    "tsv": tsv,
    "csv.gz": lambda frame: gzip.compress(csv(frame)),
    "csv.zst": lambda frame: bytes(pa.compress(csv(frame), "zstd", asbytes=True)),
    "jsonl": lines,
    "parquet.gz": lambda frame: gzip.compress(parquet(frame)),
}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Table(tmp_path)


def put(job: Job, frame: pd.DataFrame, kind: str = "parquet", parts: int = 3) -> None:
    size = -(-len(frame) // parts)
    for part in range(parts):
        job.put(f"p{part}.{kind}", FORMATS[kind](frame.iloc[part * size : (part + 1) * size]))


def expected(frame: pd.DataFrame) -> dict[str, Any]:
    found = {}
    for (store, item), rows in frame.groupby(["store", "item"], sort=False):
        found[f"store={str(store).replace('/', '%2F')}/item={item}"] = LinearRegression().fit(rows[["x"]], rows["y"])
    return found


def assert_equal(job: Job, frame: pd.DataFrame) -> None:
    """To the last bit, which only the same rows in the same order give."""
    models, wanted = job.models(), expected(frame)
    assert sorted(models) == sorted(wanted)
    for key, model in wanted.items():
        assert (models[key].coef_[0], models[key].intercept_) == (model.coef_[0], model.intercept_), key


@pytest.mark.parametrize("kind", FORMATS)
def test_models_of_a_table_are_those_of_scikit_learn_on_the_same_rows_in_the_order_of_the_files(
    job: Job, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("job.reader.text_scan.BLOCK", 1000)
    frame = sales()
    put(job, frame, kind)
    report = job.run()
    assert counts(report) == (12, 0, 0, 0)
    assert_equal(
        job, frame if kind != "jsonl" else pd.read_json(io.BytesIO(lines(frame)), lines=True, precise_float=True)
    )


def test_rows_that_are_exchanged_give_the_same_models_as_rows_that_are_not(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = sales()
    put(job, frame)
    placed = []
    place = placing.place

    def spread(layout: Any, due: Any, costs: Any, tasks: int, cores: int) -> Any:
        placed.append(place(layout, due, costs, 4, 3))
        return placed[-1]

    monkeypatch.setattr("job.run.run.placing.place", spread)
    # Tiny blobs and windows, and none that stays in memory.
    monkeypatch.setattr(exchange, "FLUSH_BYTES", 3000)
    monkeypatch.setattr(exchange, "BLOB_BYTES", 500)
    monkeypatch.setattr(merge, "WINDOW_BYTES", 2000)
    monkeypatch.setattr(merge, "HELD_BYTES", 0)
    assert counts(job.run()) == (12, 0, 0, 0)
    assert placed[0].readers == 3
    assert_equal(job, frame)


def test_a_table_that_is_sorted_by_its_key_is_not_exchanged_and_each_task_reads_its_own_part(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = sales().sort_values(["store", "item"], kind="stable")
    put(job, frame)
    placed = []
    place = placing.place

    def spread(layout: Any, due: Any, costs: Any, tasks: int, cores: int) -> Any:
        placed.append(place(layout, due, costs, 4, 4))
        return placed[-1]

    monkeypatch.setattr("job.run.run.placing.place", spread)
    assert counts(job.run()) == (12, 0, 0, 0)
    assert placed[0].readers == 0
    assert set(placed[0].assigned.tolist()) == {0, 1, 2, 3}
    assert placed[0].read_bytes <= 1.5 * placed[0].bytes
    assert_equal(job, frame)


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files whose rows were counted."""
    found: list[str] = []
    look_at = table_files.counted

    def watched(store: Any, file: dict[str, Any], *rest: Any, **options: Any) -> Any:
        found.append(file["name"])
        return look_at(store, file, *rest, **options)

    monkeypatch.setattr(table_files, "counted", watched)
    return found


def test_a_file_more_trains_the_keys_that_it_has_rows_of_and_no_other_file_is_read(
    job: Job, looked_at: list[str]
) -> None:
    frame = sales()
    put(job, frame)
    job.run()
    assert counts(job.run()) == (0, 12, 0, 0)
    more = sales(seed=1)
    more = more[(more["store"] == "s 01/é") & (more["item"] == 2)]
    job.put("p9.parquet", parquet(more))
    looked_at.clear()
    report = job.run()
    assert counts(report) == (1, 11, 0, 0)
    assert looked_at == ["p9.parquet"]
    assert_equal(job, pd.concat([frame, more]))


def planned_types(job: Job, *features: str, **given: Any) -> list[str]:
    """The types with which tasks would read the features."""
    table = plan_alone(assemble(job.settings(recipe={"features": list(features)}, input=given))).table
    assert table is not None
    return [str(table.scan.schema.field(name).type) for name in features]


def test_a_csv_column_that_a_recipe_begins_to_need_is_typed_as_numbers_after_its_file_is_counted_once_more(
    job: Job, looked_at: list[str]
) -> None:
    job.put("a.csv", csv(sales().assign(z=7, text="t")))
    job.run()
    assert looked_at == ["a.csv"]

    assert planned_types(job, "x", "z", "text") == ["double", "int64", "string"]
    assert len(looked_at) == 2
    job.run(recipe={"features": ["x", "z", "text"]})
    assert len(looked_at) == 3
    # What the record tells is enough for fewer columns, and for those that hold other texts.
    assert planned_types(job, "x", "text") == ["double", "string"]
    assert planned_types(job, "z") == ["int64"]
    assert len(looked_at) == 3


def test_a_csv_column_that_is_no_longer_declared_has_the_type_of_its_texts(job: Job, looked_at: list[str]) -> None:
    job.put("a.csv", csv(sales().assign(z=7)))
    schema = {"z": {"type": "float64", "optional": True}}
    job.run(recipe={"features": ["z"]}, input={"schema": schema})

    assert planned_types(job, "z", schema=schema) == ["double"]
    assert len(looked_at) == 1
    assert planned_types(job, "z") == ["int64"]


def test_the_same_rows_in_other_files_and_another_order_train_nothing(job: Job) -> None:
    frame = sales()
    put(job, frame)
    job.run()
    for path in job.data.iterdir():
        path.unlink()
    put(job, frame.sample(frac=1.0, random_state=1), parts=2)
    report = job.run()
    assert counts(report) == (0, 12, 0, 0)
    # They were read, and are recorded as they are now: next time they are not.
    assert report.totals.touched == 12
    assert job.run().totals.touched == 0


def test_cells_that_change_their_rows_are_a_change(job: Job) -> None:
    frame = sales()
    put(job, frame)
    job.run()
    one = frame.index[(frame["store"] == "s 00/é") & (frame["item"] == 0)][:2]
    swapped = frame.copy()
    swapped.loc[one, "x"] = frame.loc[one[::-1], "x"].to_numpy()
    put(job, swapped)
    assert counts(job.run()) == (1, 11, 0, 0)


KEYS: dict[str, tuple[pa.Array, list[str]]] = {
    "text": (pa.array(["a", "b/c", None, "é%="]), ["k=a", "k=b%2Fc", "k=__HIVE_DEFAULT_PARTITION__", "k=é%25%3D"]),
    "empty text": (pa.array(["", " ", "x", "y"]), ["k=", "k= ", "k=x", "k=y"]),
    "integer": (pa.array([7, -1, None, 12], pa.int16()), ["k=7", "k=-1", "k=__HIVE_DEFAULT_PARTITION__", "k=12"]),
    "boolean": (pa.array([True, False, None, None]), ["k=true", "k=false", "k=__HIVE_DEFAULT_PARTITION__"] * 1),
    "date": (
        pa.array([0, 19000, 1, 2], pa.int32()).cast(pa.date32()),
        ["k=1970-01-01", "k=2022-01-08", "k=1970-01-02", "k=1970-01-03"],
    ),
    "float": (pa.array([1.0, 1e7, -0.5, float("nan")]), ["k=1.0", "k=1.0E7", "k=-0.5", "k=NaN"]),
    "float32": (pa.array([0.1, 1.0, 2.5, 3.0], pa.float32()), ["k=0.1", "k=1.0", "k=2.5", "k=3.0"]),
    "decimal": (
        pa.array(["1.50", "0.00", "2.00", "-3.10"]).cast(pa.decimal128(9, 2)),
        ["k=1.50", "k=0.00", "k=2.00", "k=-3.10"],
    ),
    "time stamp": (
        pa.array([0, 500_000, 3_600_000_000, 86_400_000_000]).cast(pa.timestamp("us", "UTC")),
        ["k=1970-01-01 00:00:00", "k=1970-01-01 00:00:00.5", "k=1970-01-01 01:00:00", "k=1970-01-02 00:00:00"],
    ),
    "category": (pa.array(["u", "v", "u", None]).dictionary_encode(), ["k=u", "k=v", "k=__HIVE_DEFAULT_PARTITION__"]),
}
"""The texts are those that Spark's cast to string gives."""


@pytest.mark.parametrize("kind", KEYS)
def test_key_columns_of_every_type_have_the_text_that_spark_gives(job: Job, kind: str) -> None:
    values, keys = KEYS[kind]
    column = (
        pa.concat_arrays([values] * 4) if not pa.types.is_dictionary(values.type) else pa.chunked_array([values] * 4)
    )
    x = np.arange(16.0)
    pq.write_table(pa.table({"k": column, "x": x, "y": x * 2}), job.data / "a.parquet")
    report = job.run(input={"key": "k"})
    assert sorted(job.models()) == sorted(set(keys))
    assert report.totals.failed == 0


def test_csv_keys_are_the_exact_text_of_the_file_and_types_are_those_of_the_keys_own_rows(job: Job) -> None:
    rows = [
        f"{key},{x},{x * slope}"
        for key, slope in (("007", 1), ("07", 10), ("7", 100), ("1D", 2), ("1F", 3))
        for x in range(12)
    ]
    job.put("a.csv", ("shop,x,y\n" + "\n".join(rows) + "\n").encode())
    report = job.run(input={"key": "shop"})
    assert counts(report) == (5, 0, 0, 0)
    slopes = {key: round(float(model.coef_[0])) for key, model in job.models().items()}
    assert slopes == {"shop=007": 1, "shop=07": 10, "shop=7": 100, "shop=1D": 2, "shop=1F": 3}


def test_one_bad_cell_fails_its_key_and_no_other(job: Job) -> None:
    rows = [f"{store},{x},{x}" for x in range(12) for store in "AB"] + ["C,n/a,1"] + [f"C,{x},{x}" for x in range(9)]
    job.put("a.csv", ("store,x,y\n" + "\n".join(rows) + "\n").encode())
    report = job.run(input={"key": "store"}, run={"max_failed": 1})
    assert counts(report) == (2, 0, 0, 1)
    assert job.row("store=C")["reason"] == "non_numeric"
    declared = {"store": "string", "x": "float64", "y": "int64"}
    report = job.run(input={"key": "store", "schema": declared}, run={"max_failed": 1})
    assert counts(report) == (2, 0, 0, 1)
    row = job.row("store=C")
    assert (row["reason"], "a.csv: line 26, column 'x' is not double" in row["message"]) == ("schema_mismatch", True)


def test_a_row_that_cannot_be_told_apart_ends_the_run_with_file_and_line(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("job.reader.text_scan.BLOCK", 64)
    text = "k,x,y\n" + "".join(f"a,{x},{x}\n" for x in range(40))
    job.put("a.csv", (text + "a,1,2,secret\n" + "a,1,2\n" * 9).encode())
    with pytest.raises(InputError, match=r"a\.csv: line 42 has 4 fields, the header 3") as caught:
        job.run(input={"key": "k"})
    assert "secret" not in str(caught.value)
    job.put("a.csv", (text + 'a,"1,2\n' + "a,1,2\n" * 9).encode())
    with pytest.raises(InputError, match=r"a\.csv: .*a quote is opened and not closed"):
        job.run(input={"key": "k"})


def test_quoted_line_breaks_a_byte_order_mark_and_other_encodings_are_read_right(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("job.reader.text_scan.BLOCK", 50)
    rows = "".join(f'"shop\n{number % 2}, ""é""",{number},{number * (number % 2 + 1)}\r\n' for number in range(40))
    for name, encoding in (("utf-8-sig", "utf-8"), ("latin-1", "latin-1"), ("utf-16", "utf-16")):
        job.put("a.csv", ("k,x,y\r\n" + rows).encode(name))
        report = job.run(input={"key": "k", "format": {"encoding": encoding}})
        assert report.totals.planned == 2, name
        slopes = {key: round(float(model.coef_[0])) for key, model in job.models().items()}
        assert slopes == {'k=shop%0A0, "é"': 1, 'k=shop%0A1, "é"': 2}


def test_files_with_other_columns_or_types_are_named_unless_a_column_is_declared_optional(job: Job) -> None:
    table = pa.table({"k": [1] * 4, "x": [1.0, 2, 3, 4], "y": [2.0, 4, 6, 8]})
    pq.write_table(table, job.data / "a.parquet")
    pq.write_table(table.append_column("z", pa.array([1.0, 0, 1, 1])), job.data / "b.parquet")
    key = {"key": "k"}
    with pytest.raises(InputError, match=r"a\.parquet lacks 'z'") as caught:
        job.run(input=key)
    assert "input.schema: {z: {type: double, optional: true}}" in caught.value.hint
    # The hint is enough, and a schema of all columns is fine, too.
    assert counts(job.run(input={**key, "schema": {"z": {"type": "double", "optional": True}}})) == (1, 0, 0, 0)
    schema = {"k": "int64", "x": "float64", "y": "float64", "z": {"type": "float64", "optional": True}}
    assert counts(job.run(input={**key, "schema": schema}))[3] == 0
    assert job.row("k=1")["rows"] == 8
    report = job.run(input={**key, "schema": schema}, recipe={"features": ["x", "z"]}, run={"max_failed": 1})
    assert report.failures == {"missing_values": 1}
    pq.write_table(table.set_column(1, "x", pa.array(["a", "b", "c", "d"])), job.data / "b.parquet")
    with pytest.raises(InputError, match=r"'x' is double in a\.parquet and string in b\.parquet"):
        job.run(input=key)
    pq.write_table(table.set_column(1, "x", pa.array([1, 2, 3, 4], pa.int32())), job.data / "b.parquet")
    assert counts(job.run(input=key)) == (1, 0, 0, 0)


def test_only_needed_columns_are_read_and_a_stored_index_is_no_feature(job: Job) -> None:
    frame = sales()
    frame.index = np.arange(len(frame)) * 7
    nested = pa.array([{"a": [1]}] * len(frame))
    table = pa.Table.from_pandas(frame).append_column("nested", nested)
    pq.write_table(table, job.data / "a.parquet")
    assert counts(job.run()) == (12, 0, 0, 0)
    assert_equal(job, frame)
    pq.write_table(pa.Table.from_pandas(frame), job.data / "a.parquet")
    job.run(recipe={"features": None})
    assert list(job.models()["store=s 00%2Fé/item=0"].feature_names_in_) == ["x"]


def test_directories_give_columns_that_win_over_the_files_and_are_numbers_where_they_look_like_them(job: Job) -> None:
    for store in ("01", "1"):
        for month in (1, 2):
            x = np.arange(6.0)
            rows = pd.DataFrame({"store": 99, "x": x, "y": x * int(store) + month * 10})
            job.put(f"store={store}/month={month}/p.parquet", parquet(rows))
    report = job.run(input={"key": "store"}, recipe={"features": ["x", "month"]})
    assert counts(report) == (2, 0, 0, 0)
    assert sorted(job.models()) == ["store=01", "store=1"]
    assert job.models()["store=1"].coef_.round(6).tolist() == [1.0, 10.0]
    schema = {"store": "int64", "x": "float64", "y": "float64", "month": "float64"}
    assert counts(job.run(input={"key": "store", "schema": schema}, recipe={"features": ["x", "month"]})) == (
        2,
        0,
        0,
        0,
    )


def test_a_column_that_is_not_there_and_a_key_without_a_text_are_told_before_anything_runs(job: Job) -> None:
    put(job, sales())
    with pytest.raises(ConfigurationError, match="no column 'stroe'") as caught:
        job.run(input={"key": "stroe"})
    assert "Did you mean 'store'" in str(caught.value)
    with pytest.raises(ConfigurationError, match="no column 'xx'") as caught:
        job.run(recipe={"features": ["xx"]})
    assert "Did you mean 'x'" in str(caught.value)
    pq.write_table(pa.table({"k": [[1]], "x": [1.0], "y": [2.0]}), job.data / "p0.parquet")
    (job.data / "p1.parquet").unlink()
    (job.data / "p2.parquet").unlink()
    with pytest.raises(ConfigurationError, match=r"column 'k' is of type list.*, which has no text"):
        job.run(input={"key": "k"})


def test_a_file_that_is_replaced_after_the_plan_ends_the_run_and_publishes_nothing(job: Job) -> None:
    from job.engine.inline import InlineEngine

    put(job, sales())

    class Meanwhile(InlineEngine):
        def run(self, *arguments: Any) -> Any:
            job.put("p1.parquet", parquet(sales(seed=5)))
            return super().run(*arguments)

    with pytest.raises(InputError, match=r"p1\.parquet was replaced while the table was read"):
        job.run(lambda _: Meanwhile())
    assert counts(job.run()) == (12, 0, 0, 0)


def test_rows_are_sorted_by_the_columns_that_order_them(job: Job) -> None:
    frame = sales().assign(day=lambda each: np.random.default_rng(3).permutation(len(each)))
    put(job, frame)
    job.run(input={"order_by": ["day"]})
    assert_equal(job, frame.sort_values("day"))


def test_a_key_that_kills_its_process_is_one_row_and_the_others_are_trained(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later attempt reads the same blobs, and fits in a guarded child."""
    from job.worker.direct import work_on

    put(job, sales())
    (job.data.parent / "recipe.py").write_text(
        "import os\nfrom sklearn.linear_model import LinearRegression\n"
        "def fit(frame, key):\n"
        "    if key.endswith('item=1'):\n        os._exit(9)\n"
        "    return LinearRegression().fit(frame[['x']], frame['y'])\n"
    )
    monkeypatch.setattr("job.engine.inline.work_on", lambda work, task, attempt, **more: work_on(work, task, 1, **more))
    function = {"function": f"{job.data.parent / 'recipe.py'}:fit", "estimator": None, "features": None, "target": None}
    report = job.run(recipe=function, run={"max_failed": "100%"})
    assert counts(report) == (8, 0, 0, 4)
    assert report.failures == {"worker_died": 4}


def test_a_plan_tells_rows_keys_the_largest_key_and_whether_rows_are_exchanged_and_starts_nothing(job: Job) -> None:
    from job.cli.screens import plan_document

    def planned(frame: pd.DataFrame, kind: str = "parquet") -> dict[str, Any]:
        put(job, frame, kind)
        assembly = assemble(job.settings())
        found: dict[str, Any] = plan_document(plan_alone(assembly), assembly, keys=False)["table"]
        return found

    frame = pd.concat([sales(), sales(1, 100)])
    found = planned(frame)
    assert (found["rows"], found["keys"], found["files"], found["exchange"]) == (580, 12, 3, True)
    assert (found["largest_key"], found["largest_rows"]) == ("store=s 00%2Fé/item=0", 140)
    assert not job.out.exists()
    found = planned(frame.sort_values(["store", "item"]))
    assert found["exchange"] is False
    assert "lie together" in found["why"]
    for path in job.data.iterdir():
        path.unlink()
    assert planned(frame, "csv.gz")["one_core"] == 3
