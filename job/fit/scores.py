"""Scores of a fitted estimator by scikit-learn's scorers. They keep their sign (``neg_...``) and use no row weights."""

from __future__ import annotations

import math
import warnings
from functools import lru_cache
from typing import Any

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import get_scorer

from job.fit.fit_errors import Words, describe, fit_error

Rows = np.ndarray[Any, Any]


def score(estimator: Any, X: Any, y: Any, names: tuple[str, ...], words: Words) -> dict[str, float]:
    """The scores by these scorers. A score that is not defined on these rows is NaN, with a warning.

    Raises
    ------
    PartitionError
        ``metric_error``: the estimator lacks the method that the scorer calls. The message holds none of the ``words``.
    """
    found = {}
    for name in names:
        try:
            value = _quick(name, estimator, X, y)
            if value is None:
                value = float(_scorer(name)(estimator, X, y))
        except MemoryError:
            raise
        except Exception as error:
            asked = getattr(_scorer(name), "_response_method", None)
            if isinstance(error, AttributeError) and isinstance(asked, str) and not hasattr(estimator, asked):
                raise fit_error(error, words, reason="metric_error", what=f"metric {name!r}") from error
            # As in scikit-learn's cross_validate: NaN and a warning; the model is kept.
            warnings.warn(f"metric {name!r}: {describe(error, words)}", UndefinedMetricWarning, stacklevel=2)
            value = math.nan
        found[name] = value
    return found


def _quick(name: str, estimator: Any, X: Any, y: Any) -> float | None:
    """The two default metrics without scikit-learn's checks of input; None if the case is not simple enough."""
    if name == "accuracy" and y.ndim == 2:
        return _all_right(estimator.predict(X), y.to_numpy())
    if name not in ("r2", "accuracy") or y.ndim != 1 or len(y) < 2:
        return None
    predicted = estimator.predict(X)
    if not isinstance(predicted, np.ndarray) or predicted.ndim != 1:
        return None
    truth = y.to_numpy()
    if name == "accuracy":
        return float(np.average(truth == predicted)) if truth.dtype.kind == predicted.dtype.kind else None
    if truth.dtype.kind not in "fiu" or predicted.dtype != np.float64:
        return None
    value = r2(truth.astype(np.float64, copy=False), predicted)
    return value if math.isfinite(value) else None


def _all_right(predicted: Any, truth: Rows) -> float | None:
    """The share of rows with all targets right. scikit-learn's ``accuracy_score`` refuses multiclass-multioutput."""
    if not isinstance(predicted, np.ndarray) or predicted.shape != truth.shape:
        return None
    same_kind = truth.dtype.kind == predicted.dtype.kind
    return float(np.mean((truth == predicted).all(axis=1))) if same_kind else None


@lru_cache(maxsize=64)
def _scorer(name: str) -> Any:
    return get_scorer(name)


def r2(y: Rows, predicted: Rows) -> float:
    """The same value as `sklearn.metrics.r2_score`, without input checks, for one target and at least two rows."""
    truth = y.reshape(-1, 1)
    numerator = ((truth - predicted.reshape(-1, 1)) ** 2).sum(axis=0)[0]
    denominator = ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)[0]
    if numerator == 0:
        return 1.0
    return float(1 - numerator / denominator) if denominator != 0 else 0.0
