"""Training: rows and a recipe to a fitted estimator, metrics, or a reason why not."""

from __future__ import annotations

import inspect
import pickle
import textwrap
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, get_scorer, r2_score
from sklearn.model_selection import KFold, cross_validate

from job.config.settings import ArtifactSettings, InputSettings, RecipeSettings
from job.errors import PartitionError, SkipPartition
from job.fit import linear, scores, traits
from job.fit.partition_fit import Fitting, fit_rows
from job.fit.recipe import Recipe
from job.fit.train import fit_seed, train
from job.outcome import REASONS
from job.reader import KEY_FIELD, ReadSpec, read, times
from job.worker.payload import Blobs, Rows

LINEAR = {"_target_": "sklearn.linear_model.LinearRegression"}
RIDGE = {"_target_": "sklearn.linear_model.Ridge"}
LOGISTIC = {"_target_": "sklearn.linear_model.LogisticRegression"}
TREE = {"_target_": "sklearn.tree.DecisionTreeRegressor"}
MEAN = {"_target_": "sklearn.dummy.DummyRegressor"}


def pipeline(*steps):
    return {"_target_": "sklearn.pipeline.Pipeline", "steps": [[f"s{n}", step] for n, step in enumerate(steps)]}


def rows(count=60, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=count)
    return pd.DataFrame(
        {
            "x": x,
            "n": random.integers(0, 9, count),
            "color": random.choice(["red", "green", "blue"], count),
            "text": [" ".join(random.choice(["good", "bad", "fine", "the"], 4)) for _ in range(count)],
            "flag": x > 0,
            "y": 2.5 * x + random.normal(size=count) / 10,
            "z": -x,
            "sign": np.where(x > 0, "plus", "minus"),
            "w": random.random(count),
            "day": pd.date_range("2024-01-01", periods=count)[::-1],
        }
    )


FRAME = rows()


def table(frame=FRAME):
    return pa.Table.from_pandas(frame, preserve_index=False)


def recipe(base=None, **options):
    if "function" not in options:
        options.setdefault("estimator", LINEAR)
    return Recipe.from_settings(RecipeSettings(**options), base=base)


def fitted(data=FRAME, *, key="k", seed=1, base=None, **options):
    data = table(data) if isinstance(data, pd.DataFrame) else data
    return train(data, recipe(base, **options), key=key, seed=seed)


def failure(data=FRAME, **options):
    options.setdefault("features", ["x"])
    options.setdefault("target", "y")
    with pytest.raises(PartitionError) as caught:
        fitted(data, **options)
    assert caught.value.reason in REASONS
    return caught.value.reason, str(caught.value)


def changed(**columns):
    return FRAME.assign(**columns)


def holed(values, *positions, value=None):
    values = list(values)
    for position in positions:
        values[position] = value
    return values


# ---- the short way gives the same bytes as the long one


@pytest.mark.parametrize("kind", sorted(linear.SHORT, key=lambda each: each.__name__))
@pytest.mark.parametrize("features", [["x"], ["x", "n"], ["n"], ["n", "x", "z"]])
def test_the_short_way_and_a_fit_on_a_frame_give_models_equal_to_the_last_byte(kind, features):
    target = "n" if kind.__name__ == "LogisticRegression" else "y"
    features = [each for each in features if each != target] or ["x"]
    chosen = recipe(features=features, target=target, estimator={"_target_": f"{kind.__module__}.{kind.__name__}"})
    data = table(rows(500))
    assert linear.arrays(data, chosen, tuple(features)) is not None
    found = train(data, chosen, key="k", seed=1)
    frame = data.to_pandas()
    expected = chosen.build(1).fit(frame[features], frame[target])
    assert list(found.estimator.feature_names_in_) == features
    assert pickle.dumps(found.estimator) == pickle.dumps(expected)
    assert np.array_equal(found.estimator.predict(frame[features]), expected.predict(frame[features]))
    score = accuracy_score if target == "n" else r2_score
    assert list(found.metrics.values()) == [score(frame[target], expected.predict(frame[features]))]


NARROW = {
    "float32": ["float", "float"],
    "float32 and float64": ["float", "double"],
    "float32 and int32": ["float", "int32"],
    "int8 and uint16": ["int8", "uint16"],
    "int32 alone": ["int32"],
}


@pytest.mark.parametrize("kind", sorted(linear.SHORT - {LogisticRegression}, key=lambda each: each.__name__))
@pytest.mark.parametrize("name", NARROW)
def test_the_short_way_takes_narrow_numbers_as_a_frame_hands_them_over(kind, name):
    random = np.random.default_rng(0)
    columns = {f"c{at}": pa.array(random.integers(0, 100, 500)).cast(kind) for at, kind in enumerate(NARROW[name])}
    if "float" in NARROW[name]:
        columns["c0"] = pa.array(random.normal(size=500).astype(np.float32))
    data = pa.table({**columns, "y": random.normal(size=500)})
    chosen = recipe(features=list(columns), target="y", estimator={"_target_": f"{kind.__module__}.{kind.__name__}"})
    assert linear.arrays(data, chosen, tuple(columns)) is not None
    found, frame = train(data, chosen, key="k", seed=1), data.to_pandas()
    expected = chosen.build(1).fit(frame[list(columns)], frame["y"])
    assert pickle.dumps(found.estimator) == pickle.dumps(expected)
    assert list(found.metrics.values()) == [r2_score(frame["y"], expected.predict(frame[list(columns)]))]


def test_numbers_that_numpy_would_keep_narrow_take_the_long_way():
    data = pa.table({"a": pa.array([1.5, 2, 3, 5], pa.float32()), "b": pa.array([1, 2, 3, 5], pa.int16())})
    chosen = recipe(features=["a", "b"], target="y")
    assert linear.arrays(data.append_column("y", pa.array([1.0, 2, 3, 4])), chosen, ("a", "b")) is None
    whole = data.append_column("y", pa.array([1, 2, 3, 4]))
    assert linear.arrays(whole, recipe(features=["a"], target="y"), ("a",)) is None


