"""Fits with the user's own function: it gets the frame and the key, and returns an estimator or a pair with metrics."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import sklearn
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from job.errors import PartitionError, SkipPartition
from job.fit import checks, evaluation, frame, validation
from job.fit.contest import Against
from job.fit.evaluation import Data
from job.fit.fit_errors import Words, caught, fit_error
from job.fit.fitted import MAX_WARNINGS, Evaluation, Fitted, defined
from job.fit.recipe import Recipe
from job.fit.traits import as_tuple, usable
from job.words import counted


def train_function(table: pa.Table, recipe: Recipe, key: str, seed: int, against: Against | None = None) -> Fitted:
    """Fit with the recipe's function. Parameters and errors are those of `job.fit.train.train`.

    The function gets missing and infinite values, texts and dates unchanged, and must handle them itself. The global
    random generators of Python and numpy are seeded before each call.
    """
    assert recipe.function is not None
    function = recipe.function
    smallest = recipe.smallest(0)
    if table.num_rows < smallest:
        message = f"{counted(table.num_rows, 'row')}, and at least {smallest} are needed"
        raise SkipPartition("too_few_rows", message, hint="recipe.min_rows sets the least.")
    named = as_tuple(recipe.features) + as_tuple(recipe.target)
    names = checks.columns(table, recipe) if named else ()
    data = frame.to_pandas(table)
    scorers = recipe.metrics or ()
    given: dict[str, float] = {}

    def fit(rows: Any = None) -> Any:
        random.seed(seed)
        np.random.seed(seed)
        part = data.iloc[rows].reset_index(drop=True) if rows is not None else data.copy() if scorers else data
        result = function.call(part, key, seed)
        estimator, metrics = result if isinstance(result, tuple) and len(result) == 2 else (result, {})
        _check_estimator(estimator, function.reference)
        if rows is None:
            given.update(_given_metrics(metrics, function.reference))
        return estimator

    texts: list[str] = []
    notes: list[str] = []
    words = Words.of(table)
    found = Evaluation()
    method = recipe.validation.method
    with caught(texts):
        try:
            if scorers or recipe.baseline is not None:
                X: Any = data[recipe.features if isinstance(recipe.features, str) else list(names)]
                y: Any = data[recipe.target if isinstance(recipe.target, str) else list(as_tuple(recipe.target))]
            if method != "none":
                order, groups = validation.order_of(recipe, table), validation.groups_of(recipe, table)
                judged = Data(X=X, y=y, order=order)
                splits = validation.splits(
                    recipe.validation, y, classifier=False, seed=seed, order=order, groups=groups
                )
                found = evaluation.evaluate(
                    recipe, splits, fit, _baseline(recipe, X, y, seed), judged, scorers, words, notes, against=against
                )
            start = time.perf_counter()
            estimator = fit()
            seconds = time.perf_counter() - start
            if method == "none" and (scorers or recipe.baseline is not None):
                fit_baseline = _baseline(recipe, X, y, seed)
                naive = None if fit_baseline is None else fit_baseline(np.arange(len(y)))
                judged = Data(X=X, y=y)
                found = evaluation.on_training_rows(estimator, naive, judged, scorers, words, notes)
        except (PartitionError, MemoryError):
            raise
        except (Exception, SystemExit) as error:
            raise fit_error(error, words) from error
    return Fitted(
        estimator=estimator,
        evaluation=replace(found, metrics=defined({**found.metrics, **given}, notes)),
        rows=table.num_rows,
        warnings=tuple((notes + texts)[:MAX_WARNINGS]),
        seconds=seconds,
    )


def _baseline(recipe: Recipe, X: Any, y: Any, seed: int) -> Callable[[Any], Any] | None:
    if recipe.baseline_traits is None:
        return None
    return lambda rows: recipe.build_baseline(seed).fit(X.iloc[rows], y.iloc[rows])


def _check_estimator(estimator: Any, reference: str) -> None:
    kind = type(estimator).__name__
    if isinstance(estimator, type) or not usable(estimator):
        message = f"{reference} returned {'the class ' + estimator.__name__ if isinstance(estimator, type) else kind}"
        hint = "It returns a fitted estimator that can predict or transform, or that and a mapping of metrics."
        raise PartitionError("not_an_estimator", message, hint=hint)
    if isinstance(estimator, sklearn.base.BaseEstimator):
        try:
            check_is_fitted(estimator)
        except NotFittedError:
            raise PartitionError("not_an_estimator", f"{reference} returned a {kind} that is not fitted") from None
        except TypeError:
            return  # an estimator without fit


def _given_metrics(metrics: Any, reference: str) -> dict[str, float]:
    if metrics is None:
        return {}
    if not isinstance(metrics, Mapping):
        message = f"{reference} returned metrics as {type(metrics).__name__}, not as a mapping of names to numbers"
        raise PartitionError("metric_error", message)
    found = {}
    for name, value in metrics.items():
        try:
            found[str(name)] = float(value)
        except (TypeError, ValueError):
            message = f"{reference}: metric {name!r} is a {type(value).__name__}, not a number"
            raise PartitionError("metric_error", message) from None
    return found
