"""Estimators of other libraries: one thread, the same bytes on any machine, and a model that can predict."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from job.config.settings import ArtifactSettings, RecipeSettings
from job.errors import ConfigurationError, PartitionError
from job.fit import artifact, traits
from job.fit.contained import contained
from job.fit.recipe import Recipe
from job.fit.train import train

RNG = np.random.default_rng(0)
X = RNG.random((300, 3))
FRAME = pd.DataFrame(X, columns=["a", "b", "c"]).assign(y=X @ [1.0, 2.0, 3.0], k=(X[:, 0] > 0.5).astype(int))
LIBRARIES = {
    "lightgbm.LGBMRegressor": {"n_estimators": 5, "verbose": -1},
    "lightgbm.LGBMClassifier": {"n_estimators": 5, "verbose": -1},
    "xgboost.XGBRegressor": {"n_estimators": 5},
    "xgboost.XGBClassifier": {"n_estimators": 5},
}


def recipe(name: str, target: str | None = None, **options) -> Recipe:
    target = target or ("k" if "Class" in name else "y")
    given = {"features": ["a", "b", "c"], "target": target, "allow": [name.split(".")[0]], **options}
    given.setdefault("estimator", {"_target_": name, **LIBRARIES.get(name, {})})
    return Recipe.from_settings(RecipeSettings.model_validate(given))


def fitted(chosen: Recipe, frame: pd.DataFrame = FRAME):
    return train(pa.Table.from_pandas(frame), chosen, key="k", seed=1)


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_fit_has_one_thread_whatever_the_library_does_by_default(name):
    built = recipe(name).build(1)
    assert built.get_params()["n_jobs"] == 1
    inside = {"_target_": "sklearn.pipeline.Pipeline", "steps": {"fit": {"_target_": name, "n_jobs": -1}}}
    assert recipe(name, estimator=inside).build(1).get_params()["fit__n_jobs"] == 1


class Boosted:
    """As CatBoost: parameters that were not given are not among the parameters."""

    def __init__(self, thread_count=None, depth=None):
        self.given = {name: value for name, value in (("thread_count", thread_count), ("depth", depth)) if value}

    def get_params(self, deep=True):
        return dict(self.given)

    def set_params(self, **values):
        self.given |= values
        return self

    def fit(self, X, y):
        return self


def test_threads_go_by_several_names_and_need_not_be_among_the_parameters():
    assert traits.parallel(Boosted()) == ("thread_count",)
    assert traits.parallel(Boosted(thread_count=4)) == ("thread_count",)
    assert traits.parallel(Boosted(thread_count=1)) == ()


def test_to_scikit_learn_no_number_is_one_thread():
    from sklearn.ensemble import RandomForestRegressor

    assert traits.parallel(RandomForestRegressor()) == ()
    assert traits.parallel(RandomForestRegressor(n_jobs=4)) == ("n_jobs",)


SCRIPT = """
import sys
from tests.unit.fit.test_other_libraries import *
for name in ("lightgbm.LGBMRegressor", "xgboost.XGBRegressor"):
    model = fitted(recipe(name))
    print(artifact.pack(model.estimator, ArtifactSettings(check="predict"), sample=model.sample).digest)
"""


def test_a_model_has_the_same_bytes_however_many_threads_the_machine_offers():
    root = Path(__file__).parents[3]
    digests = set()
    for threads in ("1", "2"):
        env = {**os.environ, "OMP_NUM_THREADS": threads, "PYTHONPATH": str(root)}
        done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout)
    assert len(digests) == 1


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_model_predicts_what_the_library_alone_would(name):
    found = fitted(recipe(name))
    data = artifact.pack(found.estimator, ArtifactSettings()).data
    kind = type(found.estimator)
    alone = kind(**LIBRARIES[name], n_jobs=1, random_state=1).fit(FRAME[["a", "b", "c"]], FRAME[recipe(name).target])
    assert np.array_equal(pickle.loads(data).predict(FRAME[["a", "b", "c"]]), alone.predict(FRAME[["a", "b", "c"]]))


def test_a_name_that_a_library_refuses_is_named():
    frame = FRAME.rename(columns={"a": "price [EUR]", "b": "age:<30"})
    for name in ("lightgbm.LGBMRegressor", "xgboost.XGBRegressor"):
        with pytest.raises(PartitionError) as caught:
            fitted(recipe(name, features=["price [EUR]", "age:<30", "c"]), frame)
        assert caught.value.reason == "fit_error"
        assert caught.value.hint == (
            "Rename the columns with other characters than letters, digits and _: 'price [EUR]', 'age:<30'."
        )


class Bare:
    """An estimator that inherits nothing of scikit-learn's."""

    def __init__(self, shift=0.0):
        self.shift = shift

    def fit(self, X, y):
        self.mean_ = float(np.mean(y)) + self.shift
        return self

    def predict(self, X):
        return np.full(len(X), self.mean_)