def test_the_short_way_holds_for_csv_as_it_is_read():
    frame = rows(2000)[["x", "n", "y"]]
    read_back = read([("a.csv", frame.to_csv(index=False).encode())], ReadSpec())
    model = fitted(read_back, features=["x", "n"], target="y").estimator
    expected = LinearRegression().fit(frame[["x", "n"]], frame["y"])
    assert np.array_equal(model.coef_, expected.coef_)
    assert model.intercept_ == expected.intercept_
    assert list(model.feature_names_in_) == list(expected.feature_names_in_)


@pytest.mark.parametrize(
    "options",
    [
        {"metrics": ["r2"]},
        {"validation": "kfold"},
        {"sample_weight": "w"},
        {"target": ["y", "z"]},
        {"features": ["flag"]},
    ],
)
def test_what_is_out_of_the_ordinary_takes_the_long_way(options):
    chosen = recipe(**{"features": ["x"], "target": "y", **options})
    assert linear.arrays(table(), chosen, tuple(chosen.features)) is None
    assert train(table(), chosen, key="k", seed=1).rows == len(FRAME)


def test_r2_is_scikit_learn_s_to_the_last_bit():
    random = np.random.default_rng(0)
    for count in (2, 3, 10, 1001):
        y, predicted = random.normal(size=count), random.normal(size=count)
        assert scores.r2(y, predicted) == r2_score(y, predicted)
    ones = np.ones(4)
    for y, predicted in ((ones, ones), (ones, ones * 2), (np.arange(4.0), np.arange(4.0))):
        assert scores.r2(y, predicted) == r2_score(y, predicted)


def test_default_metrics_are_scikit_learn_s_scorers_to_the_last_bit():
    forest = "sklearn.ensemble.RandomForest"
    cases = [("y", RIDGE), ("n", TREE), ("sign", LOGISTIC), ("n", LOGISTIC), ("flag", LOGISTIC)]
    cases += [("y", {"_target_": f"{forest}Regressor"}), ("color", {"_target_": f"{forest}Classifier"})]
    for target, estimator in cases:
        found = fitted(features=["x", "w"], target=target, estimator=pipeline(estimator))
        ((name, value),) = found.metrics.items()
        assert value == get_scorer(name)(found.estimator, FRAME[["x", "w"]], FRAME[target])


def test_parameters_are_validated_in_the_fit_where_they_were_not_before():
    search = {
        "_target_": "sklearn.model_selection.RandomizedSearchCV",
        "estimator": RIDGE,
        "param_distributions": {"alpha": {"_target_": "scipy.stats.uniform", "loc": -2, "scale": 1}},
        "n_iter": 1,
        "error_score": "raise",
    }
    assert recipe(target="y", estimator=pipeline(RIDGE)).traits.checked
    assert not recipe(target="y", estimator=search).traits.checked
    reason, message = failure(estimator=search)
    assert (reason, "'alpha' parameter of Ridge" in message) == ("fit_error", True)


# ---- what estimators are given


def test_a_fit_equals_scikit_learn_s_on_the_same_rows():
    found = fitted(features=["x", "n", "flag"], target="y", estimator=TREE, seed=3)
    expected = clone(recipe(features=["x"], target="y", estimator=TREE).build(3)).fit(
        FRAME[["x", "n", "flag"]], FRAME["y"]
    )
    assert pickle.dumps(found.estimator) == pickle.dumps(expected)
    assert (found.rows, found.metrics) == (60, {"r2": 1.0})
    assert found.seconds > 0


def test_the_seed_comes_from_run_and_key_and_decides_the_model():
    forest = {"_target_": "sklearn.ensemble.RandomForestRegressor", "n_estimators": 3}
    options = {"features": ["x", "n"], "target": "y", "estimator": forest}
    one, again, other = (pickle.dumps(fitted(seed=seed, **options).estimator) for seed in (5, 5, 6))
    assert one == again != other
    assert fit_seed(0, "a") == fit_seed(0, "a")
    assert len({fit_seed(run, key) for run in range(10) for key in "abc"}) == 30
    assert all(0 <= fit_seed(run, "é\udc80") < 2**32 for run in range(10))


@pytest.mark.parametrize("features", ["text", ["text"]])
def test_a_text_vectoriser_gets_its_column_as_texts(features):
    steps = pipeline({"_target_": "sklearn.feature_extraction.text.TfidfVectorizer"}, LOGISTIC)
    model = fitted(features=features, target="sign", estimator=steps).estimator
    assert set(model.classes_) == {"plus", "minus"}
    assert set(model.steps[0][1].vocabulary_) == {"good", "bad", "fine", "the"}
    search = {
        "_target_": "sklearn.model_selection.GridSearchCV",
        "estimator": steps,
        "param_grid": {"s1__C": [0.1, 1.0]},
    }
    assert fitted(features=features, target="sign", estimator=search).metrics["accuracy"] > 0.4


def test_texts_that_look_like_numbers_are_texts_for_a_vectoriser():
    data = b"t,c,x,y\n007,a,1,no\n1.50,b,2,yes\n,c,3,no\n2024-01-01,d,4,yes\n"
    vectoriser = {"_target_": "sklearn.feature_extraction.text.CountVectorizer", "token_pattern": "\\S+"}
    transformer = {"_target_": "sklearn.compose.ColumnTransformer", "transformers": [["t", vectoriser, "t"]]}
    for first, features in ((vectoriser, "t"), (transformer, ["t", "x"])):
        chosen = recipe(features=features, target="y", missing="drop", estimator=pipeline(first, LOGISTIC))
        settings = InputSettings(uri="memory://in")
        found = train(
            read([("a.csv", data)], ReadSpec.from_settings(settings, needed=chosen.columns(), texts=chosen.texts())),
            chosen,
            key="k",
            seed=1,
        )
        step = found.estimator.steps[0][1]
        vocabulary = getattr(step, "vocabulary_", None) or step.named_transformers_["t"].vocabulary_
        assert set(vocabulary) == {"007", "1.50", "2024-01-01"}


