"""Fits a recipe on rows: gives a fitted estimator and its metrics. Pure: runs on executors, accesses no store.

The final model is always fitted on all rows. Metrics come from held-out rows if the recipe validates, else from the
rows of the fit.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import sklearn

from job.errors import PartitionError, SkipPartition
from job.fit import checks, evaluation, fold_order, frame, linear, ready, validation
from job.fit.contest import Against
from job.fit.evaluation import Data
from job.fit.fit_errors import Words, caught, fit_error
from job.fit.fit_function import train_function
from job.fit.fitted import MAX_WARNINGS, Evaluation, Fitted, defined
from job.fit.recipe import Recipe
from job.fit.traits import Traits, as_tuple, usable
from job.reader.order import has_order

__all__ = ["Fitted", "fit_seed", "train"]


def fit_seed(run_seed: int, key: str) -> int:
    """The seed of a key's fit, in [0, 2**32). It is the same on every machine and in every run."""
    digest = hashlib.sha256(f"{run_seed}\0".encode() + key.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:4], "big")


def train(table: pa.Table, recipe: Recipe, *, key: str, seed: int, against: Against | None = None) -> Fitted:
    """Fit the recipe on the rows of one partition.

    Parameters
    ----------
    table
        The rows; columns marked with ``reader.KEY_FIELD`` are features only if the recipe names them.
    recipe
        What to fit.
    key
        The partition's key; a user's function gets it.
    seed
        See `fit_seed`.
    against
        The live model and the metric of the comparison; None for no comparison.

    Raises
    ------
    PartitionError
        The rows cannot be trained on, or the fit raised; the cause is chained.
    SkipPartition
        ``empty`` or ``too_few_rows``.
    """
    traits = recipe.traits
    # Before the rows are counted: a file with one wrong line (such as an error page) is read as a header without rows.
    names = checks.columns(table, recipe) if traits is not None else ()
    if not table.num_rows:
        raise SkipPartition("empty", "there is no row")
    if traits is None:
        return train_function(table, recipe, key, seed, against)
    if traits.kind in linear.SHORT:
        data = linear.arrays(table, recipe, names)
        if data is not None:
            words = Words.of(table)
            del table  # the arrays are copies: free the table, or a large partition is in memory twice
            frame.give_back(data[0].size)
            return linear.fit(*data, recipe, traits, names, seed, words)
    held = [table]
    del table
    return _train_frame(held, recipe, traits, names, seed, against)


def _train_frame(
    held: list[pa.Table], recipe: Recipe, traits: Traits, names: tuple[str, ...], seed: int, against: Against | None
) -> Fitted:
    """Fit on a frame. Takes the table out of ``held``, so that its memory is freed when the frame is made."""
    notes: list[str] = []
    rows = ready.readied(held.pop(), recipe, traits, names, notes)
    traits, weights, method, metrics = rows.traits, rows.weights, rows.method, rows.metrics
    targets = as_tuple(recipe.target)
    y = frame.target(rows.table, targets) if targets else None
    order, groups = held_out_by(rows.table, recipe, method)
    X = frame.features(rows.table, names, series=_as_series(recipe, traits, names))
    notes += fold_order.told(traits.folds, X, y, ordered=has_order(rows.table))
    words, count = Words.of(rows.table), rows.table.num_rows
    del rows.table
    frame.give_back(X.size)

    def fitted(build: Callable[[int], Any], traits: Traits, rows: Any = None) -> Any:
        if traits.foreign:  # scikit-learn's estimators use random_state instead
            random.seed(seed)
            np.random.seed(seed)
        estimator = build(seed)
        part = X if rows is None else X.iloc[rows]
        options: dict[str, Any] = {}
        if weights is not None and traits.weight is not None:
            options[traits.weight] = weights if rows is None else weights[rows]
        if y is None:
            return estimator.fit(part, **options)
        return estimator.fit(part, y if rows is None else y.iloc[rows], **options)

    fit = partial(fitted, rows.build, traits)
    fit_baseline = None if rows.baseline is None else partial(fitted, recipe.build_baseline, rows.baseline)
    data = Data(X=X, y=y, order=order, classifier=traits.classifier)
    found = Evaluation()
    texts: list[str] = []
    # Parameters that were validated before the run need not be validated in each fit.
    with caught(texts), sklearn.config_context(skip_parameter_validation=traits.checked):
        try:
            if method != "none":
                splits = validation.splits(
                    recipe.validation, y, classifier=traits.classifier, seed=seed, order=order, groups=groups
                )
                found = evaluation.evaluate(
                    recipe, splits, fit, fit_baseline, data, metrics, words, notes, against=against
                )
            start = time.perf_counter()
            estimator = fit()
            seconds = time.perf_counter() - start
            refuse_unusable(estimator)
            if method == "none" and y is not None:
                naive = None if fit_baseline is None else fit_baseline()
                found = evaluation.on_training_rows(estimator, naive, data, metrics, words, notes)
        except (PartitionError, MemoryError):
            raise
        except Exception as error:
            if rows.constant:
                message = "the target has one value only, and the estimator needs more"
                raise fit_error(error, words, reason="constant_target", what=message) from error
            raise fit_error(error, words, names=names if traits.foreign else ()) from error
    return Fitted(
        estimator=estimator,
        evaluation=replace(found, metrics=defined(found.metrics, notes)),
        rows=count,
        warnings=tuple((notes + texts)[:MAX_WARNINGS]),
        seconds=seconds,
        features=X,
        names=names,
    )


def refuse_unusable(estimator: Any) -> None:
    """Raise ``not_an_estimator`` for a model that cannot be applied to new rows."""
    if not usable(estimator):
        message = f"the fitted {type(estimator).__name__} can neither predict nor transform"
        raise PartitionError("not_an_estimator", message, hint="A search needs refit, a LocalOutlierFactor novelty.")


def held_out_by(table: pa.Table, recipe: Recipe, method: str) -> tuple[Any, Any]:
    """The values that order the rows, and those that group them; None and None without a validation."""
    if method == "none":
        return None, None
    return validation.order_of(recipe, table), validation.groups_of(recipe, table)


def _as_series(recipe: Recipe, traits: Traits, names: tuple[str, ...]) -> bool:
    if len(names) != 1:
        return False
    return traits.text or (isinstance(recipe.features, str) and not traits.table)
