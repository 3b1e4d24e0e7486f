"""The columns of predictions: kept texts and odd types, names that are taken or absent, several targets."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from job.errors import ConfigurationError, OutputError
from job.registry.index import Index
from tests.support.score_job import ScoreJob, counts

SHOPS = {"a": "x", "b": "007", "c": "1.50"}


@pytest.fixture
def job(tmp_path: Path) -> ScoreJob:
    made = ScoreJob(tmp_path, keys=3)
    made.trained.run()
    made.put("k0.csv", b"code,x,y\nA1,1.0,1.0\n")
    made.put("k1.csv", b"code,x,y\n007,1.0,2.0\n1.50,2.0,4.0\n,3.0,6.0\n")
    made.put("k2.csv", b"code,x,y\nTrue,1.0,3.0\n")
    return made


def test_numbers_with_zeros_in_front_stay_as_they_were_read(job: ScoreJob) -> None:
    job.score()
    rows = job.table().to_pandas().sort_values("x")
    of = {key: part["code"].tolist() for key, part in rows.groupby("_key")}
    assert (of["k0"], of["k1"][:2], of["k2"]) == (["A1"], ["007", "1.50"], ["True"])
    assert of["k1"][2] is None
    assert not [name for name in rows.columns if "\0" in name]


def test_a_feature_has_the_type_that_the_training_gave_it_and_its_kept_text_beside_it(job: ScoreJob) -> None:
    job.put("k0.csv", b"x,y\nfirst,1.0\n")  # not a number, so that the column is text in the table, and this key fails
    job.put("k1.csv", b"x,y\n01.0,2.0\n")
    job.score(run={"max_failed": 1})
    row = job.table().filter(pc.field("_key") == "k1").to_pylist()[0]
    assert (row["x"], round(row["prediction"], 6)) == ("01.0", 2.0)


def test_the_same_for_one_csv_table_of_many_keys(tmp_path: Path) -> None:
    job = ScoreJob(tmp_path, keys=1)
    table = "shop,code,x,y\n" + "".join(f"{shop},{code},{at},{at}\n" for at in range(4) for shop, code in SHOPS.items())
    job.trained.data.joinpath("k0.csv.gz").unlink()
    job.trained.put("all.csv", table.encode())
    layout = {"layout": "columns", "key": ["shop"]}
    job.trained.overrides["input"] = layout
    job.trained.run()
    (job.data / "k0.csv").unlink()
    job.put("all.csv", table.encode())
    job.score(input=layout)
    got: pd.DataFrame = job.table().to_pandas()
    assert {key: set(part["code"]) for key, part in got.groupby("shop")} == {k: {v} for k, v in SHOPS.items()}


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        (pa.array([[1, 2], [], None]), ["[1, 2]", "[]", None]),
        (pa.array([{"a": "é"}, {"a": None}, None]), ['{"a": "é"}', '{"a": null}', None]),
        (pa.array([2**64 - 1, 1, None], pa.uint64()), ["18446744073709551615", "1", None]),
        (pa.array([255, 1, None], pa.uint64()), [255, 1, None]),
    ],
)
def test_a_kept_column_of_an_odd_type_is_text_if_the_table_has_no_such_type(
    tmp_path: Path, values: pa.Array, kept: list[object]
) -> None:
    job = ScoreJob(tmp_path, keys=1)
    job.trained.run()
    (job.data / "k0.csv").unlink()
    pq.write_table(pa.table({"x": [1.0, 2.0, 3.0], "odd": values}), job.data / "k0.parquet")
    assert job.score().exit_code == 0
    assert job.table().sort_by("x")["odd"].to_pylist() == kept


@pytest.mark.parametrize("names", [["Prediction"], ["_KEY"], ["Id", "id"]])
def test_names_that_differ_in_case_alone_are_refused_at_planning(tmp_path: Path, names: list[str]) -> None:
    job = ScoreJob(tmp_path, keys=1)
    job.trained.run()
    (job.data / "k0.csv").unlink()
    pq.write_table(pa.table({"x": [1.0], **{name: [1] for name in names}}), job.data / "k0.parquet")
    with pytest.raises(ConfigurationError, match=names[0]):
        job.score()


def test_a_name_that_no_key_has_is_refused_and_the_message_has_those_that_there_are(job: ScoreJob) -> None:
    with pytest.raises(ConfigurationError, match=r"score.keep names 'cod', which none of the 3 keys") as told:
        job.score(score={"keep": ["cod", "x"]})
    assert "code, x, y" in told.value.hint.replace("'", "")
    with pytest.raises(ConfigurationError, match=r"score.actual names 'truth'"):
        job.score(score={"actual": "truth"})


def test_a_classifier_with_several_targets_gives_probabilities_by_target(tmp_path: Path) -> None:
    job = ScoreJob(tmp_path, keys=1)
    tree = {"_target_": "sklearn.tree.DecisionTreeClassifier", "max_depth": 2}
    job.trained.overrides = {"recipe": {"features": ["x"], "target": ["a", "b"], "estimator": tree}}
    (job.trained.data / "k0.csv.gz").unlink()
    job.trained.put("k0.csv", b"x,a,b\n" + b"".join(b"%d,%d,%d\n" % (at, at % 2, at % 3) for at in range(30)))
    job.trained.run()
    job.score(score={"method": "predict_proba", "keep": ["x"]})
    rows = job.table().to_pandas()
    want = job.trained.models()["k0"].predict_proba(rows[["x"]])
    for target, classes, chances in zip("ab", ([0, 1], [0, 1, 2]), want, strict=True):
        for at, each in enumerate(classes):
            assert rows[f"proba_{target}_{each}"].tolist() == chances[:, at].tolist()


def test_a_level_of_the_keys_has_the_type_that_all_keys_have_and_the_text_of_its_directory(tmp_path: Path) -> None:
    job = ScoreJob(tmp_path, keys=0)
    stores = ["07", "7", "8", "9", "A 1%2F"]
    layout = {"layout": "hive", "uri": str(job.data)}
    for folder in (job.trained.data, job.data):
        for store in stores:
            for month in ("01", "02"):
                place = folder / f"store={store}" / f"month={month}"
                place.mkdir(parents=True)
                (place / "part.csv").write_text("x,y\n1,1\n2,2\n3,3\n")
    job.trained.overrides["input"] = {"layout": "hive"}
    job.trained.run()
    report = job.score(input=layout)
    assert (report.totals.scored, report.totals.failed) == (10, 0)
    rows = job.table()
    assert sorted(set(rows["store"].to_pylist())) == ["07", "7", "8", "9", "A 1/"]
    assert set(rows["month"].to_pylist()) == {1, 2}
    job.score(input=layout, output={"uri": f"{job.out}-few"}, score={"keep": ["month"]})


def test_the_keys_that_tell_the_types_are_from_the_whole_range(tmp_path: Path) -> None:
    job = ScoreJob(tmp_path, keys=40, prefix="k")
    job.trained.run()
    names = sorted(f"k{number}" for number in range(40))
    for place, name in enumerate(names):
        job.put(f"{name}.csv", b"x,price\n1,%s\n" % (b"1" if place < 25 else b"1.5"))
    assert job.score().totals.scored == 40
    assert job.table().schema.field("price").type == pa.float64()


def test_classes_that_differ_in_case_alone_are_an_error_by_name_and_no_bug(tmp_path: Path) -> None:
    job = ScoreJob(tmp_path, keys=0)
    tree = {"_target_": "sklearn.tree.DecisionTreeClassifier"}
    job.trained.overrides = {"recipe": {"features": ["x"], "target": "c", "estimator": tree}}
    for key, classes in {"one": ["Yes", "no"], "other": ["yes", "no"]}.items():
        lines = "".join(f"{at},{classes[at % 2]}\n" for at in range(6))
        job.trained.put(f"{key}.csv", f"x,c\n{lines}".encode())
        job.put(f"{key}.csv", b"x\n1\n2\n")
    job.trained.run()
    assert job.score().totals.scored == 2
    with pytest.raises(OutputError, match=r"'proba_Yes', 'proba_yes' differ in upper and lower case alone"):
        job.score(score={"method": "predict_proba"}, output={"uri": f"{job.out}-chances"})
    both = "".join(f"{at},{each}\n" for at, each in enumerate(("Yes", "yes", "no") * 2))
    job.trained.put("one.csv", f"x,c\n{both}".encode())
    job.trained.run()
    report = job.score(score={"method": "predict_proba"}, input={"only": ["one"]}, output={"uri": f"{job.out}-one"})
    assert report.failures == {"predict_error": 1}


def test_a_column_that_only_failing_keys_have_does_not_come_into_the_table(job: ScoreJob) -> None:
    job.put("k0.csv", b"code;x;y\nA1;1.0;1.0\n")

    report = job.score(run={"max_failed": 1})

    assert report.failures == {"missing_feature": 1}
    assert report.examples[0]["message"].endswith("which the rows do not have. They have: 'code;x;y'.")
    assert [name for name in job.table().column_names if not name.startswith("_")] == ["code", "x", "y", "prediction"]


def test_columns_of_a_model_that_was_fitted_on_an_array_are_named_or_none_of_its_rows_is_predicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ScoreJob(tmp_path, keys=0)
    monkeypatch.chdir(tmp_path)
    Path("fitting.py").write_text(
        "from sklearn.linear_model import LinearRegression\n"
        "def fit(frame):\n"
        "    return LinearRegression().fit(frame[['b', 'a']].to_numpy(), frame['y'])\n"
    )
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0, 5.0], "b": [7.0, 1.0, 4.0, 2.0]})
    frame.assign(y=frame["a"] + 10 * frame["b"]).to_parquet(job.trained.data / "k.parquet")
    frame.to_parquet(job.data / "k.parquet")
    recipe = {"function": "fitting.py:fit", "estimator": None, "features": None, "target": None}
    job.trained.overrides["recipe"] = recipe
    job.trained.run()

    report = job.score(run={"max_failed": 1})
    assert report.failures == {"missing_feature": 1}
    assert "fitted on an array: which columns it takes" in report.examples[0]["message"]

    job.trained.overrides["recipe"] = {**recipe, "features": ["b", "a"]}
    job.trained.run()
    job.score()
    assert job.table()["prediction"].to_pylist() == pytest.approx((frame["a"] + 10 * frame["b"]).tolist())


@pytest.mark.parametrize("encoder", ["OneHotEncoder", "OrdinalEncoder"])
def test_categories_that_were_numbers_in_training_and_are_texts_now_are_not_predicted_as_unknown(
    tmp_path: Path, encoder: str
) -> None:
    job = ScoreJob(tmp_path, keys=0)
    unknown = {"handle_unknown": "ignore"}
    if encoder == "OrdinalEncoder":
        unknown = {"handle_unknown": "use_encoded_value", "unknown_value": -1}
    encode = {"_target_": f"sklearn.preprocessing.{encoder}", **unknown}
    split = {"_target_": "sklearn.compose.ColumnTransformer", "transformers": [["code", encode, ["code"]]]}
    steps = [["split", split], ["line", {"_target_": "sklearn.linear_model.LinearRegression"}]]
    pipeline = {"_target_": "sklearn.pipeline.Pipeline", "steps": steps}
    job.trained.overrides["recipe"] = {"features": ["code"], "target": "y", "estimator": pipeline}
    for key in ("k0", "k1"):
        job.trained.put(f"{key}.csv", b"code,y\n" + b"7,1\n8,2\n9,3\n" * 4)
    job.trained.run()
    job.put("k0.csv", b"code\n7\nA1\n")
    job.put("k1.csv", b"code\n7\n8\n")

    report = job.score(run={"max_failed": 1})

    assert report.failures == {"schema_mismatch": 1}
    assert "'code' is text here, and numbers were its categories" in report.examples[0]["message"]
    assert job.table()["prediction"].to_pylist() == pytest.approx([1.0, 2.0])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"color,size\nred,7\nmauve,8\nmauve,9\n", ["2 of 3 rows have a category of 'color'", "such as 'mauve'"]),
        (b"color,size\nred,7\nblue,12\n", ["1 of 2 rows have a category of 'size'", "such as 12"]),
        (b"color,size\nred,7\nblue,8\n", []),
    ],
)
def test_rows_with_a_category_that_training_has_not_seen_are_predicted_and_counted_in_the_row_of_their_key(
    tmp_path: Path, body: bytes, said: list[str]
) -> None:
    job = ScoreJob(tmp_path, keys=0)
    encode = {"_target_": "sklearn.preprocessing.OneHotEncoder", "handle_unknown": "ignore"}
    split = {"_target_": "sklearn.compose.ColumnTransformer", "transformers": [["code", encode, ["color", "size"]]]}
    steps = [["split", split], ["line", {"_target_": "sklearn.linear_model.LinearRegression"}]]
    pipeline = {"_target_": "sklearn.pipeline.Pipeline", "steps": steps}
    job.trained.overrides["recipe"] = {"features": ["color", "size"], "target": "y", "estimator": pipeline}
    job.trained.put("k0.csv", b"color,size,y\n" + b"red,7,1\nblue,8,2\nblue,9,3\n" * 4)
    job.trained.run()
    job.put("k0.csv", body)
    assert counts(job.score()) == (1, 0, 0, 0)
    (row,) = Index(job.assembly().output).read(columns=["warnings"]).to_pylist()
    told = json.loads(row["warnings"] or "[]")
    assert len(told) == bool(said)
    assert all(text in told[0] for text in said)