def test_values_too_large_to_compute_with_give_no_metric_or_no_model():
    data = changed(x=FRAME["x"] * 1e307, y=FRAME["y"] * 1e307)
    found = fitted(data, features=["x"], target="y")
    assert found.metrics == {}
    assert "metric 'r2' is not defined on these rows" in found.warnings
    assert failure(data, estimator=RIDGE)[0] == "fit_error"


def test_a_bare_name_of_a_number_is_a_table_for_those_who_want_one():
    assert list(fitted(features="x", target="y", estimator=RIDGE).estimator.feature_names_in_) == ["x"]


def test_columns_are_encoded_imputed_and_passed_by_name():
    data = changed(x=holed(FRAME["x"], 3, 9), color=holed(FRAME["color"], 5))
    impute = "sklearn.impute.SimpleImputer"
    transformer = {
        "_target_": "sklearn.compose.ColumnTransformer",
        "transformers": [
            ["number", {"_target_": impute}, ["x"]],
            [
                "word",
                pipeline(
                    {"_target_": impute, "strategy": "most_frequent"},
                    {"_target_": "sklearn.preprocessing.OneHotEncoder"},
                ),
                ["color"],
            ],
        ],
    }
    model = fitted(data, features=["x", "color"], target="y", estimator=pipeline(transformer, RIDGE)).estimator
    assert list(model.feature_names_in_) == ["x", "color"]
    assert [list(each) for each in model.steps[0][1].named_transformers_["word"].steps[1][1].categories_] == [
        ["blue", "green", "red"]
    ]


def test_several_targets_are_fitted_together():
    found = fitted(features=["x"], target=["y", "z"])
    assert found.estimator.coef_.shape == (2, 1)
    assert found.metrics["r2"] > 0.9
    assert fitted(features=["x"], target=["y"]).estimator.coef_.shape == (1,)


def test_without_a_target_there_are_no_metrics():
    for name in ("cluster.KMeans", "ensemble.IsolationForest", "decomposition.PCA", "neighbors.NearestNeighbors"):
        found = fitted(features=["x", "n"], estimator={"_target_": f"sklearn.{name}"})
        assert (found.metrics, found.rows) == ({}, 60)


def test_row_weights_reach_the_estimator_and_the_last_step_of_a_pipeline():
    expected = LinearRegression().fit(FRAME[["x"]], FRAME["y"], sample_weight=FRAME["w"])
    for estimator in (LINEAR, pipeline({"_target_": "sklearn.preprocessing.StandardScaler"}, LINEAR)):
        found = fitted(features=["x"], target="y", sample_weight="w", estimator=estimator).estimator
        assert found.predict(FRAME[["x"]]) == pytest.approx(expected.predict(FRAME[["x"]]))


def test_features_are_all_other_columns_but_the_key_s_by_default():
    data = table(FRAME[["x", "n", "y", "w", "day"]])
    data = data.append_column(pa.field("store", pa.int64(), metadata=KEY_FIELD), pa.array([7] * 60))
    options = {"target": "y", "sample_weight": "w", "validation": {"method": "time", "column": "day"}}
    assert fitted(data, **options).names == ("x", "n")
    assert fitted(data, features=["x", "store"], **options).names == ("x", "store")


def test_a_column_without_a_name_is_no_feature_and_that_is_said():
    """What ``to_csv`` writes as its index would otherwise be one."""
    data = read([("a.csv", FRAME[["x", "y"]].to_csv().encode())], ReadSpec())
    found = fitted(data, target="y")
    assert found.names == ("x",)
    assert found.warnings == ("a column without a name is not used as a feature",)


# ---- what rows must be


def test_no_row_is_empty_and_few_rows_are_too_few():
    for count, reason in ((0, "empty"), (1, "too_few_rows"), (2, "too_few_rows")):
        with pytest.raises(SkipPartition) as caught:
            fitted(FRAME.head(count), features=["x", "n"], target="y")
        assert caught.value.reason == reason
    assert fitted(FRAME.head(3), features=["x", "n"], target="y").rows == 3
    with pytest.raises(SkipPartition, match="50 rows, and at least 51"):
        fitted(FRAME.head(50), features=["x"], target="y", min_rows=51)


def test_a_header_alone_is_empty():
    with pytest.raises(SkipPartition) as caught:
        fitted(read([("a.csv", b"x,y\n")], ReadSpec()), features=["x"], target="y")
    assert caught.value.reason == "empty"


def test_a_fallback_is_fitted_where_rows_are_too_few_and_that_is_said():
    found = fitted(FRAME.head(3), features=["x"], target="y", min_rows=10, fallback=MEAN)
    assert type(found.estimator).__name__ == "DummyRegressor"
    assert found.warnings == ("fallback: 3 rows, and at least 10 are needed; DummyRegressor instead",)
    assert found.metrics == {}
    assert type(fitted(features=["x"], target="y", min_rows=10, fallback=MEAN).estimator) is LinearRegression


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"features": ["X"]}, "column 'X' not there\n  Is 'x' meant?"),
        ({"features": ["x", "colour"]}, "Is 'color' meant?"),
        ({"target": "unknown_thing"}, "There are 'x', 'n'"),
        ({"sample_weight": "weight"}, "column 'weight' not there"),
        ({"validation": {"method": "time", "column": "when"}}, "column 'when' not there"),
    ],
)
def test_a_missing_column_is_named_with_what_there_is_instead(options, text):
    reason, message = failure(**options)
    assert reason == "missing_column"
    assert text in message


