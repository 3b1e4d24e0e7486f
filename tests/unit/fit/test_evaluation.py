"""What held-out rows say of a fit: metrics by window, errors by step, skill, residuals."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, root_mean_squared_error
from sklearn.model_selection import TimeSeriesSplit, cross_validate

from job.config.settings import RecipeSettings
from job.errors import ConfigurationError, PartitionError
from job.fit.fitted import Fitted
from job.fit.recipe import Recipe
from job.fit.train import train
from job.judge import intervals

LINEAR = {"_target_": "sklearn.linear_model.LinearRegression"}
MEAN = {"_target_": "sklearn.dummy.DummyRegressor"}
BACKTEST = {"method": "backtest", "column": "day", "windows": 4, "horizon": 7}


def series(count: int = 120, seed: int = 0) -> pd.DataFrame:
    """Daily sales with a week's season and a trend, rows not in the order of time."""
    rng = np.random.default_rng(seed)
    n = np.arange(count)
    week = np.array([0, 5, 2, 8, 1, 9, 4.0])[n % 7]
    data = pd.DataFrame(
        {
            "day": pd.date_range("2024-01-01", periods=count),
            "n": n.astype(float),
            **{f"d{each}": (n % 7 == each).astype(float) for each in range(6)},
            "y": 0.1 * n + week + rng.normal(size=count),
            "sign": np.where(week + rng.normal(size=count) > 4, "high", "low"),
        }
    )
    return data.sample(frac=1, random_state=seed).reset_index(drop=True)


FRAME = series()
FEATURES = ["n", *(f"d{each}" for each in range(6))]


def fitted(data: pd.DataFrame = FRAME, **options: Any) -> Fitted:
    options = {"features": FEATURES, "target": "y", "estimator": LINEAR, "validation": BACKTEST, **options}
    recipe = Recipe.from_settings(RecipeSettings(**options))
    return train(pa.Table.from_pandas(data, preserve_index=False), recipe, key="k", seed=1)


def test_the_metrics_of_a_backtest_are_scikit_learns_cross_validation() -> None:
    names = ["r2", "neg_mean_absolute_error"]
    told = fitted(metrics=names)
    data = FRAME.sort_values("day")
    expected = cross_validate(
        LinearRegression(), data[FEATURES], data["y"], cv=TimeSeriesSplit(4, test_size=7), scoring=names
    )
    windows = json.loads(told.evaluation.windows or "")
    for name in names:
        assert told.metrics[name] == pytest.approx(expected[f"test_{name}"].mean())
        assert [each["metrics"][name] for each in windows] == pytest.approx(expected[f"test_{name}"])
    assert [(each["fitted"], each["rows"]) for each in windows] == [(92, 7), (99, 7), (106, 7), (113, 7)]
    assert windows[-1]["to"] == "2024-04-29T00:00:00" == told.evaluation.until
    assert windows[0]["from"] == "2024-04-02T00:00:00"


def test_the_final_model_is_fitted_on_all_rows() -> None:
    expected = LinearRegression().fit(FRAME[FEATURES], FRAME["y"])
    assert fitted().estimator.coef_ == pytest.approx(expected.coef_)
    assert fitted().rows == len(FRAME)


def _residuals(refit: bool = True) -> np.ndarray:
    data = FRAME.sort_values("day")
    found = []
    model = None
    for train_rows, test in TimeSeriesSplit(4, test_size=7).split(data):
        if model is None or refit:
            model = LinearRegression().fit(data[FEATURES].iloc[train_rows], data["y"].iloc[train_rows])
        found.append(data["y"].iloc[test] - model.predict(data[FEATURES].iloc[test]))
    return np.array(found)


@pytest.mark.parametrize("refit", [True, False])
def test_errors_by_step_are_over_the_windows(refit: bool) -> None:
    told = fitted(validation={**BACKTEST, "refit": refit})
    horizons = json.loads(told.evaluation.horizons or "")
    residuals = _residuals(refit)
    assert horizons["n"] == [4] * 7
    assert horizons["mae"] == pytest.approx(np.abs(residuals).mean(axis=0))
    assert horizons["rmse"] == pytest.approx(np.sqrt((residuals**2).mean(axis=0)))


def test_residuals_are_kept_by_step_and_their_coverage_is_measured() -> None:
    told = json.loads(fitted(validation={**BACKTEST, "intervals": [80, 95]}).evaluation.residuals or "")
    residuals = _residuals()
    assert told["n"] == 28
    assert told["all"]["80"] == pytest.approx(intervals.half_width(residuals.ravel(), 80))
    assert told["steps"]["80"] == pytest.approx(np.abs(residuals).max(axis=0))
    assert told["steps"]["95"] == [None] * 7
    assert told["held"]["80"][1] == 7


def test_classes_have_an_error_rate_by_step() -> None:
    told = fitted(target="sign", estimator={"_target_": "sklearn.linear_model.LogisticRegression"})
    horizons = json.loads(told.evaluation.horizons or "")
    windows = json.loads(told.evaluation.windows or "")
    assert np.mean(horizons["error_rate"]) == pytest.approx(
        1 - np.mean([each["metrics"]["accuracy"] for each in windows])
    )
    assert told.evaluation.residuals is None


# ---- skill


def test_the_skill_is_over_the_baseline_on_the_same_rows() -> None:
    told = fitted(baseline=MEAN, metrics="neg_mean_absolute_error")
    data = FRAME.sort_values("day")
    naive = []
    for train_rows, test in TimeSeriesSplit(4, test_size=7).split(data):
        mean = DummyRegressor().fit(data[FEATURES].iloc[train_rows], data["y"].iloc[train_rows])
        naive.append(mean_absolute_error(data["y"].iloc[test], mean.predict(data[FEATURES].iloc[test])))
    assert told.evaluation.skill == pytest.approx(1 - np.abs(_residuals()).mean() / np.mean(naive))


