"""Rows and a recipe to a fitted estimator and its metrics. Pure: called on executors, never touches a store.

The final model is always fitted on all rows. Metrics come from held-out rows if the recipe validates, else from the
rows of the fit.

Small linear fits take a shorter way: scikit-learn's own ``fit`` on an array instead of a DataFrame, with the checks of
values that were already made here switched off, and the feature names set afterwards. The pickled models of both ways
are equal to the last byte; a test compares them for each class in `SHORT`.
"""

from __future__ import annotations

import hashlib
import random
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import sklearn
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge
from sklearn.utils.validation import check_is_fitted

from job import checks, frame, validation
from job.errors import PartitionError, SkipPartition
from job.faults import fit_error
from job.recipe import Plan, Recipe, as_tuple

SHORT: frozenset[type] = frozenset({LinearRegression, Ridge, Lasso, ElasticNet, LogisticRegression})
"""Classes, not subclasses, that get an array: fitting them takes no longer than scikit-learn's look at a DataFrame."""

_LINEAR = frozenset({LinearRegression, Ridge, Lasso, ElasticNet})
_MAX_WARNINGS = 5
_SAMPLE = 20


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A fitted estimator and what is known about the fit."""

    estimator: Any
    """fitted on all rows"""
    metrics: dict[str, float]
    """by scorer name; those that are undefined on these rows are left out"""
    rows: int
    """rows fitted"""
    warnings: tuple[str, ...]
    """for a person, at most five"""
    seconds: float
    """of the final fit alone"""
    features: Any = field(default=None, repr=False)
    """the features as the estimator got them, or an array"""
    names: tuple[str, ...] = ()
    """their names"""

    @property
    def sample(self) -> Any:
        """A few rows of the features, as the estimator wants them; None for a function."""
        if isinstance(self.features, np.ndarray):
            return pd.DataFrame(self.features[:_SAMPLE], columns=list(self.names))
        return None if self.features is None else self.features.iloc[:_SAMPLE]


def fit_seed(run_seed: int, key: str) -> int:
    """The seed of a key's fit, in [0, 2**32): whoever fits it, and wherever."""
    digest = hashlib.sha256(f"{run_seed}\0".encode() + key.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:4], "big")