def test_a_wrong_delimiter_is_recognised_by_the_missing_columns():
    data = read([("a.csv", b"x;y\n1;2\n3;4\n")], ReadSpec(needed=("x", "y")))
    reason, message = failure(data)
    assert reason == "missing_column"
    assert "';': is input.format.delimiter right?" in message
    reason, message = failure(data, features=None, target=None, estimator={"_target_": "sklearn.cluster.KMeans"})
    assert reason == "non_numeric"
    assert "is input.format.delimiter right?" in message


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (
            changed(x=holed(map(str, FRAME["x"]), 7, value="NA-secret")),
            "feature 'x' is text, not numbers; the first such value is in row 8",
        ),
        (changed(x=FRAME["x"].map(str)), "feature 'x' holds its numbers as text"),
        (changed(x=FRAME["day"]), "feature 'x' is a timestamp, not a number"),
        (changed(x=FRAME["day"].dt.date), "feature 'x' is a date, not a number"),
        (changed(x=[[1, 2]] * 60), "feature 'x' is list"),
        (changed(x=FRAME["color"].astype("category")), "feature 'x' is text"),
    ],
)
def test_a_feature_that_is_no_number_is_named_by_column_and_row_never_by_value(data, text):
    reason, message = failure(data)
    assert reason == "non_numeric"
    assert text in message
    assert "secret" not in message


def test_encoders_and_estimators_of_others_get_columns_as_they_are():
    steps = pipeline({"_target_": "sklearn.preprocessing.OneHotEncoder"}, RIDGE)
    assert fitted(features=["color"], target="y", estimator=steps).rows == 60
    boosting = {"_target_": "sklearn.ensemble.HistGradientBoostingRegressor", "max_iter": 2}
    categories = changed(color=FRAME["color"].astype("category"))
    assert fitted(categories, features=["color"], target="y", estimator=boosting).estimator.is_categorical_.all()
    assert failure(features=["color"], estimator=boosting)[0] == "non_numeric"


def test_a_target_that_is_no_number_is_for_classifiers_only():
    assert failure(target="color")[0] == "non_numeric"
    assert fitted(features=["x"], target="color", estimator=LOGISTIC).metrics["accuracy"] > 0.3
    assert fitted(features=["x"], target="flag", estimator=LOGISTIC).metrics["accuracy"] > 0.9


@pytest.mark.parametrize("value", [None, float("nan")])
def test_missing_features_fail_by_default_with_the_way_out(value):
    column = pa.array(holed(FRAME["x"].tolist(), 4, 8, value=value), pa.float64(), from_pandas=False)
    data = table().set_column(0, "x", column)
    reason, message = failure(data)
    assert reason == "missing_values"
    assert "feature 'x' is missing in 2 of 60 rows" in message
    assert "recipe.missing: allow" in message


def test_missing_features_are_allowed_where_they_are_imputed_or_made_for_or_declared():
    data = changed(x=holed(FRAME["x"], 4, 8), flag=holed(FRAME["flag"].astype(object), 2))
    boosting = {"_target_": "sklearn.ensemble.HistGradientBoostingRegressor", "max_iter": 2}
    imputed = pipeline({"_target_": "sklearn.impute.SimpleImputer"}, LINEAR)
    for estimator in (boosting, imputed):
        assert fitted(data, features=["x", "flag"], target="y", estimator=estimator).rows == 60
        assert failure(data, estimator=estimator, missing="fail")[0] == "missing_values"
    assert fitted(data, features=["x"], target="y", estimator=TREE, missing="allow").rows == 60
    dropped = fitted(data, features=["x"], target="y", missing="drop")
    assert dropped.rows == 58
    assert dropped.warnings == ("dropped: 2 of 60 rows with a missing feature",)


def test_a_column_that_is_missing_altogether_is_named():
    data = read([("a.csv", b"x,y\n,1\n,2\n,3\n")], ReadSpec())
    reason, message = failure(data)
    assert (reason, "every row" in message) == ("missing_values", True)
    with pytest.raises(SkipPartition) as caught:
        fitted(data, features=["x"], target="y", missing="drop")
    assert caught.value.reason == "too_few_rows"


@pytest.mark.parametrize("estimator", [LINEAR, TREE, {"_target_": "sklearn.ensemble.HistGradientBoostingRegressor"}])
@pytest.mark.parametrize("column", ["x", "y"])
def test_infinite_values_always_fail(estimator, column):
    data = changed(**{column: holed(FRAME[column], 6, value=float("-inf"))})
    reason, message = failure(data, estimator=estimator, missing="allow")
    assert reason == "infinite_values"
    assert f"{column!r} is infinite in 1 of 60 rows, first in row 7" in message


def test_a_number_too_large_for_a_float_is_infinite_not_a_model():
    for text, reason in ((b"inf", "infinite_values"), (b"1e999", "non_numeric")):  # pandas leaves the second a text
        data = read([("a.csv", b"x,y\n" + text + b",1\n2.5,2\n3.5,4\n")], ReadSpec())
        assert failure(data)[0] == reason


def test_missing_targets_fail_or_are_dropped_as_declared():
    data = changed(y=holed(FRAME["y"], 1, 2, 3))
    reason, message = failure(data)
    assert reason == "null_target"
    assert "target 'y' is missing in 3 of 60 rows" in message
    found = fitted(data, features=["x"], target="y", drop_null_target=True)
    assert (found.rows, found.warnings) == (57, ("dropped: 3 of 60 rows with no target",))
    words = changed(sign=holed(FRAME["sign"], 1))
    assert failure(words, target="sign", estimator=LOGISTIC)[0] == "null_target"


@pytest.mark.parametrize("page", [b"<html><body>Access Denied</body></html>\n", b"x;y\n"])
def test_a_header_of_other_columns_is_no_empty_partition(page):
    assert failure(read([("a.csv", page)], ReadSpec()), features=["x"])[0] == "missing_column"
    with pytest.raises(SkipPartition) as caught:
        fitted(read([("a.csv", b"x,y\n")], ReadSpec()), features=["x"], target="y")
    assert caught.value.reason == "empty"


