"""Judges a fit on rows it has not seen: metrics by window and by step, skill, residuals, comparison with a live model.

It needs no fits beyond those of the validation. Predictions of single rows are computed only if the loss of each row is
needed: for a baseline, intervals, a backtest, or the comparison with a live model.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.exceptions import FitFailedWarning

from job.errors import PartitionError
from job.fit import backtest, scores
from job.fit.contest import Against, Held, compare, stamp
from job.fit.fit_errors import Words, describe
from job.fit.fitted import Evaluation
from job.fit.predicted import Predicted
from job.fit.recipe import Recipe
from job.fit.validation import Split
from job.judge import intervals, losses, skill

Rows = np.ndarray[Any, Any]
Fit = Callable[[Rows], Any]

_ABSOLUTE, _SQUARED = "neg_mean_absolute_error", "neg_root_mean_squared_error"


@dataclass(kw_only=True)
class Data:
    """The rows of a key for its evaluation."""

    X: Any
    """features, as the estimator gets them, shape (n, features)"""
    y: Any
    """target, shape (n,) or (n, targets)"""
    order: Any = None
    """the column that orders the rows (`pandas.Index`), or None"""
    classifier: bool = False
    """whether the target is classes"""

    def main_loss(self, metrics: tuple[str, ...]) -> str:
        """The metric for the skill: the first metric with a row loss, else a default by the kind of target."""
        named = next((name for name in metrics if name in losses.LOSSES), None)
        classes = self.classifier or (self.y.ndim == 1 and not pd.api.types.is_numeric_dtype(self.y.dtype))
        return named or ("accuracy" if classes else _SQUARED)


def evaluate(
    recipe: Recipe,
    splits: Iterator[Split],
    fit: Fit,
    fit_baseline: Fit | None,
    data: Data,
    metrics: tuple[str, ...],
    words: Words,
    notes: list[str],
    *,
    against: Against | None = None,
) -> Evaluation:
    """Fit on the train rows of each split, and judge the fit on its test rows.

    Parameters
    ----------
    recipe
        The recipe, with its validation and its baseline.
    splits
        The result of `job.fit.validation.splits`.
    fit, fit_baseline
        Functions that fit the estimator, and the baseline, on the rows with the given numbers. ``fit_baseline`` is None
        without a baseline, and for the seasonal naive forecast.
    data
        All rows.
    metrics
        Scorer names.
    words
        The texts of the data, which messages must not hold.
    notes
        A list to which warnings are added.
    against
        The live model and the metric of the comparison; None for no comparison.

    Raises
    ------
    PartitionError
        ``metric_error``: the rows do not allow this validation, or the estimator has no method that a scorer needs.
    """
    judge = _Judge(recipe, data, metrics, words, against)
    if judge.only_scores():
        return _scored(splits, fit, judge, words, notes)
    estimator = None
    for split in splits:
        if estimator is None or recipe.validation.method != "backtest" or recipe.validation.refit:
            estimator, fitted_on = fit(split.train), split.train
        judge.add(split, fitted_on, estimator, fit_baseline)
    return judge.evaluation(notes)


def _scored(splits: Iterator[Split], fit: Fit, judge: _Judge, words: Words, notes: list[str]) -> Evaluation:
    """Like scikit-learn's `cross_validate`: a failed fold gets no scores. Raises the last error if all fail."""
    failed: list[Exception] = []
    for split in splits:
        try:
            estimator = fit(split.train)
        except (PartitionError, MemoryError):
            raise
        except Exception as error:
            warnings.warn(f"a fold is not scored: {describe(error, words)}", FitFailedWarning, stacklevel=2)
            failed.append(error)
            judge.add_failed(split)
        else:
            judge.add(split, split.train, estimator, None)
    if judge.all_failed():
        raise failed[-1]
    return judge.evaluation(notes)