def train(table: pa.Table, recipe: Recipe, *, key: str, seed: int) -> Fitted:
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

    Raises
    ------
    PartitionError
        The rows cannot be trained on, or the fit raised; the cause is chained.
    SkipPartition
        ``empty`` or ``too_few_rows``.
    """
    if not table.num_rows:
        raise SkipPartition("empty", "there is no row")
    plan = recipe.plan
    if plan is None:
        return _train_function(table, recipe, key, seed)
    names = checks.columns(table, recipe)
    if plan.kind in SHORT:
        fitted = _train_short(table, recipe, plan, names, seed)
        if fitted is not None:
            return fitted
    return _train_frame(table, recipe, plan, names, seed)


# ---- the short way


def _train_short(table: pa.Table, recipe: Recipe, plan: Plan, names: tuple[str, ...], seed: int) -> Fitted | None:
    """The fit on an array; None where anything is out of the ordinary, which the long way then deals with."""
    target = recipe.target
    rows = table.num_rows
    if (
        recipe.validation.method != "none"
        or recipe.metrics is not None
        or recipe.sample_weight is not None
        or not isinstance(target, str)
        or rows < recipe.smallest(len(names))
        or "" in table.column_names
    ):
        return None
    X = frame.block(table, names)
    column = table.column(target)
    if X is None or column.null_count or column.type not in (pa.float64(), pa.int64()):
        return None
    y = frame.array(column)
    if not (np.isfinite(X).all() and np.isfinite(y).all()) or y.min() == y.max():
        return None
    estimator = recipe.build(seed)
    caught: list[str] = []
    with _caught(caught), sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        start = time.perf_counter()
        try:
            estimator.fit(X, y)
            seconds = time.perf_counter() - start
            if plan.kind in _LINEAR:
                predicted = X @ estimator.coef_ + estimator.intercept_
                metrics = {"r2": validation.r2(y.astype(np.float64, copy=False), predicted)}
            else:
                metrics = {"accuracy": float(np.average(estimator.predict(X) == y))}
        except MemoryError:
            raise
        except Exception as error:
            raise fit_error(error, table) from error
    _name_features(estimator, names)
    return Fitted(
        estimator=estimator,
        metrics=metrics,
        rows=rows,
        warnings=tuple(caught),
        seconds=seconds,
        features=X,
        names=names,
    )


def _name_features(estimator: Any, names: tuple[str, ...]) -> None:
    """Set ``feature_names_in_`` where a fit on a DataFrame sets it: before ``n_features_in_``."""
    attributes = estimator.__dict__
    entries = list(attributes.items())
    attributes.clear()
    for name, value in entries:
        if name == "n_features_in_":
            attributes["feature_names_in_"] = np.asarray(names, dtype=object)
        attributes[name] = value


# ---- the long way


def _train_frame(table: pa.Table, recipe: Recipe, plan: Plan, names: tuple[str, ...], seed: int) -> Fitted:
    notes: list[str] = []
    if recipe.features is None and "" in table.column_names:
        notes.append("a column without a name is not used as a feature")
    build: Callable[[int], Any] = recipe.build
    metrics = recipe.metrics if recipe.metrics is not None else plan.metrics
    if not plan.raw:
        checks.numeric(table, names, "feature")
    table = checks.rows_kept(table, names, plan, recipe, notes)
    smallest = recipe.smallest(len(names))
    method = recipe.validation.method
    if table.num_rows < smallest:
        message = f"{table.num_rows} rows, and at least {smallest} are needed"
        if recipe.fallback_plan is None or not table.num_rows:
            raise SkipPartition(
                "too_few_rows", message, hint="recipe.min_rows sets the least, recipe.fallback what then."
            )
        plan, build = recipe.fallback_plan, recipe.build_fallback
        metrics, method = (), "none"
        notes.append(f"fallback: {message}; {plan.kind.__name__} instead")
    targets = as_tuple(recipe.target)
    checks.no_infinite(table, names, "feature")
    checks.no_infinite(table, targets, "target")
    if not plan.classifier and plan.metrics:
        checks.numeric(table, targets, "target")
    constant = checks.constant_target(table, recipe, notes)
    weights = checks.weights(table, recipe.sample_weight)
    X = frame.features(table, names, series=_as_series(recipe, plan, names))
    y = frame.target(table, targets) if targets else None

    def fit(rows: Any = None) -> Any:
        estimator = build(seed)
        part = X if rows is None else X.iloc[rows]
        options: dict[str, Any] = {}
        if weights is not None and plan.weight is not None:
            options[plan.weight] = weights if rows is None else weights[rows]
        if y is None:
            return estimator.fit(part, **options)
        return estimator.fit(part, y if rows is None else y.iloc[rows], **options)

    caught: list[str] = []
    with _caught(caught):
        try:
            scores = {}
            if method != "none":
                scores = _validated(recipe, plan.classifier, table, X, y, metrics, seed, fit)
            start = time.perf_counter()
            estimator = fit()
            seconds = time.perf_counter() - start
        except (PartitionError, MemoryError):
            raise
        except Exception as error:
            if constant:
                message = "the target has one value only, and the estimator needs more"
                raise fit_error(error, table, reason="constant_target", what=message) from error
            raise fit_error(error, table) from error
        if method == "none" and y is not None:
            scores = validation.score(estimator, X, y, metrics)
    return Fitted(
        estimator=estimator,
        metrics=_defined(scores, notes),
        rows=table.num_rows,
        warnings=tuple((notes + caught)[:_MAX_WARNINGS]),
        seconds=seconds,
        features=X,
        names=names,
    )


def _as_series(recipe: Recipe, plan: Plan, names: tuple[str, ...]) -> bool:
    if len(names) != 1:
        return False
    return plan.text or (isinstance(recipe.features, str) and not plan.table)


def _validated(
    recipe: Recipe,
    classifier: bool,
    table: pa.Table,
    X: Any,
    y: Any,
    metrics: tuple[str, ...],
    seed: int,
    fit: Callable[[Any], Any],
) -> dict[str, float]:
    order = None
    if recipe.validation.column is not None:
        column = table.column(recipe.validation.column)
        if checks.missing_rows(table, [recipe.validation.column]) is not None:
            message = f"column {recipe.validation.column!r}, which orders the rows, is missing in some"
            raise PartitionError("missing_values", message)
        order = frame.array(column)
    scores = []
    pairs = validation.splits(recipe.validation, y, order, classifier=classifier, seed=seed)
    for fitted_on, scored_on in pairs:
        estimator = fit(fitted_on)
        scores.append(validation.score(estimator, X.iloc[scored_on], y.iloc[scored_on], metrics))
    return validation.mean(scores)


def _defined(scores: Mapping[str, float], notes: list[str]) -> dict[str, float]:
    found = {name: value for name, value in scores.items() if np.isfinite(value)}
    notes += [f"metric {name!r} is not defined on these rows" for name in scores if name not in found]
    return found


# ---- the user's function


def _train_function(table: pa.Table, recipe: Recipe, key: str, seed: int) -> Fitted:
    assert recipe.function is not None
    notes: list[str] = []
    smallest = recipe.smallest(0)
    if table.num_rows < smallest:
        raise SkipPartition("too_few_rows", f"{table.num_rows} rows, and at least {smallest} are needed")
    named = as_tuple(recipe.features) or as_tuple(recipe.target)
    names = checks.columns(table, recipe) if named else tuple(table.column_names)
    data = frame.to_pandas(table)
    function = recipe.function
    given: dict[str, float] = {}

    def fit(rows: Any = None) -> Any:
        random.seed(seed)
        np.random.seed(seed)
        result = function.call(data.copy() if rows is None else data.iloc[rows].reset_index(drop=True), key, seed)
        estimator, metrics = result if isinstance(result, tuple) and len(result) == 2 else (result, {})
        _check_estimator(estimator, function.reference)
        if rows is None:
            given.update(_given_metrics(metrics, function.reference))
        return estimator

    caught: list[str] = []
    metrics = recipe.metrics or ()
    with _caught(caught):
        try:
            scores = {}
            X: Any = data[recipe.features if isinstance(recipe.features, str) else list(names)]
            y: Any = None
            if recipe.target is not None:
                y = data[recipe.target if isinstance(recipe.target, str) else list(recipe.target)]
            if recipe.validation.method != "none":
                scores = _validated(recipe, False, table, X, y, metrics, seed, fit)
            start = time.perf_counter()
            estimator = fit()
            seconds = time.perf_counter() - start
        except (PartitionError, MemoryError):
            raise
        except (Exception, SystemExit) as error:
            raise fit_error(error, table) from error
        if recipe.validation.method == "none" and metrics:
            scores = validation.score(estimator, X, y, metrics)
    return Fitted(
        estimator=estimator,
        metrics=_defined({**scores, **given}, notes),
        rows=table.num_rows,
        warnings=tuple((notes + caught)[:_MAX_WARNINGS]),
        seconds=seconds,
    )


def _check_estimator(estimator: Any, reference: str) -> None:
    kind = type(estimator).__name__
    if isinstance(estimator, type) or not any(hasattr(estimator, each) for each in ("predict", "transform", "fit")):
        message = f"{reference} returned {'the class ' + estimator.__name__ if isinstance(estimator, type) else kind}"
        hint = "It returns a fitted estimator, or a fitted estimator and a mapping of metrics."
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


@contextmanager
def _caught(texts: list[str]) -> Iterator[None]:
    """Warnings of scikit-learn and of the user's code go to ``texts``, each once, not to the log."""

    def keep(message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, DeprecationWarning | PendingDeprecationWarning | ResourceWarning):
            return
        lines = str(message).strip().splitlines()
        text = f"{category.__name__}: {lines[0][:200] if lines else ''}"
        if text not in texts and len(texts) < _MAX_WARNINGS:
            texts.append(text)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = keep
        yield