def test_a_gap_in_a_row_that_is_dropped_anyway_is_no_reason_to_fail():
    both = changed(x=holed(FRAME["x"], 1, 2), y=holed(FRAME["y"], 1, 2, 3))
    found = fitted(both, features=["x"], target="y", drop_null_target=True)
    assert (found.rows, found.warnings) == (57, ("dropped: 3 of 60 rows with no target",))
    reverse = changed(x=holed(FRAME["x"], 1, 2, 3), y=holed(FRAME["y"], 1, 2))
    assert fitted(reverse, features=["x"], target="y", missing="drop").rows == 57
    reason, message = failure(reverse, drop_null_target=True)
    assert (reason, "'x' is missing in 1 of 58 rows" in message) == ("missing_values", True)


def test_a_constant_target_is_a_warning_or_a_failure_never_silent():
    data = changed(y=1.0, sign="plus")
    found = fitted(data, features=["x"], target="y")
    assert found.warnings == ("constant_target: target 'y' has one value only in 60 rows",)
    assert failure(data, constant_target="fail")[0] == "constant_target"
    assert failure(data, target="sign", estimator=LOGISTIC)[0] == "constant_target"
    tree = {"_target_": "sklearn.tree.DecisionTreeClassifier"}
    assert "constant_target" in fitted(data, features=["x"], target="sign", estimator=tree).warnings[0]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (holed(FRAME["w"], 4), "first in row 5"),
        (holed(FRAME["w"], 4, value=-1.0), "1 of 60"),
        (holed(FRAME["w"], 4, value=float("inf")), "first in row 5"),
        (["much"] * 60, "is text"),
        ([0.0] * 60, "zero in every row"),
    ],
)
def test_bad_weights_are_named(values, text):
    reason, message = failure(changed(w=values), sample_weight="w")
    assert reason == "bad_weight"
    assert text in message


# ---- scores


def test_metrics_are_scikit_learn_s_scorers_by_name_and_sign():
    found = fitted(features=["x"], target="y", metrics=["r2", "neg_mean_absolute_error"]).metrics
    assert found["r2"] > 0.99
    assert -0.1 < found["neg_mean_absolute_error"] < 0
    assert fitted(features=["x"], target="y", metrics=[]).metrics == {}


def test_kfold_is_cross_validate_on_shuffled_rows():
    options = {"features": ["x", "n"], "target": "y", "estimator": RIDGE}
    found = fitted(validation={"method": "kfold", "folds": 4}, metrics=["r2", "neg_mean_squared_error"], **options)
    for name, value in found.metrics.items():
        folds = KFold(4, shuffle=True, random_state=1)
        expected = cross_validate(Ridge(random_state=1), FRAME[["x", "n"]], FRAME["y"], cv=folds, scoring=name)
        assert value == pytest.approx(expected["test_score"].mean())
    assert pickle.dumps(found.estimator) == pickle.dumps(fitted(**options).estimator)  # refitted on all rows


def test_kfold_on_sorted_rows_scores_as_on_rows_in_any_order():
    x = np.sort(np.random.default_rng(0).random(300))
    data = pd.DataFrame({"x": x, "y": np.sin(6 * x)})
    tree = {"_target_": "sklearn.tree.DecisionTreeRegressor", "max_depth": 5}
    for rows in (data, data.iloc[::-1], data.sample(frac=1, random_state=1)):
        found = fitted(rows.reset_index(drop=True), features=["x"], target="y", estimator=tree, validation="kfold")
        assert found.metrics["r2"] > 0.98
        assert found.warnings == ()


def test_holdout_scores_other_rows_than_it_fits_and_is_repeatable():
    data = changed(y=np.random.default_rng(9).normal(size=60))
    options = {"features": ["x"], "target": "y", "estimator": TREE}
    assert fitted(data, **options).metrics["r2"] == 1.0
    one = fitted(data, validation="holdout", **options).metrics
    assert one["r2"] < 0.5
    assert one == fitted(data, validation="holdout", **options).metrics
    assert one != fitted(data, validation="holdout", seed=2, **options).metrics


def test_a_time_ordered_split_holds_out_the_last_rows_by_its_column():
    data = changed(y=np.where(FRAME["day"] >= FRAME["day"].sort_values().iloc[48], 100.0, 0.0) + FRAME["n"])
    found = fitted(
        data,
        features=["x"],
        target="y",
        estimator=MEAN,
        validation={"method": "time", "column": "day"},
        metrics=["neg_max_error", "neg_mean_absolute_error"],
    )
    assert found.metrics["neg_mean_absolute_error"] < -90
    holes = changed(day=holed(FRAME["day"], 3))
    assert failure(holes, validation={"method": "time", "column": "day"})[0] == "missing_values"


def test_classes_are_spread_over_held_out_rows():
    data = changed(sign=["rare"] * 6 + ["common"] * 54)
    for method in ("holdout", "kfold"):
        found = fitted(
            data, features=["x"], target="sign", estimator=LOGISTIC, validation=method, metrics=["accuracy", "roc_auc"]
        )
        assert 0 < found.metrics["accuracy"] <= 1


def test_a_metric_that_cannot_be_computed_is_metric_error_and_an_undefined_one_is_left_out():
    svm = {"_target_": "sklearn.svm.LinearSVC"}
    reason, message = failure(target="color", estimator=svm, metrics=["neg_log_loss"])
    assert reason == "metric_error"
    assert "'neg_log_loss'" in message
    found = fitted(target="color", features=["x"], estimator=LOGISTIC, metrics=["accuracy", "roc_auc"])
    assert list(found.metrics) == ["accuracy"], "of three classes, which scikit-learn wants to be told how to count"
    assert any("UndefinedMetricWarning: metric 'roc_auc': ValueError: multi_class" in each for each in found.warnings)
    found = fitted(FRAME.head(6), features=["x"], target="y", validation={"method": "kfold", "folds": 6})
    assert found.metrics == {}
    assert "metric 'r2' is not defined on these rows" in found.warnings
    assert failure(FRAME.head(4), min_rows=3, validation="kfold")[0] == "metric_error"