class _Judge:
    def __init__(
        self, recipe: Recipe, data: Data, metrics: tuple[str, ...], words: Words, against: Against | None
    ) -> None:
        self._recipe, self._data, self._metrics, self._words = recipe, data, metrics, words
        self._against = against
        self._backtest = recipe.validation.method == "backtest"
        self._main = data.main_loss(metrics)
        self._baseline: Any = None
        self._splits: list[Split] = []
        self._failed = 0
        self._scores: list[dict[str, float]] = []
        self._held: list[Held] = []
        self._own: list[Rows] = []
        self._naive: list[Rows] = []
        self._parts: list[dict[str, Rows]] = []

    def only_scores(self) -> bool:
        """Whether only the mean scores of a k-fold validation are needed, and no losses of single rows."""
        return self._recipe.validation.method == "kfold" and not (
            self._against or self._recipe.baseline or self._recipe.validation.intervals
        )

    def add_failed(self, split: Split) -> None:
        self._splits.append(split)
        self._scores.append(dict.fromkeys(self._metrics, math.nan))
        self._failed += 1

    def all_failed(self) -> bool:
        return 0 < self._failed == len(self._splits)

    def add(self, split: Split, fitted_on: Rows, estimator: Any, fit_baseline: Fit | None) -> None:
        data = self._data
        X, y = data.X.iloc[split.test], data.y.iloc[split.test]
        self._splits.append(split)
        self._scores.append(scores.score(estimator, X, y, self._metrics, self._words))
        told = Predicted(estimator, X, y)
        part: dict[str, Rows] = {}
        if self._recipe.season is not None or fit_baseline is not None:
            self._compare_naive(split, told.losses(self._main), X, y, fit_baseline)
        if self._against is not None and data.order is not None:
            newest = data.order[fitted_on].max()
            self._held.append(Held(rows=split.test, newest=newest, losses=told.losses(self._against.metric)))
        if self._recipe.validation.intervals:
            part["residuals"] = told.residuals()
        if self._backtest:
            of_classes = self._main in ("accuracy", "neg_log_loss")
            part |= {metric: told.losses(metric) for metric in (("accuracy",) if of_classes else (_ABSOLUTE, _SQUARED))}
        self._parts.append(part)

    def _compare_naive(self, split: Split, own: Rows, X: Any, y: Any, fit_baseline: Fit | None) -> None:
        if fit_baseline is not None:
            if self._baseline is None or not self._backtest or self._recipe.validation.refit:
                self._baseline = fit_baseline(split.train)
            self._own.append(own)
            self._naive.append(Predicted(self._baseline, X, y).losses(self._main))
            return
        assert self._recipe.season is not None
        assert split.window is not None
        ends, begins = split.window.ends, split.window.begins
        if self._backtest and not self._recipe.validation.refit:
            assert self._splits[0].window is not None
            ends = self._splits[0].window.ends
        target = np.asarray(self._data.y)[backtest.ordered(self._data.order)]
        count = begins - ends + len(split.test)
        forecast = skill.seasonal_naive(target, self._recipe.season, ends, count)
        if forecast is not None:
            self._own.append(own)
            self._naive.append(losses.rows(self._main, np.asarray(y), forecast[begins - ends :]))

    def evaluation(self, notes: list[str]) -> Evaluation:
        data, levels = self._data, self._recipe.validation.intervals
        if data.order is not None:
            notes += backtest.remarks(data.order)
        contest = None
        if self._against is not None and data.order is not None:
            contest = compare(self._against, self._held, data.order, data.X, data.y)
        residuals = None
        if levels:
            steps, window = self._steps() if self._backtest else (None, None)
            residuals = json.dumps(intervals.describe(self._joined("residuals"), levels, steps, window))
        return Evaluation(
            metrics={name: float(np.mean([each[name] for each in self._scores])) for name in self._metrics},
            skill=self._skill(notes),
            windows=self._windows() if self._backtest else None,
            horizons=self._horizons() if self._backtest else None,
            residuals=residuals,
            until=stamp(data.order),
            contest=contest,
        )

    def _skill(self, notes: list[str]) -> float | None:
        if self._recipe.baseline is None:
            return None
        if not self._own:
            notes.append("no skill: the rows do not reach back a whole season")
            return None
        found = skill.skill(self._main, np.concatenate(self._own), np.concatenate(self._naive))
        if found is None:
            notes.append("no skill: the baseline makes no error on these rows")
        return found

    def _joined(self, name: str) -> Rows:
        return np.concatenate([part[name] for part in self._parts])

    def _steps(self) -> tuple[Rows, Rows]:
        steps = [each.window.steps for each in self._splits if each.window is not None]
        return np.concatenate(steps), np.repeat(np.arange(len(steps)), [len(each) for each in steps])

    def _windows(self) -> str:
        found = []
        for split, told in zip(self._splits, self._scores, strict=True):
            stamps = self._data.order[split.test]
            found.append(
                {
                    "fitted": len(split.train),
                    "rows": len(split.test),
                    "from": stamp(stamps[:1]),
                    "to": stamp(stamps[-1:]),
                    "metrics": {name: value for name, value in told.items() if np.isfinite(value)},
                }
            )
        return json.dumps(found)

    def _horizons(self) -> str:
        steps, _ = self._steps()
        count = np.bincount(steps)[1:]
        some = np.maximum(count, 1)

        def mean(name: str) -> list[float | None]:
            total = np.bincount(steps, weights=self._joined(name))[1:]
            return [value if n else None for value, n in zip((total / some).tolist(), count.tolist(), strict=True)]

        if "accuracy" in self._parts[0]:
            return json.dumps({"n": count.tolist(), "error_rate": mean("accuracy")})
        rmse = [None if each is None else each**0.5 for each in mean(_SQUARED)]
        return json.dumps({"n": count.tolist(), "mae": mean(_ABSOLUTE), "rmse": rmse})


def on_training_rows(
    estimator: Any, baseline: Any, data: Data, metrics: tuple[str, ...], words: Words, notes: list[str]
) -> Evaluation:
    """Metrics and skill on the rows of the fit, for recipes without validation."""
    found = None
    if baseline is not None:
        main = data.main_loss(metrics)
        own, naive = (Predicted(each, data.X, data.y).losses(main) for each in (estimator, baseline))
        found = skill.skill(main, own, naive)
        if found is None:
            notes.append("no skill: the baseline makes no error on these rows")
    return Evaluation(metrics=scores.score(estimator, data.X, data.y, metrics, words), skill=found)
