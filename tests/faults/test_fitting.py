"""What people stumbled over in code, state, clocks and settings, from public reports, with data of our own."""

from __future__ import annotations

import importlib
import json
import os
import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_validate

from job.config.load import load
from job.config.settings import JobSettings
from job.engine.inline import InlineEngine
from job.fit import targets, user_function
from job.fit.train import fit_seed
from job.run.assembly import assemble
from job.run.run import run
from tests.support.folder_job import Job, counts


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


@pytest.fixture
def lib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of modules; what was imported from it is forgotten before each run, as a new process would."""
    folder = tmp_path / "lib"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    forget(folder)


def forget(folder: Path) -> None:
    for name, module in list(sys.modules.items()):
        if str(folder) in str(getattr(module, "__file__", "")) or name.startswith("_manyfit_file_"):
            del sys.modules[name]
    importlib.invalidate_caches()
    user_function._load.cache_clear()
    targets.resolve.cache_clear()


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
        # Python takes a file of the same second and size for the one that it has compiled.
        os.utime(
            folder / f"{name}.py", (1_600_000_000 + hash(text) % 10_000_000, 1_600_000_000 + hash(text) % 10_000_000)
        )


def line(slope: int, rows: int = 20) -> bytes:
    return ("x,y\n" + "".join(f"{x},{slope * x + 1}\n" for x in range(rows))).encode()


def played(job: Job, root: Path, document: dict[str, Any]) -> Any:
    settings = job.settings(recipe={"features": None, "target": None, "estimator": None, **document})
    return run(assemble(settings, root), {}, make_engine=lambda _: InlineEngine())


# ---- 42, 52: the code that a fit runs

FIT = """
import importlib
import house
from sklearn.linear_model import LinearRegression
def fit(frame, key):
    dyn = importlib.import_module("dyn")
    return LinearRegression().fit(frame[["x"]], frame["y"] * house.scale() * dyn.FACTOR)
"""


def test_a_helper_of_a_helper_that_was_edited_is_fitted_with(job: Job, lib: Path, tmp_path: Path) -> None:
    job.put("a.csv", line(2))
    (tmp_path / "fit.py").write_text(FIT)
    write(lib, house="import tariffs\ndef scale(): return tariffs.FACTOR\n", tariffs="FACTOR = 1\n", dyn="FACTOR = 1\n")
    found = []
    for changed in ({}, {}, {"tariffs": "FACTOR = 100\n"}, {"dyn": "FACTOR = 3\n"}):
        write(lib, **changed)
        forget(lib)
        report = played(job, tmp_path, {"function": "fit.py:fit"})
        found.append((counts(report)[:2], round(float(job.models()["a"].coef_[0]), 6)))
    assert found == [((1, 0), 2.0), ((0, 1), 2.0), ((1, 0), 200.0), ((1, 0), 600.0)]


# ---- 46, 61: files and clocks


def test_a_file_replaced_with_size_and_time_as_before_is_fitted_on(job: Job) -> None:
    found = []
    for slope in (2, 2, 9):
        for key in "ab":
            body = "x,y\n" + "".join(f"{x},{slope * x:03}\n" for x in range(20))
            job.put(f"{key}.csv", body.encode())
            os.utime(job.data / f"{key}.csv", (315532800, 315532800))
        report = job.run()
        found.append((counts(report)[:2], round(float(job.models()["a"].coef_[0]), 6)))
    assert found == [((2, 0), 2.0), ((0, 2), 2.0), ((2, 0), 9.0)]


def test_a_run_under_a_clock_that_was_ahead_does_not_stop_later_ones(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    from job.store.base import Store

    job.put("a.csv", line(2))
    with monkeypatch.context() as patch:
        patch.setattr(Store, "now", lambda store: datetime.now(UTC) + timedelta(days=400))
        job.run()
    job.put("a.csv", line(9))
    report = job.run()
    assert counts(report)[:2] == (1, 0)
    assert report.totals.superseded == 0
    assert job.models()["a"].coef_ == pytest.approx([9.0])


# ---- 47: a pipeline's cache

PREP = """
from sklearn.base import BaseEstimator, TransformerMixin
class Prep(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None): self.n_features_in_ = X.shape[1]; self.fitted_ = True; return self
    def transform(self, X): return X * FACTOR