# ---- what a fit says


def test_warnings_are_kept_once_each_and_at_most_five():
    mlp = {"_target_": "sklearn.neural_network.MLPRegressor", "max_iter": 2, "hidden_layer_sizes": [3]}
    found = fitted(features=["x"], target="y", estimator=mlp, validation="kfold")
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith("ConvergenceWarning: ")


def test_a_fit_that_raises_is_fit_error_with_its_cause_and_without_values():
    data = changed(color=holed(FRAME["color"], 0, value="secret sauce"))
    transformer = {
        "_target_": "sklearn.compose.ColumnTransformer",
        "transformers": [["all", "passthrough", ["color"]]],
    }
    with pytest.raises(PartitionError) as caught:
        fitted(data, features=["color"], target="y", estimator=pipeline(transformer, RIDGE))
    assert caught.value.reason == "fit_error"
    assert caught.value.message == "ValueError: could not convert string to float: '...'"
    assert isinstance(caught.value.__cause__, ValueError)


def test_the_sample_is_what_the_estimator_wants():
    numbers = fitted(features=["x", "n"], target="y")
    assert numbers.estimator.predict(numbers.sample).shape == (20,)
    steps = pipeline({"_target_": "sklearn.feature_extraction.text.CountVectorizer"}, LOGISTIC)
    text = fitted(features="text", target="sign", estimator=steps)
    assert text.estimator.predict(text.sample).shape == (20,)


# ---- functions


def by_function(folder, body, data=FRAME, key="Rwanda", **options):
    (folder / "fit.py").write_text(
        "import numpy as np, random, warnings\nfrom sklearn.linear_model import LinearRegression\n"
        "def fit(frame, key, seed):\n" + textwrap.indent(textwrap.dedent(body), "    ")
    )
    return fitted(data, key=key, base=folder, function="fit.py:fit", **options)


def function_failure(folder, body, **options):
    with pytest.raises(PartitionError) as caught:
        by_function(folder, body, **options)
    return caught.value.reason, str(caught.value)


GOOD = "return LinearRegression().fit(frame[['x']], frame['y'])"


def test_a_function_gets_every_column_as_pandas_has_them_and_may_change_them(tmp_path):
    data = changed(x=holed(FRAME["x"], 3), color=holed(FRAME["color"], 5), z=float("inf"))
    found = by_function(
        tmp_path,
        """
        assert list(frame.columns) == ["x", "n", "color", "text", "flag", "y", "z", "sign", "w", "day"]
        assert np.isnan(frame.loc[3, "x"]) and np.isnan(frame.loc[5, "color"])
        assert frame["day"].dtype.kind == "M" and frame["flag"].dtype == bool
        frame["x"] = frame["x"].fillna(0)
        frame.loc[0, "y"] = 1.0
        frame["n"].values[0] = 3
        return LinearRegression().fit(frame[["x"]], frame["y"]), {"length": len(key), "none": float("nan")}
        """,
        data,
    )
    assert (found.rows, found.metrics) == (60, {"length": 6.0})
    assert found.warnings == ("metric 'none' is not defined on these rows",)
    assert found.sample is None


def test_a_function_s_random_numbers_come_from_the_seed(tmp_path):
    body = "frame['x'] += np.random.normal(size=len(frame)) + random.random()\n" + GOOD
    one, again, other = (by_function(tmp_path, body, seed=seed).estimator.coef_ for seed in (1, 1, 2))
    assert one == again != other


@pytest.mark.parametrize(
    "body", ["frame['at'].dt.hour", "frame['at'].astype('int64')", "frame['at'] - pd.Timestamp(0)"]
)
def test_a_function_that_wants_times_of_csv_is_told_how_to_get_them(tmp_path, body):
    data = read([("a.csv", b"at,x,y\n2024-01-01 10:00:00,1,2\n2024-01-02 10:00:00,2,4\n")], ReadSpec())
    code = f"import pandas as pd\nframe['x'] = {body}\n" + GOOD
    with pytest.raises(PartitionError) as caught:
        by_function(tmp_path, code, data)
    assert "input.times: {at: iso}" in caught.value.hint
    timed = times.declared(data, [("at", "iso")])
    assert by_function(tmp_path, "frame['x'] = frame['at'].dt.day\n" + GOOD, timed).rows == 2


def test_a_function_can_be_validated_by_scorers(tmp_path):
    options = {"features": ["x"], "target": "y", "metrics": ["r2"]}
    assert by_function(tmp_path, GOOD, **options).metrics["r2"] > 0.9
    folds = KFold(5, shuffle=True, random_state=1)
    expected = cross_validate(LinearRegression(), FRAME[["x"]], FRAME["y"], cv=folds, scoring="r2")["test_score"].mean()
    found = by_function(tmp_path, GOOD, validation="kfold", **options)
    assert found.metrics["r2"] == pytest.approx(expected)
    expected = LinearRegression().fit(FRAME[["x"]], FRAME["y"])
    assert np.array_equal(found.estimator.coef_, expected.coef_)


