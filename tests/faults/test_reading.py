"""Inputs that people stumbled over, from public reports, with data of our own: the model is that of plain pandas and scikit-learn."""

from __future__ import annotations

import io
import json
import os
import socket
import textwrap
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from job.errors import InputError
from tests.support.folder_job import Job, counts

ENCODED = {
    "_target_": "sklearn.pipeline.Pipeline",
    "steps": [
        ["encode", {"_target_": "sklearn.preprocessing.OneHotEncoder", "handle_unknown": "ignore"}],
        ["fit", {"_target_": "sklearn.linear_model.Ridge", "alpha": 0.001}],
    ],
}
READ = {"float_precision": "round_trip", "keep_default_na": False, "na_values": [""], "low_memory": False}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def encoded(frame: pd.DataFrame, target: pd.Series) -> Any:
    return make_pipeline(OneHotEncoder(handle_unknown="ignore"), Ridge(alpha=0.001)).fit(frame, target)


def parquet(frame: pd.DataFrame | pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    if isinstance(frame, pd.DataFrame):
        frame.to_parquet(sink, **options)
    else:
        pq.write_table(frame, sink, **options)
    return sink.getvalue()


@pytest.mark.parametrize(
    "values",
    [
        ["2024-01-01", "2024-02-01", "2024-03-01"],
        ["2024-01-01 10:00:00", "2024-02-01 11:00:00", "2024-02-01 12:00:00"],
        ["08:00", "12:00", "18:00"],
        ["0x1F", "0x2F", "0x3F"],
        ["1D", "1F", "2D"],
        ["1e5", "2e5", "3e5"],
        ["007", "07", "7"],
        ["TRUE", "true", "False"],
        ["yes", "no", "nan"],
        ["89014103211118510720", "89014103211118510721", "89014103211118510722"],
        ["9223372036854775807", "9223372036854775806", "1"],
        ["18446744073709551615", "18446744073709551614", "1"],
    ],
    ids=str,
)
def test_categories_of_csv_are_those_of_pandas(job: Job, values: list[str]) -> None:
    rows = [(value, 10 * number + noise / 100) for number, value in enumerate(values) for noise in range(20)]
    data = "code,y\n" + "".join(f"{code},{y}\n" for code, y in rows)
    job.put("shop.csv", data.encode())
    job.run(recipe={"features": ["code"], "estimator": ENCODED})

    frame = pd.read_csv(io.StringIO(data), **READ)
    model, plain = job.models()["shop"], encoded(frame[["code"]], frame["y"])
    assert model[0].categories_[0].tolist() == plain[0].categories_[0].tolist()
    assert np.array_equal(model.predict(frame[["code"]]), plain.predict(frame[["code"]]))


def test_texts_of_json_are_categories_as_they_stand(job: Job) -> None:
    lines = [f'{{"day": "2024-0{1 + n % 3}-01", "slot": "08:00", "y": {n % 3}.5}}' for n in range(30)]
    job.put("shop.jsonl", "\n".join(lines).encode())
    job.run(recipe={"features": ["day", "slot"], "estimator": ENCODED})
    assert [each.tolist() for each in job.models()["shop"][0].categories_] == [
        ["2024-01-01", "2024-02-01", "2024-03-01"],
        ["08:00"],
    ]


def test_a_date_as_a_target_is_a_class(job: Job) -> None:
    job.put("shop.csv", ("day,y\n" + "2024-01-01,1\n2024-02-01,2\n" * 5).encode())
    tree = {"_target_": "sklearn.tree.DecisionTreeClassifier"}
    job.run(recipe={"features": ["y"], "target": "day", "estimator": tree})
    assert job.models()["shop"].classes_.tolist() == ["2024-01-01", "2024-02-01"]


HOURS = """
    from sklearn.linear_model import LinearRegression
    def fit(frame, key):
        hours = (frame["at"].astype("int64") // 10**9 / 3600).to_frame("hours")
        model = LinearRegression().fit(hours, frame["y"])
        return model, {"r2": model.score(hours, frame["y"]), "dtype": float(str(frame["at"].dtype) == "datetime64[ns]")}
"""


def test_times_have_one_unit_in_functions_from_whatever_file(job: Job, tmp_path: Path) -> None:
    at = pd.date_range("2024-01-01", periods=200, freq="h")
    frame = pd.DataFrame({"at": at, "y": np.arange(200) * 2.0 + 5})
    job.put("csv.csv", frame.to_csv(index=False).encode())
    for unit in ("s", "ms", "us", "ns"):
        job.put(f"{unit}.parquet", parquet(frame.assign(at=at.astype(f"datetime64[{unit}]")), index=False))
    (tmp_path / "rec.py").write_text(textwrap.dedent(HOURS))
    recipe = {"function": f"{tmp_path / 'rec.py'}:fit", "estimator": None, "features": None, "target": None}

    failed = job.run(recipe=recipe)
    assert failed.totals.failed == 1
    assert "input.times: {at: iso}" in failed.examples[0]["message"]
    assert counts(job.run(recipe=recipe, input={"times": {"at": "iso"}})) == (5, 0, 0, 0)
    for key in job.models():
        assert json.loads(job.row(key)["metrics"]) == {"r2": pytest.approx(1.0), "dtype": 1.0}


def test_a_decimal_is_the_float_that_people_write(job: Job) -> None:
    points = [Decimal("0.35"), Decimal("0.70"), Decimal("1.13"), Decimal("2.00")] * 15
    sold = [40.0, 30.0, 20.0, 5.0] * 15
    for name, kind in (("a", pa.decimal128(10, 2)), ("b", pa.decimal256(50, 20))):
        job.put(f"{name}.parquet", parquet(pa.table({"x": pa.array(points, kind), "y": sold})))
    job.run(recipe={"features": ["x"], "estimator": ENCODED})
    for key in "ab":
        model = job.models()[key]
        assert model[0].categories_[0].tolist() == [0.35, 0.7, 1.13, 2.0]
        assert model.predict(pd.DataFrame({"x": [0.35, 0.70, 1.13, 2.0]})).round(2).tolist() == [40, 30, 20, 5]


CITIES = ["n", "s", "w"] * 10
STORED: dict[str, Any] = {
    "string": pa.array(CITIES),
    "large": pa.array(CITIES, pa.large_string()),
    "view": pa.array(CITIES, pa.string_view()),
    "ends": pc.run_end_encode(pa.array(CITIES)),
    **{
        f"codes-{index}": pa.array(CITIES).dictionary_encode().cast(pa.dictionary(index, pa.string()))
        for index in (pa.int8(), pa.uint8(), pa.uint32(), pa.int64())
    },
    "half": pa.array([7.0, 8.0, 9.0] * 10, pa.float16()),
    "uint64": pa.array([7, 8, 9] * 10, pa.uint64()),
    "decimal-codes": pa.array([Decimal("0.7"), Decimal("0.8"), Decimal("0.9")] * 10).dictionary_encode(),
}


@pytest.mark.parametrize("name", STORED)
def test_a_category_is_its_value_however_it_is_stored(job: Job, name: str) -> None:
    table = pa.table({"x": STORED[name], "y": [1.0, 2.0, 4.0] * 10})
    with pa.OSFile(str(job.data / "a.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    job.run(recipe={"features": ["x"], "estimator": ENCODED})
    values = [7, 8, 9] if name in ("half", "uint64") else [0.7, 0.8, 0.9] if "decimal" in name else ["n", "s", "w"]
    model = job.models()["a"]
    assert model[0].categories_[0].tolist() == values
    assert model.predict(pd.DataFrame({"x": values})).round(2).tolist() == [1, 2, 4]


def test_bytes_are_no_categories(job: Job) -> None:
    table = pa.table({"x": pa.array([b"n", b"s"] * 10), "y": [1.0, 2.0] * 10})
    job.put("a.parquet", parquet(table))
    failed = job.run(recipe={"features": ["x"], "estimator": ENCODED})
    assert failed.examples[0]["message"].startswith("column 'x' is bytes")
    declared = {"schema": {"x": "string", "y": "float64"}}
    assert counts(job.run(recipe={"features": ["x"], "estimator": ENCODED}, input=declared)) == (1, 0, 0, 0)
    assert job.models()["a"][0].categories_[0].tolist() == ["n", "s"]


@pytest.mark.parametrize("layout", ["objects", "hive"])
def test_overwritten_files_of_a_delta_table_are_never_trained_on(job: Job, layout: str) -> None:
    def rows(slope: float) -> pa.Table:
        x = np.tile(np.arange(20.0), 2)
        return pa.table({"store": ["A"] * 20 + ["B"] * 20, "x": x, "y": slope * x})

    by = ["store"] if layout == "hive" else None
    write_deltalake(str(job.data), rows(2.0), partition_by=by)
    write_deltalake(str(job.data), rows(5.0), mode="overwrite", partition_by=by)
    with pytest.raises(InputError, match="table in the Delta format") as caught:
        job.run(input={"layout": layout})
    assert "input.table_files: read" in caught.value.hint
    assert job.run(input={"layout": layout, "table_files": "read"}).totals.trained > 0


@pytest.mark.parametrize("layout", ["objects", "hive"])
def test_marks_of_folders_train_nothing_and_end_nothing(job: Job, layout: str) -> None:
    body = ("x,y\n" + "".join(f"{n},{3 * n}\n" for n in range(9))).encode()
    for store in "AB":
        job.put(f"store={store}/a.csv" if layout == "hive" else f"{store}.csv", body)
        job.put(f"store={store}_$folder$", b"")
    job.put("in_$folder$", b"")
    assert counts(job.run(input={"layout": layout})) == (2, 0, 0, 0)


def shuffled_days(form: str) -> bytes:
    days = pd.date_range("2024-01-01", periods=100, freq="3D")
    x = np.random.default_rng(4).random(100)
    frame = pd.DataFrame({"day": days.strftime(form), "x": x, "y": 2 * x + np.where(np.arange(100) >= 80, 50, 0)})
    return frame.sample(frac=1, random_state=0).to_csv(index=False).encode()


@pytest.mark.parametrize(
    "form", ["%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%SZ", "%Y%m%d", "%d/%m/%Y", "%m.%d.%Y", "%-d %B %Y"]
)
def test_the_last_rows_by_date_are_held_out_or_the_form_is_asked_for(job: Job, form: str) -> None:
    job.put("shop.csv", shuffled_days(form))
    recipe = {
        "validation": {"method": "time", "column": "day", "test_size": 0.2},
        "metrics": ["neg_mean_absolute_error"],
    }
    told = job.run(recipe=recipe)
    if "/" in form or "." in form or " %B" in form:
        assert told.totals.failed == 1
        assert "input.times: {day:" in told.examples[0]["message"]
        told = job.run(recipe=recipe, input={"times": {"day": form}})
    assert counts(told) == (1, 0, 0, 0)
    metrics = json.loads(job.row("shop")["metrics"])
    assert metrics["neg_mean_absolute_error"] == pytest.approx(-50, abs=0.1)


def test_rows_in_the_order_of_the_user_reach_a_search_over_time(job: Job) -> None:
    r = np.random.default_rng(0)
    frame = pd.DataFrame({"price": r.random(200), "day": pd.date_range("2024-01-01", periods=200).strftime("%d.%m.%Y")})
    frame["y"] = np.where(np.arange(200) < 150, 3, -3) * frame["price"] + r.random(200) * 0.05
    job.put("A.csv", frame.sample(frac=1, random_state=1).to_csv(index=False).encode())
    search = {
        "_target_": "sklearn.model_selection.GridSearchCV",
        "estimator": {"_target_": "sklearn.linear_model.Ridge"},
        "param_grid": {"alpha": [0.01, 1000.0]},
        "cv": {"_target_": "sklearn.model_selection.TimeSeriesSplit", "n_splits": 4},
        "scoring": "neg_mean_absolute_error",
    }
    job.run(
        recipe={"features": ["price"], "estimator": search}, input={"order_by": "day", "times": {"day": "%d.%m.%Y"}}
    )
    plain = GridSearchCV(
        Ridge(), {"alpha": [0.01, 1000.0]}, cv=TimeSeriesSplit(4), scoring="neg_mean_absolute_error"
    ).fit(frame[["price"]], frame["y"])
    found = job.models()["A"].cv_results_["mean_test_score"]
    assert found == pytest.approx(plain.cv_results_["mean_test_score"], rel=1e-9)


def test_an_index_of_pandas_is_no_feature(job: Job) -> None:
    r = np.random.default_rng(0)
    frame = pd.DataFrame({"store": ["A", "B"] * 20, "x": r.random(40), "z": r.random(40)})
    frame["y"] = 3 * frame["x"] - frame["z"] + np.arange(40) * 0.01
    part = frame[frame["store"] == "A"].drop(columns="store")
    job.put("A.parquet", parquet(part))
    job.put("named.parquet", parquet(part.rename_axis("visit")))
    job.put("several.parquet", parquet(part.set_index([part.index.rename("a"), part.index.rename("b")])))
    job.run(recipe={"features": None})
    plain = LinearRegression().fit(part[["x", "z"]], part["y"])
    for key in ("A", "named", "several"):
        assert list(job.models()[key].feature_names_in_) == ["x", "z"]
        assert job.models()[key].coef_ == pytest.approx(plain.coef_)
    job.run(recipe={"features": ["visit", "x"]}, input={"only": ["named"]})
    assert list(job.models()["named"].feature_names_in_) == ["visit", "x"]


def test_a_column_that_is_in_the_path_and_in_the_file_is_that_of_the_path(job: Job) -> None:
    for store, inside in ((1, 1), (2, 99)):
        for month in ("01", "02"):
            table = pa.table({"store": [inside] * 12, "x": np.arange(12.0), "y": np.arange(12.0) * 2 + int(month)})
            job.put(f"store={store}/month={month}/part.parquet", parquet(table))
    job.run(input={"layout": "hive", "keys": ["store"]}, recipe={"features": None})
    assert list(job.models()["store=1"].feature_names_in_) == ["x"]
    assert job.row("store=1")["warnings"] is None
    assert "column 'store' of the files differs from their directories" in job.row("store=2")["warnings"]

    job.run(input={"layout": "hive", "keys": ["store"]}, recipe={"features": ["x", "month", "store"]})
    assert job.models()["store=2"].coef_ == pytest.approx([2.0, 1.0, 0.0])


def test_what_is_no_file_is_passed_over_or_named_and_the_rest_is_trained(job: Job) -> None:
    body = ("x,y\n" + "".join(f"{n},{2 * n + 1}\n" for n in range(20))).encode()
    for key in "abc":
        job.put(f"{key}.csv", body)
    os.mkfifo(job.data / "pipe.csv")
    (job.data / "dangling.csv").symlink_to("nowhere.csv")
    (job.data / "loop.csv").symlink_to("loop.csv")
    (job.data / "self").symlink_to(".")
    (job.data / "sub").mkdir()
    (job.data / "sub" / "up").symlink_to("..")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(job.data / "sock.csv"))
        told = job.run(run={"max_failed": 2})
    assert counts(told) == (3, 0, 0, 2)
    assert sorted((each["key"], each["reason"]) for each in told.examples) == [
        ("dangling", "input_missing"),
        ("loop", "input_missing"),
    ]


def test_categories_of_several_files_are_one_by_value(job: Job) -> None:
    value = {"berlin": 1.0, "rome": 5.0, "paris": 20.0, "oslo": 50.0}
    for month, cities in (("01", ["rome", "berlin"]), ("02", ["paris", "rome", "oslo"])):
        names = cities * 20
        frame = pd.DataFrame({"city": pd.Categorical(names, categories=cities), "y": [value[each] for each in names]})
        job.put(f"store=A/month={month}/part.parquet", parquet(frame, index=False))
    job.run(input={"layout": "hive", "keys": ["store"]}, recipe={"features": ["city"], "estimator": ENCODED})
    model = job.models()["store=A"]
    assert model.predict(pd.DataFrame({"city": list(value)})).round(1).tolist() == list(value.values())


def comma(number: float) -> str:
    return f"{number}".replace(".", ",")


LINES = [(comma(n + 0.5), comma(3 * (n + 0.5))) for n in range(12)]
BODY = "".join(f"{a};{b}\r\n" for a, b in LINES)
EXPORTS = {
    "plain": ("x;y\r\n" + BODY).encode(),
    "bom": ('\ufeff"x";"y"\r\n' + BODY).encode(),
    "quoted": ("x;y\r\n" + "".join(f'"{a}";"{b}"\r\n' for a, b in LINES)).encode(),
    "plus": ("x;y\r\n" + "".join(f"+{a};{b}\r\n" for a, b in LINES)).encode(),
    "cr": ("x;y\r" + BODY.replace("\r\n", "\r")).encode(),
    "trailing2": ("x;y;\r\n" + BODY.replace("\r\n", ";\r\n")).encode(),
    "sepline": ("sep=;\r\nx;y\r\n" + BODY).encode(),
    "trailing": ("x;y\r\n" + BODY.replace("\r\n", ";\r\n")).encode(),
    "total": ("x;y\r\n" + BODY + "Total;198,0\r\n").encode(),
    "thousands": ("x;y\r\n" + "".join(f"{a};1.{n:03},50\r\n" for n, (a, _) in enumerate(LINES))).encode(),
    "thousands2": ("x;y\r\n" + "".join(f"{a};1.{n:03}\r\n" for n, (a, _) in enumerate(LINES))).encode(),
    "nbsp": ("x;y\r\n" + "".join(f"{a};1\u00a0{n:03}\r\n" for n, (a, _) in enumerate(LINES))).encode(),
    "spaces": ("x ; y\r\n" + BODY.replace(";", " ; ")).encode(),
    "blank": ("x;y\r\n" + BODY + ";\r\n;\r\n").encode(),
    "utf16": ("x;y\r\n" + BODY).encode("utf-16"),
    "percent": ("x;y\r\n" + BODY.replace("\r\n", "%\r\n")).encode(),
    "umlaut": ("x;y;straße\r\n" + BODY.replace("\r\n", ";Köln\r\n")).encode("cp1252"),
    "eof": ("x;y\r\n" + BODY + "\x1a").encode(),
    "minus": ("x;y\r\n" + "".join(f"\u2212{a};{b}\r\n" for a, b in LINES)).encode(),
}
READABLE = {"plain", "bom", "quoted", "plus", "cr", "trailing2"}


def test_exports_of_spreadsheets_are_read_right_or_fail_by_name(job: Job) -> None:
    for name, body in EXPORTS.items():
        job.put(f"{name}.csv", body)
    told = job.run(
        input={"format": {"type": "csv", "delimiter": ";", "decimal": ","}}, run={"max_failed": len(EXPORTS)}
    )
    assert set(job.models()) == READABLE
    assert told.totals.failed == len(EXPORTS) - len(READABLE)
    for key in READABLE:
        assert job.models()[key].coef_ == pytest.approx([3.0])
