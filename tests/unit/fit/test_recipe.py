"""The recipe: settings to an unfitted estimator or the user's function, every mistake found before anything runs."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from job.config.settings import RecipeSettings
from job.errors import ConfigurationError
from job.fit import targets
from job.fit.recipe import Recipe

RIDGE = {"_target_": "sklearn.linear_model.Ridge"}
TFIDF = {"_target_": "sklearn.feature_extraction.text.TfidfVectorizer", "ngram_range": [1, 2]}
LOGISTIC = {"_target_": "sklearn.linear_model.LogisticRegression"}


def recipe(base=None, **options):
    options.setdefault("target", "y")
    if "function" not in options:
        options.setdefault("estimator", RIDGE)
    return Recipe.from_settings(RecipeSettings(**options), base=base)


def problems(base=None, **options):
    with pytest.raises(ConfigurationError) as caught:
        recipe(base, **options)
    return caught.value.problems


def built(node, seed=1, **options):
    return recipe(estimator=node, **options).build(seed)


def test_an_estimator_is_what_its_document_says():
    assert repr(built({**RIDGE, "alpha": 0.5})) == repr(Ridge(alpha=0.5, random_state=1))
    assert type(built({"_target_": "sklearn.linear_model.LinearRegression"})) is LinearRegression


def test_steps_may_be_lists_or_a_mapping_and_become_tuples():
    lists = {"_target_": "sklearn.pipeline.Pipeline", "steps": [["text", TFIDF], ["fit", LOGISTIC]]}
    mapping = {"_target_": "sklearn.pipeline.Pipeline", "steps": {"text": TFIDF, "fit": LOGISTIC}}
    for node in (lists, mapping):
        pipeline = built(node)
        assert isinstance(pipeline, Pipeline)
        assert [(name, type(step).__name__) for name, step in pipeline.steps] == [
            ("text", "TfidfVectorizer"),
            ("fit", "LogisticRegression"),
        ]
        assert pipeline.steps[0][1].ngram_range == (1, 2)


def test_a_column_transformer_keeps_its_lists_of_columns():
    node = {
        "_target_": "sklearn.compose.ColumnTransformer",
        "transformers": [
            ["scale", {"_target_": "sklearn.preprocessing.MinMaxScaler", "feature_range": [0, 2]}, ["a", "b"]],
            ["rest", "passthrough", ["c"]],
        ],
    }
    transformer = built(node, target=None)
    assert isinstance(transformer, ColumnTransformer)
    name, scaler, columns = transformer.transformers[0]
    assert (name, scaler.feature_range, columns) == ("scale", (0, 2), ["a", "b"])
    assert transformer.transformers[1] == ("rest", "passthrough", ["c"])


def test_candidates_of_a_search_are_what_the_parameter_wants():
    search = built(
        {
            "_target_": "sklearn.model_selection.GridSearchCV",
            "estimator": {"_target_": "sklearn.pipeline.Pipeline", "steps": [["text", TFIDF], ["fit", LOGISTIC]]},
            "param_grid": {"text__ngram_range": [[1, 1], [1, 2]], "fit__C": [0.1, "1e-3"]},
        }
    )
    assert isinstance(search, GridSearchCV)
    assert search.param_grid == {"text__ngram_range": [(1, 1), (1, 2)], "fit__C": [0.1, 0.001]}


def test_a_function_is_a_value_with_partial_and_called_without():
    node = {
        "_target_": "sklearn.preprocessing.FunctionTransformer",
        "func": {"_target_": "numpy.log1p", "_partial_": True},
    }
    assert built(node, target=None).func is np.log1p
    made = built(
        {
            "_target_": "sklearn.pipeline.make_pipeline",
            "_args_": [{"_target_": "sklearn.preprocessing.StandardScaler"}, RIDGE],
        }
    )
    assert isinstance(made, Pipeline)


def test_experimental_estimators_of_scikit_learn_are_there_without_ado():
    node = {
        "_target_": "sklearn.model_selection.HalvingGridSearchCV",
        "estimator": RIDGE,
        "param_grid": {"alpha": [1.0]},
    }
    script = f"from job.fit import targets; print(type(targets.build({node!r})).__name__)"  # a fresh interpreter
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "HalvingGridSearchCV"


def test_a_number_that_yaml_reads_as_text_is_a_number():
    assert built({**RIDGE, "alpha": "1e-3"}).alpha == 0.001


def test_every_open_random_state_gets_a_seed_of_its_own_and_a_set_one_stays():
    forest = {"_target_": "sklearn.ensemble.RandomForestRegressor"}
    node = {
        "_target_": "sklearn.ensemble.VotingRegressor",
        "estimators": [["a", forest], ["b", forest], ["c", {**forest, "random_state": 5}]],
    }
    first, again, other = built(node, 7), built(node, 7), built(node, 8)
    seeds = [each[1].random_state for each in first.estimators]
    assert seeds[2] == 5
    assert seeds[0] != seeds[1]
    assert seeds == [each[1].random_state for each in again.estimators]
    assert seeds[0] != other.estimators[0][1].random_state


def test_a_shuffling_splitter_gets_the_seed():
    node = {
        "_target_": "sklearn.model_selection.GridSearchCV",
        "estimator": RIDGE,
        "param_grid": {"alpha": [1.0]},
        "cv": {"_target_": "sklearn.model_selection.KFold", "shuffle": True},
    }
    assert built(node, 7).cv.random_state == 7


def test_parallel_estimators_are_single_threaded_and_others_left_alone():
    forest = {"_target_": "sklearn.ensemble.RandomForestRegressor", "n_jobs": -1}
    node = {"_target_": "sklearn.pipeline.Pipeline", "steps": [["fit", forest]]}
    assert built(node).steps[0][1].n_jobs == 1
    assert built({"_target_": "sklearn.linear_model.LinearRegression"}).n_jobs is None


def test_two_builds_share_nothing():
    chosen = recipe(estimator={"_target_": "sklearn.linear_model.RidgeCV", "alphas": [1.0, 2.0]})
    one, two = chosen.build(1), chosen.build(1)
    assert one.alphas is not two.alphas


SEARCH = {"_target_": "sklearn.model_selection.GridSearchCV", "estimator": RIDGE, "param_grid": {"alpha": [1]}}


@pytest.mark.parametrize(
    ("node", "texts"),
    [
        ({"_target_": "sklearn.linear_model.LinearRegresion"}, ["is sklearn.linear_model.LinearRegression meant?"]),
        ({"_target_": "Ridge"}, ["recipe.estimator._target_", "is sklearn.linear_model.Ridge meant?"]),
        ({"_target_": "sklearn.linear.Ridge"}, ["sklearn has no 'linear'; is sklearn.linear_model meant?"]),
        ({"_target_": "sklearn.ensemble.Ridge"}, ["is sklearn.linear_model.Ridge meant?"]),
        ({"_target_": "sklearn.linear_model"}, ["is a module"]),
        ({"_target_": "sklearn.__version__"}, ["is private"]),
        ({"_target_": "xgboost.XGBRegressor"}, ["'xgboost' is not allowed", "recipe.allow"]),
        ({"_target_": "os.system", "_args_": ["true"]}, ["'os' is not allowed"]),
        ({"_target_": "numpy.f2py.os.system", "_args_": ["true"]}, ["which is not allowed"]),
        ({"_target_": "__import__('os').system"}, ["is not a dotted name"]),
        ({"alpha": 1}, ["recipe.estimator", "_target_"]),
        ({**RIDGE, "alfa": 1}, ["recipe.estimator.alfa", "is 'alpha' meant?"]),
        ({**RIDGE, "alpha": -1}, ["'alpha' parameter of Ridge", "Got -1"]),
        ({**RIDGE, "alpha": "much"}, ["'alpha' parameter of Ridge"]),
        ({"_target_": "numpy.array", "_args_": [[1]]}, ["numpy.array is not an estimator"]),
        ({"_target_": "sklearn.multioutput.MultiOutputRegressor"}, ["missing a required argument: 'estimator'"]),
        (
            {**SEARCH, "param_grid": {"alfa": [1]}},
            ["Ridge has no parameter 'alfa'; is 'alpha' meant?"],
        ),
        ({**SEARCH, "param_grid": {"alpha": 1}}, ["'alpha' needs to be a list"]),
        ({**SEARCH, "param_grid": {"alpha": [1, -1]}}, ["'alpha' parameter of Ridge", "Got -1"]),
        ({**SEARCH, "scoring": "rmse"}, ["'scoring' parameter of GridSearchCV", "Got 'rmse'"]),
        (
            {"_target_": "sklearn.pipeline.Pipeline", "steps": [RIDGE]},
            ["recipe.estimator.steps[0]: is not of the form [name, estimator]"],
        ),
        (
            {"_target_": "sklearn.pipeline.Pipeline", "steps": [["first", RIDGE], ["second", RIDGE]]},
            ["intermediate steps should be transformers"],
        ),
        (
            {"_target_": "sklearn.compose.ColumnTransformer", "transformers": [["text", TFIDF]]},
            ["recipe.estimator.transformers[0]: is not of the form [name, estimator, columns]"],
        ),
        (
            {"_target_": "sklearn.pipeline.Pipeline", "steps": [["fit", {"_target_": "sklearn.linear_model.Rigde"}]]},
            ["recipe.estimator.steps[0][1]._target_", "Ridge meant?"],
        ),
    ],
)
def test_a_mistake_in_a_document_names_its_path_and_what_may_be_meant(node, texts):
    try:
        found = problems(estimator=node)
    except ValueError as error:  # the settings themselves refuse a document without _target_
        found = (f"recipe.estimator: {error}",)
    assert len(found) == 1
    for text in texts:
        assert text in found[0]


def test_all_mistakes_are_reported_at_once():
    node = {
        "_target_": "sklearn.pipeline.Pipeline",
        "steps": [
            ["scale", {"_target_": "sklearn.preprocessing.StandardScaler", "with_means": True}],
            ["fit", {**RIDGE, "alfa": 1, "fit_intercpt": False}],
        ],
    }
    found = problems(estimator=node, fallback={"_target_": "sklearn.dummy.Dummy"}, metrics=["rmse", "r3"])
    assert len(found) == 6
    assert any("is 'neg_root_mean_squared_error' meant?" in each for each in found)
    assert any("recipe.fallback._target_" in each for each in found)


def test_a_package_that_is_allowed_may_be_named():
    with pytest.raises(targets.TargetError, match="not allowed"):
        targets.resolve("collections.OrderedDict", frozenset())
    assert targets.resolve("collections.OrderedDict", frozenset({"collections"})).__name__ == "OrderedDict"
    found = problems(estimator={"_target_": "nowhere.Model"}, allow=["nowhere"])
    assert "there is no package 'nowhere' here" in found[0]


def encoded(column):
    """A ridge behind a column transformer that takes one column by name."""
    encoder = {"_target_": "sklearn.preprocessing.OneHotEncoder"}
    columns = {"_target_": "sklearn.compose.ColumnTransformer", "transformers": [["one", encoder, [column]]]}
    steps = [["columns", columns], ["fit", {"_target_": "sklearn.linear_model.Ridge"}]]
    return {"_target_": "sklearn.pipeline.Pipeline", "steps": steps}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"target": None}, "recipe.target: Ridge needs the column to predict"),
        ({"metrics": ["r2"], "target": None, "estimator": {"_target_": "sklearn.cluster.KMeans"}}, "recipe.metrics"),
        ({"validation": "kfold", "target": None, "estimator": {"_target_": "sklearn.cluster.KMeans"}}, "recipe.valid"),
        (
            {"sample_weight": "w", "estimator": {"_target_": "sklearn.neighbors.KNeighborsRegressor"}},
            "recipe.sample_weight: KNeighborsRegressor takes no row weights",
        ),
        (
            {"fallback": {"_target_": "sklearn.dummy.DummyClassifier"}},
            "DummyClassifier is a classifier, and Ridge is a reg",
        ),
        ({"fallback": {"_target_": "sklearn.neighbors.KNeighborsRegressor"}, "sample_weight": "w"}, "recipe.fallback"),
        ({"sample_weight": "y"}, "recipe.sample_weight: 'y' is the target"),
        ({"code": ["."]}, "recipe.code"),
        ({"metrics": ["accuracy"]}, "recipe.metrics: 'accuracy' is for classifiers, and Ridge is a regressor"),
        ({"metrics": ["r2", "neg_log_loss"]}, "recipe.metrics: 'neg_log_loss' is for classifiers"),
        (
            {"features": ["age", "city"], "estimator": encoded("citty")},
            "recipe.estimator: a ColumnTransformer takes 'citty', which is not in recipe.features; is 'city' meant?",
        ),
        (
            {"features": ["age", "city"], "fallback": encoded("town")},
            "recipe.fallback: a ColumnTransformer takes 'town'",
        ),
    ],
)
def test_what_only_the_whole_recipe_can_tell_is_told(options, text):
    assert any(text in each for each in problems(**options))


def test_unsupervised_estimators_need_no_target():
    for name in ("sklearn.cluster.KMeans", "sklearn.ensemble.IsolationForest", "sklearn.decomposition.PCA"):
        assert recipe(estimator={"_target_": name}, target=None).traits.metrics == ()


def test_a_recipe_survives_pickling_without_what_it_has_worked_out():
    chosen = recipe(estimator={"_target_": "sklearn.pipeline.Pipeline", "steps": [["text", TFIDF], ["fit", LOGISTIC]]})
    assert chosen.traits.text
    again = pickle.loads(pickle.dumps(chosen))
    assert again == chosen
    assert "traits" not in again.__dict__


def test_the_columns_read_are_those_the_recipe_names_and_all_otherwise():
    named = recipe(features=["a", "b"], sample_weight="w", validation={"method": "time", "column": "t"})
    assert named.columns() == ("a", "b", "y", "w", "t")
    assert recipe().columns() is None


def test_the_least_number_of_rows_follows_from_features_and_folds():
    assert recipe(features=["a"]).smallest(1) == 2
    assert recipe(features=["a"]).smallest(9) == 10
    assert recipe(features=["a"], validation="kfold").smallest(1) == 5
    assert recipe(features=["a"], min_rows=1).smallest(9) == 1


def test_the_fingerprint_is_plain_data_and_changes_with_what_is_fitted():
    base = recipe(features=["a"]).fingerprint_part()
    assert json.loads(json.dumps(base)) == base
    assert recipe(features=["a"]).fingerprint_part() == base
    changes = [
        {"estimator": {**RIDGE, "alpha": 2}},
        {"features": ["b"]},
        {"target": "z"},
        {"version": "2"},
        {"validation": "kfold"},
        {"metrics": ["r2"]},
        {"missing": "drop"},
        {"fallback": {"_target_": "sklearn.dummy.DummyRegressor"}},
        {"min_rows": 3},
    ]
    parts = [recipe(**{"features": ["a"], **change}).fingerprint_part() for change in changes]
    texts = {json.dumps(each, sort_keys=True) for each in [base, *parts]}
    assert len(texts) == len(changes) + 1


def test_the_distributions_a_recipe_imports_have_their_versions():
    found = recipe().imports()
    assert {"scikit-learn", "numpy", "scipy", "joblib"} <= found.keys()
    assert all(found.values())


# ---- functions


FIT = """
    from sklearn.linear_model import LinearRegression

    def fit(frame, key):
        return LinearRegression().fit(frame[["x"]], frame["y"]), {"rows": len(frame), "length": len(key)}