FACTOR = 1.0
"""


def test_a_pipelines_cache_hands_out_nothing_of_older_code(job: Job, lib: Path, tmp_path: Path) -> None:
    job.put("a.csv", line(2))
    steps = [["prep", {"_target_": "shop_prep.Prep"}], ["fit", {"_target_": "sklearn.linear_model.LinearRegression"}]]
    pipeline = {"_target_": "sklearn.pipeline.Pipeline", "memory": str(tmp_path / "cache"), "steps": steps}
    found = []
    for factor in ("1.0", "10.0"):
        write(lib, shop_prep=PREP.replace("1.0", factor))
        forget(lib)
        recipe = {"features": ["x"], "target": "y", "allow": ["shop_prep"], "estimator": pipeline}
        assert counts(played(job, tmp_path, recipe))[0] == 1
        model = job.models()["a"]
        found.append(float(model.predict(pd.DataFrame({"x": [10.0]}))[0]))
    assert found == pytest.approx([21.0, 21.0])
    assert model[-1].coef_ == pytest.approx([0.2])


# ---- 45: what a function leaves behind


def test_a_setting_of_one_key_is_none_of_the_next(job: Job, tmp_path: Path) -> None:
    for key in "abc":
        job.put(f"{key}.csv", line(2))
    (tmp_path / "fit.py").write_text(
        "import os, sklearn\nfrom sklearn.linear_model import LinearRegression\n"
        "def fit(frame, key):\n"
        "    seen = [sklearn.get_config()['transform_output'], os.getcwd()]\n"
        "    if key == 'a':\n"
        "        sklearn.set_config(transform_output='pandas')\n"
        "        os.chdir('/')\n"
        "    model = LinearRegression().fit(frame[['x']], frame['y'])\n"
        "    model.seen_ = seen\n"
        "    return model\n"
    )
    before = [sklearn.get_config()["transform_output"], os.getcwd()]
    played(job, tmp_path, {"function": "fit.py:fit"})
    assert {key: model.seen_ for key, model in job.models().items()} == dict.fromkeys("abc", before)


# ---- 27: one undefined score


def test_a_rare_class_leaves_out_a_score_and_not_the_model(job: Job) -> None:
    chance = random.Random(5)
    frames = {}
    for key, rare in (("A", 20), ("B", 2), ("C", 1)):
        rows = [("low", i * 0.1) for i in range(20)] + [("mid", 3 + i * 0.1) for i in range(20)]
        rows += [("high", 9 + i * 0.1) for i in range(rare)]
        chance.shuffle(rows)
        text = "x,label\n" + "".join(f"{x:.2f},{label}\n" for label, x in rows)
        job.put(f"{key}.csv", text.encode())
        frames[key] = pd.read_csv(job.data / f"{key}.csv")
    names = ["accuracy", "neg_log_loss", "roc_auc_ovr"]
    estimator = {"_target_": "sklearn.linear_model.LogisticRegression", "max_iter": 1000}
    recipe = {"features": ["x"], "target": "label", "estimator": estimator, "validation": "kfold", "metrics": names}
    assert counts(job.run(recipe=recipe)) == (3, 0, 0, 0)
    models = job.models()
    for key, frame in frames.items():
        folds = StratifiedKFold(5, shuffle=True, random_state=fit_seed(job.settings().run.seed, key))
        alone = cross_validate(LogisticRegression(max_iter=1000), frame[["x"]], frame["label"], cv=folds, scoring=names)
        means = {name: float(np.mean(alone[f"test_{name}"])) for name in names}
        defined = {name: value for name, value in means.items() if np.isfinite(value)}
        row = job.row(key)
        assert json.loads(row["metrics"]) == pytest.approx(defined), key
        assert ("neg_log_loss" in (row["warnings"] or "")) is ("neg_log_loss" not in defined)
        assert list(models[key].classes_) == ["high", "low", "mid"]


# ---- 55, 51, 49: settings that arrive


def document(job: Job, recipe: str) -> JobSettings:
    text = f"input: {{uri: {job.data}}}\noutput: {{uri: {job.out}}}\nspark: {{master: inline}}\nrecipe: {recipe}\n"
    return load(document=text, env={"PWD": str(job.data.parent), "HOME": "/"}).settings


def test_classes_that_are_numbers_reach_a_search_as_such(job: Job) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 2))
    label = (x[:, 0] + rng.normal(scale=1.5, size=120) > 1.2).astype(int)
    frame = pd.DataFrame({"x1": x[:, 0], "x2": x[:, 1], "i": label})
    frame.to_csv(job.data / "a.csv", index=False)
    weights = [None, "balanced", {0: 1.0, 1: 5.0}, {0: 1.0, 1: 1.01}]
    settings = document(
        job,
        "{features: [x1, x2], target: i, estimator: {_target_: sklearn.model_selection.GridSearchCV, "
        "estimator: {_target_: sklearn.linear_model.LogisticRegression}, scoring: accuracy, "
        "param_grid: {class_weight: [null, balanced, {0: 1.0, 1: 5.0}, {0: 1.0, 1: 1.01}]}}}",
    )
    run(assemble(settings), {}, make_engine=lambda _: InlineEngine())
    alone = GridSearchCV(LogisticRegression(random_state=0), {"class_weight": weights}, scoring="accuracy")
    alone.fit(pd.read_csv(job.data / "a.csv")[["x1", "x2"]], frame["i"])
    found = job.models()["a"]
    assert found.best_params_ == alone.best_params_
    assert np.array_equal(found.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])
    assert np.isfinite(found.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("weights", ["{0: 1.0, 1: 5.0}", "{false: 1.0, true: 5.0}"])
def test_classes_that_are_numbers_or_truth_values_have_their_weights(job: Job, weights: str) -> None:
    frame = pd.DataFrame({"x": np.arange(12.0), "i": [0, 0, 1, 0, 1, 0, 1, 0, 1, 1, 1, 1]})
    if "true" in weights:
        frame["i"] = frame["i"].astype(bool)
    frame.to_csv(job.data / "a.csv", index=False)
    node = f"{{_target_: sklearn.linear_model.LogisticRegression, class_weight: {weights}}}"
    settings = document(job, f"{{features: [x], target: i, estimator: {node}}}")
    run(assemble(settings), {}, make_engine=lambda _: InlineEngine())
    alone = LogisticRegression(class_weight={0: 1.0, 1: 5.0}).fit(frame[["x"]], frame["i"])
    assert np.array_equal(job.models()["a"].coef_, alone.coef_)


# ---- 50: weights reach what scikit-learn lets them reach


def test_row_weights_of_a_stack_are_those_of_scikit_learn(job: Job) -> None:
    from sklearn.ensemble import StackingRegressor

    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"x": rng.random(60).round(3), "w": rng.random(60).round(3) + 0.1})
    frame["y"] = (frame["x"] ** 2).round(4)
    frame.to_csv(job.data / "a.csv", index=False)
    linear = {"_target_": "sklearn.linear_model.LinearRegression"}
    stack = {"_target_": "sklearn.ensemble.StackingRegressor", "estimators": {"a": linear}, "cv": 3}
    job.run(recipe={"features": ["x"], "target": "y", "sample_weight": "w", "estimator": stack})
    read = pd.read_csv(job.data / "a.csv", float_precision="round_trip")
    alone = StackingRegressor([("a", LinearRegression())], cv=3)
    alone.fit(read[["x"]], read["y"], sample_weight=read["w"])
    assert np.array_equal(job.models()["a"].predict(read[["x"]]), alone.predict(read[["x"]]))