def test_a_function_that_changes_its_frame_is_scored_on_the_rows_as_they_were(tmp_path):
    body = "model = LinearRegression().fit(frame[['x']], frame['y'])\nframe.loc[:, 'y'] = 0.0\nreturn model"
    found = by_function(tmp_path, body, features=["x"], target="y", metrics=["r2"])
    assert found.metrics == {"r2": found.estimator.score(FRAME[["x"]], FRAME["y"])}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("return None", "NoneType"),
        ("return LinearRegression", "the class LinearRegression"),
        ("return LinearRegression()", "not fitted"),
        ("return {'a': 1}", "dict"),
        ("return 3, {}", "int"),
    ],
)
def test_what_is_no_fitted_estimator_is_not_an_estimator(tmp_path, body, text):
    reason, message = function_failure(tmp_path, body)
    assert reason == "not_an_estimator"
    assert text in message


@pytest.mark.parametrize(
    ("body", "reason", "text"),
    [
        ("raise ValueError('no way\\nsecond line')", "fit_error", "ValueError: no way"),
        ("return frame['nothere']", "fit_error", "KeyError: 'nothere'"),
        ("raise SystemExit(3)", "fit_error", "SystemExit: 3"),
        ("raise KeyError(frame['color'][0])", "fit_error", "KeyError: '...'"),
        (GOOD + ", {'r2': 'good'}", "metric_error", "metric 'r2' is a str"),
        (GOOD + ", ['r2']", "metric_error", "list"),
    ],
)
def test_what_a_function_does_wrong_is_a_reason(tmp_path, body, reason, text):
    found, message = function_failure(tmp_path, body)
    assert found == reason
    assert text in message
    assert "second" not in message


def test_memory_that_runs_out_is_for_the_worker_to_name(tmp_path):
    with pytest.raises(MemoryError):
        by_function(tmp_path, "raise MemoryError()")


def test_a_function_is_asked_for_any_row_unless_min_rows_says_otherwise(tmp_path):
    assert by_function(tmp_path, GOOD, FRAME.head(1)).rows == 1
    with pytest.raises(SkipPartition):
        by_function(tmp_path, GOOD, FRAME.head(1), min_rows=2)


@pytest.mark.parametrize("of", ["bytes", "rows"])
@pytest.mark.parametrize("estimator", ["sklearn.linear_model.LinearRegression", "sklearn.tree.DecisionTreeRegressor"])
def test_neither_bytes_nor_rows_are_in_memory_while_the_estimator_is_fitted(monkeypatch, of, estimator):
    numbers = np.arange(400_000.0)
    data = pa.table({"x": numbers, "z": numbers**2, "y": numbers % 7})
    sink = pa.BufferOutputStream()
    pq.write_table(data, sink)
    blobs = [("k.parquet", sink.getvalue().to_pybytes())]
    settings = {"features": ["x", "z"], "target": "y", "estimator": {"_target_": estimator}}
    if "tree" in estimator:
        settings["estimator"]["max_depth"] = 1
    fitting = Fitting(recipe=recipe(**settings), spec=ReadSpec(), artifact=ArtifactSettings(), seed=0, on_empty="skip")
    held = []
    kind = fitting.recipe.traits.kind
    fit = kind.fit
    monkeypatch.setattr(kind, "fit", lambda *given, **more: held.append(left()) or fit(*given, **more))
    if of == "rows":
        payload, data, blobs = Rows(data), None, []
    else:
        payload, data, sink = Blobs(blobs), None, None
    before = pa.total_allocated_bytes()

    def left():
        return len(blobs), pa.total_allocated_bytes() - before

    assert fit_rows(fitting, "k", lambda: payload.rows(fitting.spec)).status == "trained"
    (count, more), column = held[0], numbers.nbytes
    assert count == 0
    # The target may be a view of the rows; the features are not, but pandas' copy of them is counted, too.
    new = 2 if "tree" in estimator else 0
    assert more <= (new + 1.1 - (3 if of == "rows" else 0)) * column


# ---- what cannot be scored, and what a cache would hand out


def test_a_fold_that_cannot_be_fitted_has_no_score_and_the_model_is_one_all_the_same():
    """As scikit-learn's cross_validate: one row of a rare class, so that a fold has one class only."""
    frame = pd.DataFrame({"x": np.arange(12.0), "y": ["a"] * 11 + ["b"]})
    found = fitted(frame, target="y", features=["x"], estimator=LOGISTIC, validation={"method": "kfold", "folds": 3})
    assert found.metrics == {}
    assert found.estimator.predict(pd.DataFrame({"x": [0.0]})) == ["a"]
    assert any(each.startswith("FitFailedWarning: a fold is not scored: ValueError") for each in found.warnings)
    assert "metric 'accuracy' is not defined on these rows" in found.warnings


def test_a_validation_of_which_no_fold_can_be_fitted_fails_the_key():
    frame = pd.DataFrame({"x": np.arange(12.0), "y": ["a"] * 12})
    reason, _ = failure(frame, target="y", estimator=LOGISTIC, validation={"method": "kfold", "folds": 3})
    assert reason == "constant_target"


def test_the_accuracy_of_several_targets_is_the_share_of_rows_with_all_of_them_right():
    frame = pd.DataFrame({"x": np.arange(9.0), "a": [0, 1, 2] * 3, "b": [0, 0, 1] * 3})
    tree = {"_target_": "sklearn.tree.DecisionTreeClassifier", "max_depth": 2}
    many = {"_target_": "sklearn.multioutput.MultiOutputClassifier", "estimator": tree}
    found = fitted(frame, features=["x"], target=["a", "b"], estimator=many)
    right = found.estimator.predict(frame[["x"]]) == frame[["a", "b"]].to_numpy()
    assert found.metrics == {"accuracy": pytest.approx(right.all(axis=1).mean())}
    assert 0 < found.metrics["accuracy"] < 1