"""


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


FRAME = pd.DataFrame({"x": [1.0, 2.0, 3.0], "y": [2.0, 4.0, 6.0]})


def test_a_function_in_a_file_is_called_with_the_frame_and_the_key(tmp_path):
    write(tmp_path, "recipes/fit.py", FIT)
    chosen = recipe(tmp_path, function="recipes/fit.py:fit")
    estimator, metrics = chosen.function.call(FRAME, "Rwanda", 1)
    assert estimator.coef_ == pytest.approx([2.0])
    assert metrics == {"rows": 3, "length": 6}


def test_executors_need_no_file(tmp_path):
    """A pickled recipe works in another process, from another folder, after the files are gone."""
    write(tmp_path, "fit.py", "import helpers\nfrom lib.deep.more import three\n" + textwrap.dedent(FIT))
    write(tmp_path, "helpers.py", "two = 2")
    write(tmp_path, "lib/deep/more.py", "from lib.base import one\nthree = one + 2")
    write(tmp_path, "lib/base.py", "one = 1")
    chosen = recipe(tmp_path, function="fit.py:fit", code=["helpers.py", "lib"])
    data = pickle.dumps((chosen, FRAME))
    for path in ("fit.py", "helpers.py", "lib/base.py", "lib/deep/more.py"):
        (tmp_path / path).unlink()
    script = (
        "import pickle, sys; recipe, frame = pickle.loads(sys.stdin.buffer.read());"
        "print(recipe.function.call(frame, 'k', 1)[1]['rows'], sys.modules['helpers'].two)"
    )
    found = subprocess.run([sys.executable, "-c", script], input=data, capture_output=True, check=True)
    assert found.stdout.split() == [b"3", b"2"]


def test_a_function_reads_the_data_files_of_the_recipe_beside_itself(tmp_path, monkeypatch):
    """Where they lie, and from copies where they are gone or others; whatever the working folder is."""
    write(
        tmp_path,
        "recipes/fit.py",
        "from pathlib import Path\ndef fit(frame, key):\n    return (Path(__file__).parent / 'tables/a.txt').read_text()\n",
    )
    write(tmp_path, "recipes/tables/a.txt", "one")
    monkeypatch.chdir("/")
    chosen = recipe(tmp_path, function="recipes/fit.py:fit", code=["recipes/tables"])
    assert chosen.function.call(FRAME, "k", 1) == "one"
    data = pickle.dumps((chosen, FRAME))
    write(tmp_path, "recipes/tables/a.txt", "two")
    script = (
        "import pickle, sys; recipe, frame = pickle.loads(sys.stdin.buffer.read());"
        "print(recipe.function.call(frame, 'k', 1))"
    )
    found = subprocess.run([sys.executable, "-c", script], input=data, capture_output=True, check=True)
    assert found.stdout.split() == [b"one"]


@pytest.mark.parametrize(
    "signature", ["frame", "frame, key", "frame, key, seed", "frame, *, key", "df, name", "df, *, seed", "df, key=None"]
)
def test_a_function_takes_frame_key_and_seed_as_it_likes(tmp_path, signature):
    write(tmp_path, "fit.py", f"def fit({signature}):\n    return dict(locals())")
    found = recipe(tmp_path, function="fit.py:fit").function.call(FRAME, "Rwanda", 9)
    found.pop("frame", found.pop("df", None))
    assert set(found.items()) <= {("key", "Rwanda"), ("name", "Rwanda"), ("seed", 9)}
    assert len(found) == signature.count(",") - signature.count("*")


def test_a_change_of_code_changes_the_fingerprint_and_moving_it_does_not(tmp_path):
    for folder in ("one", "two"):
        write(tmp_path / folder, "fit.py", FIT)
        write(tmp_path / folder, "data/table.txt", "1")

    def part(folder):
        return recipe(tmp_path / folder, function="fit.py:fit", code=["data"]).fingerprint_part()

    before = part("one")
    assert part("two") == before
    write(tmp_path / "two", "data/table.txt", "2")
    changed = part("two")
    write(tmp_path / "two", "fit.py", FIT + "\n")
    assert len({json.dumps(each, sort_keys=True) for each in (before, changed, part("two"))}) == 3


def test_a_function_in_a_module_is_identified_by_its_whole_package(tmp_path, monkeypatch):
    write(tmp_path, "shop_models/__init__.py", "")
    write(tmp_path, "shop_models/fits.py", FIT)
    write(tmp_path, "shop_models/deep/more.py", "x = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    chosen = recipe(function="shop_models.fits:fit")
    assert chosen.function.sources == ()
    assert "shop_models" in chosen._roots()
    before = chosen.fingerprint_part()
    write(tmp_path, "shop_models/deep/more.py", "x = 2")
    assert recipe(function="shop_models.fits:fit").fingerprint_part() != before
    for name in [each for each in sys.modules if each.startswith("shop_models")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("fit.py:fti", "there is no 'fti'"),
        ("nothere.py:fit", "there is no such file"),
        ("nowhere_at_all:fit", "there is no module 'nowhere_at_all'"),
        ("fit:fit", "write fit.py:function"),
        ("broken.py:fit", "SyntaxError"),
        ("needs.py:fit", "recipe.code"),
        ("exits.py:fit", "SystemExit"),
        ("none.py:fit", "it takes no argument"),
        ("many.py:fit", "needs an argument 'alpha'"),
        ("fit.py:number", "is not a function"),
    ],
)
def test_a_function_that_cannot_be_used_is_a_configuration_error(tmp_path, reference, text):
    write(tmp_path, "fit.py", textwrap.dedent(FIT) + "\nnumber = 3\n")
    write(tmp_path, "broken.py", "def fit(")
    write(tmp_path, "needs.py", "import a_helper_next_to_it")
    write(tmp_path, "exits.py", "raise SystemExit(3)")
    write(tmp_path, "none.py", "def fit(): pass")
    write(tmp_path, "many.py", "def fit(frame, key, alpha): pass")
    found = problems(tmp_path, function=reference)
    assert len(found) == 1
    assert text in found[0]


def test_a_missing_path_of_code_is_named(tmp_path):
    write(tmp_path, "fit.py", FIT)
    assert "'nothere'" in problems(tmp_path, function="fit.py:fit", code=["nothere"])[0]