def test_a_class_that_inherits_nothing_is_fitted_without_metrics():
    name = f"{__name__}.Bare"
    chosen = recipe(name, estimator={"_target_": name, "shift": 1.0}, allow=[__name__])
    found = fitted(chosen)
    assert found.metrics == {}
    assert found.estimator.mean_ == FRAME["y"].mean() + 1


# ---- pickling of legal kinds


def rebuild(mean):
    made = Handle()
    made.mean_ = mean
    return made


from sklearn.base import BaseEstimator, RegressorMixin  # noqa: E402


class Handle(RegressorMixin, BaseEstimator):
    """As wrappers of handles in C++ pickle themselves: by a function and its arguments."""

    length = 2

    def fit(self, X, y):
        self.mean_ = float(np.mean(y))
        return self

    def predict(self, X):
        return np.full(len(X), self.mean_)

    def __reduce__(self):
        full = (rebuild, (self.mean_,), {"extra_": 1, "mean_": self.mean_}, None, None, None)
        return full[: self.length]


class Text(Handle):
    def __reduce__(self):
        return "THE_ONE"


THE_ONE = Text()


@pytest.mark.parametrize("length", [2, 3, 4, 5, 6])
def test_an_estimator_may_reduce_itself_to_any_legal_length(length, monkeypatch):
    monkeypatch.setattr(Handle, "length", length)
    made = Handle().fit([[1]], [3.0])
    loaded = pickle.loads(artifact.pack(made, ArtifactSettings()).data)
    assert loaded.mean_ == 3.0
    assert hasattr(loaded, "extra_") is (length > 2)


def test_an_estimator_may_reduce_itself_to_a_name():
    assert pickle.loads(artifact.pack(THE_ONE, ArtifactSettings()).data) is THE_ONE


# ---- what a published model can do


@pytest.mark.parametrize(
    ("estimator", "said"),
    [
        (
            {
                "_target_": "sklearn.model_selection.GridSearchCV",
                "estimator": {"_target_": "sklearn.linear_model.Ridge"},
                "param_grid": {"alpha": [1.0]},
                "refit": False,
            },
            "with refit: false a GridSearchCV has no model",
        ),
        ({"_target_": "sklearn.cluster.DBSCAN"}, "a DBSCAN can neither predict nor transform"),
        ({"_target_": "sklearn.manifold.TSNE"}, "a TSNE can neither predict nor transform"),
        ({"_target_": "sklearn.neighbors.LocalOutlierFactor"}, "set novelty: true"),
        (
            {"_target_": "sklearn.pipeline.Pipeline", "steps": {"fit": {"_target_": "sklearn.cluster.OPTICS"}}},
            "can neither predict nor transform",
        ),
    ],
)
def test_an_estimator_whose_model_is_of_no_use_is_refused_before_the_run(estimator, said):
    with pytest.raises(ConfigurationError, match=said):
        recipe("sklearn.x", target=None, estimator=estimator, metrics=[])


@pytest.mark.parametrize(
    "name",
    ["cluster.KMeans", "neighbors.NearestNeighbors", "neighbors.KernelDensity", "covariance.EmpiricalCovariance",
     "decomposition.PCA", "ensemble.IsolationForest", "svm.OneClassSVM"],
)  # fmt: skip
def test_estimators_without_a_target_that_are_of_use_are_accepted(name):
    assert recipe("sklearn.x", estimator={"_target_": f"sklearn.{name}"}, target=None).traits is not None


# ---- statsmodels


FIT = """
import statsmodels.formula.api as smf
def fit(frame, key):
    return smf.ols("y ~ a + b + c", frame).fit()
"""


def test_a_result_of_statsmodels_is_a_model(tmp_path):
    (tmp_path / "fit.py").write_text(FIT)
    with contained():  # its import sets a variable of the environment
        chosen = Recipe.from_settings(RecipeSettings(function="fit.py:fit"), base=tmp_path)
        assert "statsmodels" in chosen.imports()
        assert {"patsy", "formulaic"} & chosen.imports().keys(), "what it reads formulas with decides the model, too"
        data = artifact.pack(fitted(chosen).estimator, ArtifactSettings()).data
    path = tmp_path / "model.joblib"
    path.write_bytes(data)
    assert np.allclose(joblib.load(path).predict(FRAME), FRAME["y"])