def test_a_pipelines_cache_is_switched_off_and_its_keys_are_trained_again(tmp_path):
    scale = {"_target_": "sklearn.preprocessing.StandardScaler"}
    node = {
        "_target_": "sklearn.pipeline.Pipeline",
        "steps": [["scale", scale], ["fit", {"_target_": "sklearn.linear_model.Ridge"}]],
    }
    cached = {**node, "memory": str(tmp_path / "cache")}
    search = {
        "_target_": "sklearn.model_selection.GridSearchCV",
        "estimator": cached,
        "param_grid": {"fit__alpha": [1]},
    }
    for estimator in (cached, search):
        fitted(features=["x"], target="y", estimator=estimator)
        assert not (tmp_path / "cache").exists()
    plain, other = recipe_of(node), recipe_of(cached)
    assert plain.build(1).memory is None
    assert other.build(1).memory is None
    assert "memory" not in plain.fingerprint_part()
    assert other.fingerprint_part()["memory"] == "off"


def recipe_of(node):
    return Recipe.from_settings(RecipeSettings(features=["x"], target="y", estimator=node))


def test_row_weights_reach_the_members_of_a_vote_a_stack_and_a_chain():
    from sklearn.ensemble import VotingRegressor

    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"x": rng.random(40), "w": rng.random(40) + 0.1}).assign(y=lambda f: f.x**2)
    ridge = {"_target_": "sklearn.linear_model.Ridge"}
    members = {"a": ridge, "b": {"_target_": "sklearn.linear_model.LinearRegression"}}
    vote = {"_target_": "sklearn.ensemble.VotingRegressor", "estimators": members}
    found = fitted(frame, features=["x"], target="y", sample_weight="w", estimator=vote).estimator
    alone = VotingRegressor([("a", Ridge()), ("b", LinearRegression())])
    alone.fit(frame[["x"]], frame["y"], sample_weight=frame["w"])
    assert np.array_equal(found.predict(frame[["x"]]), alone.predict(frame[["x"]]))
    unweighted = alone.fit(frame[["x"]], frame["y"]).predict(frame[["x"]])
    assert not np.allclose(found.predict(frame[["x"]]), unweighted)
    stack = {"_target_": "sklearn.ensemble.StackingRegressor", "estimators": members, "cv": 3}
    assert fitted(frame, features=["x"], target="y", sample_weight="w", estimator=stack).rows == 40


def test_a_vote_with_a_member_that_takes_no_weights_takes_none():
    from sklearn.ensemble import VotingRegressor
    from sklearn.neighbors import KNeighborsRegressor

    assert traits.weight_argument(VotingRegressor([("a", Ridge()), ("b", KNeighborsRegressor())])) is None
    assert traits.weight_argument(VotingRegressor([("a", Ridge()), ("b", "drop")])) == "sample_weight"


def test_what_is_said_of_row_weights_is_what_scikit_learn_does():
    """Each of its estimators around another one is tried."""
    from sklearn.utils import all_estimators

    rng = np.random.default_rng(0)
    data = rng.random((30, 2))
    classes, numbers, weights = (data[:, 0] > 0.5).astype(int), data.sum(axis=1), rng.random(30) + 0.1
    tried = []
    for name, kind in all_estimators():
        for inner, y in ((LinearRegression(), numbers), (LogisticRegression(), classes)):
            parameters = inspect.signature(kind.__init__).parameters
            given = {each: inner for each in ("estimator", "base_estimator", "regressor") if each in parameters}
            if "estimators" in parameters:
                given["estimators"] = [("a", inner), ("b", inner)]
            if not given:
                continue
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    kind(**given).fit(data, np.c_[y, y] if "Multi" in name or "Chain" in name else y)
            except (ValueError, TypeError, AttributeError):
                continue  # not with these members
            estimator = kind(**given)
            argument = traits.weight_argument(estimator)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    target = np.c_[y, y] if "Multi" in name or "Chain" in name else y
                    estimator.fit(data, target, sample_weight=weights)
            except (ValueError, TypeError):
                works = False
            else:
                works = True
            tried.append(name)
            assert (argument == "sample_weight") is works, f"{name} of {type(inner).__name__}"
    assert len(set(tried)) > 20


# ---- the row that is named


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["1,5", "2,5", "3,5", "Total"], "the first such value is in row 4"),
        (["1.5", "2.5", "1,5", "3.5"], "the first such value is in row 3"),
        (["1.5", "x", "2.5"], "the first such value is in row 2"),
        (["1_0", "2"], "the first such value is in row 1"),
        (["1.5", None, "1e3", " 2 ", "-inf"], "holds its numbers as text"),
        (["1,5", "2,5"], "with a decimal comma"),
    ],
)
def test_the_first_value_that_is_no_number_is_named_by_the_decimal_point_of_the_others(texts, said):
    frame = pd.DataFrame({"x": texts, "y": np.arange(float(len(texts)))})
    reason, message = failure(frame, features=["x"], target="y")
    assert reason == "non_numeric"
    assert said in message


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary(2), pa.dictionary(pa.int32(), pa.binary())])
@pytest.mark.parametrize("column", ["x", "y"])
def test_bytes_are_refused_by_name(kind, column):
    other = "y" if column == "x" else "x"
    value = pa.array([b"ab", b"cd"], pa.binary(2) if kind == pa.binary(2) else pa.binary())
    table = pa.table({column: value.cast(kind) if kind != value.type else value, other: [1.0, 2.0]})
    recipe = Recipe.from_settings(RecipeSettings(features=["x"], target="y", estimator=RIDGE))
    with pytest.raises(PartitionError, match=f"column {column!r} is bytes") as caught:
        train(table, recipe, key="k", seed=1)
    assert caught.value.reason == "unsupported_type"


def test_rows_with_a_gap_in_either_of_two_features_are_dropped():
    frame = pd.DataFrame({"x": [1.0, np.nan, 3.0, 4.0, 5.0, 6.0], "z": [1.0, 2.0, np.nan, 3.0, 5.0, 4.0]})
    frame["y"] = np.arange(6.0)
    found = fitted(frame, features=["x", "z"], target="y", missing="drop")
    assert found.rows == 4
    assert found.warnings == ("dropped: 2 of 6 rows with a missing feature",)