def test_the_seasonal_naive_baseline_is_the_row_a_season_before() -> None:
    told = fitted(baseline={"seasonal_naive": 7})
    y = FRAME.sort_values("day")["y"].to_numpy()
    naive = y[92:120] - y[85:113]
    rmse = root_mean_squared_error(np.zeros(28), _residuals().ravel())
    assert told.evaluation.skill == pytest.approx(1 - rmse / np.sqrt((naive**2).mean()))


def test_the_seasonal_naive_baseline_does_not_look_into_the_gap() -> None:
    """A season of one row and a gap of three: each step is predicted by the last row before the gap."""
    told = fitted(
        validation={**BACKTEST, "gap": 3}, baseline={"seasonal_naive": 1}, metrics="neg_mean_absolute_error",
        estimator=MEAN,
    )  # fmt: skip
    y = FRAME.sort_values("day")["y"].to_numpy()
    own, naive = [], []
    for begin in (92, 99, 106, 113):
        own.append(np.abs(y[begin : begin + 7] - y[: begin - 3].mean()))
        naive.append(np.abs(y[begin : begin + 7] - y[begin - 4]))
    assert told.evaluation.skill == pytest.approx(1 - np.mean(own) / np.mean(naive))


def test_without_a_validation_the_skill_is_of_the_training_rows() -> None:
    told = fitted(validation="none", baseline=MEAN)
    error = FRAME["y"] - LinearRegression().fit(FRAME[FEATURES], FRAME["y"]).predict(FRAME[FEATURES])
    assert told.evaluation.skill == pytest.approx(1 - np.sqrt((error**2).mean()) / FRAME["y"].std(ddof=0))


def test_the_mean_is_no_better_than_itself() -> None:
    assert fitted(estimator=MEAN, baseline=MEAN).evaluation.skill == 0.0


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"baseline": {"seasonal_naive": 500}}, "do not reach back a whole season"),
        ({"baseline": MEAN, "target": "flat"}, "the baseline makes no error"),
    ],
)
def test_why_there_is_no_skill_is_told(changes: dict[str, Any], note: str) -> None:
    told = fitted(FRAME.assign(flat=1.0), **changes)
    assert told.evaluation.skill is None
    assert any(note in each for each in told.warnings)


def test_a_function_is_judged_like_an_estimator(tmp_path: Any) -> None:
    (tmp_path / "own.py").write_text(
        "from sklearn.linear_model import LinearRegression\n"
        f"def fit(frame, key):\n    return LinearRegression().fit(frame[{FEATURES!r}], frame['y'])\n"
    )
    options = {"metrics": ["r2"], "baseline": MEAN, "validation": {**BACKTEST, "intervals": [80]}}
    settings = RecipeSettings(function="own.py:fit", features=FEATURES, target="y", **options)  # type: ignore[arg-type]
    recipe = Recipe.from_settings(settings, base=tmp_path)
    told = train(pa.Table.from_pandas(FRAME, preserve_index=False), recipe, key="k", seed=1).evaluation
    same = fitted(**options).evaluation
    assert told.metrics == pytest.approx(same.metrics)
    assert told.skill == pytest.approx(same.skill)
    assert told.residuals == same.residuals
    assert told.windows == same.windows


# ---- what cannot be done is told


def test_ties_and_gaps_are_told() -> None:
    data = FRAME.assign(day=FRAME["day"].where(FRAME["day"] != "2024-02-01", pd.Timestamp("2024-02-02")))
    warnings = fitted(data).warnings
    assert any("1 rows bear the time stamp of another row" in each for each in warnings)
    assert any("1 gap of more than the usual step" in each for each in warnings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation": {**BACKTEST, "horizon": "60d"}}, "time stamps do not reach back far enough"),
        ({"validation": {**BACKTEST, "column": "n", "horizon": "7d"}}, "'n' holds no time stamps"),
    ],
)
def test_rows_that_do_not_allow_a_backtest_are_a_reason(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PartitionError, match=message) as caught:
        fitted(**changes)
    assert caught.value.reason == "metric_error"
    assert caught.value.hint


def test_a_key_with_too_few_rows_for_the_windows_is_skipped_as_too_small() -> None:
    from job.errors import SkipPartition

    with pytest.raises(SkipPartition) as caught:
        fitted(FRAME.head(30))
    assert caught.value.reason == "too_few_rows"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"baseline": {"_target_": "sklearn.dummy.DummyClassifier"}}, "is a classifier, and LinearRegression is a reg"),
        ({"baseline": {"_target_": "sklearn.dummy.Dummy"}}, "recipe.baseline"),
        ({"baseline": {"seasonal_naive": 7}, "target": "sign", "estimator": {"_target_": "sklearn.linear_model.LogisticRegression"}}, "seasonal_naive is for regressors"),
        ({"validation": {**BACKTEST, "intervals": [80]}, "target": "sign", "estimator": {"_target_": "sklearn.linear_model.LogisticRegression"}}, "intervals: are for regressors"),
        ({"validation": {"method": "kfold", "stratified": True}}, "stratified: is for classifiers"),
    ],
)  # fmt: skip
def test_recipes_that_cannot_be_judged_are_refused_before_the_run(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        fitted(**changes)


@pytest.mark.parametrize(
    "recipe",
    [
        {"baseline": {"seasonal_naive": 7}},
        {"baseline": {"seasonal_naive": 0}, "validation": BACKTEST},
        {"baseline": {}},
    ],
)
def test_a_baseline_that_is_none_is_a_mistake_in_the_settings(recipe: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"seasonal_naive|_target_"):
        RecipeSettings(estimator=LINEAR, target="y", **recipe)
