"""A faster path for small linear fits: scikit-learn's own ``fit`` gets an array instead of a DataFrame.

Values are checked here, so scikit-learn's own checks are switched off; the feature names are set after the fit. The
pickled model is byte for byte that of the general path; a test compares them for each class in `SHORT`.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pyarrow as pa
import sklearn
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge

from job.fit import frame, scores
from job.fit.fit_errors import Words, caught, fit_error
from job.fit.fitted import MAX_WARNINGS, Evaluation, Fitted, defined
from job.fit.recipe import Recipe
from job.fit.traits import Traits

SHORT: frozenset[type] = frozenset({LinearRegression, Ridge, Lasso, ElasticNet, LogisticRegression})
"""Exact classes (no subclasses) that get an array: for them, checks of a DataFrame take as long as the fit itself."""

Array = np.ndarray[Any, Any]

_LINEAR = frozenset({LinearRegression, Ridge, Lasso, ElasticNet})


def arrays(table: pa.Table, recipe: Recipe, names: tuple[str, ...]) -> tuple[Array, Array] | None:
    """Features (rows, features) and target (rows,) as arrays; None if the rows need the general path."""
    target = recipe.target
    if (
        recipe.validation.method != "none"
        or recipe.metrics is not None
        or recipe.baseline is not None
        or recipe.sample_weight is not None
        or not isinstance(target, str)
        or table.num_rows < recipe.smallest(len(names))
        or "" in table.column_names
    ):
        return None
    column = table.column(target)
    if column.null_count or column.type not in (pa.float64(), pa.int64()):
        return None
    X = frame.block(table, names)
    if X is None or (X.dtype == np.float32 and column.type != pa.float64()):
        return None
    y = frame.array(column)
    if not (np.isfinite(X).all() and np.isfinite(y).all()) or y.min() == y.max():
        return None
    return X, y


def fit(X: Array, y: Array, recipe: Recipe, traits: Traits, names: tuple[str, ...], seed: int, words: Words) -> Fitted:
    """Fit on the arrays ``X`` and ``y`` of `arrays`; ``fit_error`` if the estimator raises."""
    estimator = recipe.build(seed)
    texts: list[str] = []
    with caught(texts), sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        start = time.perf_counter()
        try:
            estimator.fit(X, y)
            seconds = time.perf_counter() - start
            if traits.kind in _LINEAR:
                predicted = X @ estimator.coef_ + estimator.intercept_
                metrics = {"r2": scores.r2(y.astype(np.float64, copy=False), predicted.astype(np.float64, copy=False))}
            else:
                metrics = {"accuracy": float(np.average(estimator.predict(X) == y))}
        except MemoryError:
            raise
        except Exception as error:
            raise fit_error(error, words) from error
    _name_features(estimator, names)
    return Fitted(
        estimator=estimator,
        evaluation=Evaluation(metrics=defined(metrics, texts)),
        rows=len(y),
        warnings=tuple(texts[:MAX_WARNINGS]),
        seconds=seconds,
        features=X,
        names=names,
    )


def _name_features(estimator: Any, names: tuple[str, ...]) -> None:
    """Set ``feature_names_in_`` before ``n_features_in_``: a fit on a DataFrame sets the attributes in this order."""
    attributes = estimator.__dict__
    entries = list(attributes.items())
    attributes.clear()
    for name, value in entries:
        if name == "n_features_in_":
            attributes["feature_names_in_"] = np.asarray(names, dtype=object)
        attributes[name] = value
