"""Checks that the order of the rows suits estimators that split rows themselves (searches, stacking). Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

_NO_FOLDS = frozenset({"RidgeCV", "RidgeClassifierCV"})
"""Estimators for which ``cv=None`` means no cross-validation."""
TIME, AS_THEY_COME = "time", "as they come"


def kinds(estimator: Any) -> frozenset[str]:
    """How an estimator's own folds use the order of rows: `TIME` (TimeSeriesSplit) or `AS_THEY_COME` (not shuffled)."""
    return frozenset(kind for each in _members(estimator) for kind in _kind(each))


def _members(estimator: Any) -> Iterator[Any]:
    yield estimator
    if hasattr(estimator, "get_params") and not isinstance(estimator, type):
        for value in estimator.get_params(deep=True).values():
            if hasattr(value, "get_params") and not isinstance(value, type):
                yield value


def _kind(estimator: Any) -> Iterator[str]:
    parameters = estimator.get_params(deep=False) if hasattr(estimator, "get_params") else {}
    if "cv" not in parameters:
        return
    cv = parameters["cv"]
    name = type(cv).__name__
    if name == "TimeSeriesSplit":
        yield TIME
    elif cv is None and type(estimator).__name__ in _NO_FOLDS:
        return
    elif cv is None or isinstance(cv, int) or (name in ("KFold", "StratifiedKFold") and not cv.shuffle):
        yield AS_THEY_COME


def told(inside: frozenset[str], X: Any, y: Any, *, ordered: bool) -> list[str]:
    """Warnings about an estimator whose own folds do not suit the order of the rows.

    Parameters
    ----------
    inside
        The result of `kinds`.
    X, y
        Features and target of the rows; ``y`` may be None.
    ordered
        Whether the order of the rows has a meaning: it is that of one file, or of ``input.order_by``.
    """
    notes = []
    if TIME in inside and not ordered:
        notes.append(
            "TimeSeriesSplit takes the rows as they come, and these are in no order of time: set input.order_by"
        )
    if AS_THEY_COME in inside:
        name = _sorted_by(X, y)
        if name is not None:
            notes.append(
                f"the estimator's own folds are not shuffled, and the rows are sorted by {name}: give it a cv that "
                "shuffles, such as {_target_: sklearn.model_selection.KFold, shuffle: true}"
            )
    return notes


def _sorted_by(X: Any, y: Any) -> str | None:
    """The name of the target or of a feature by which the rows are sorted, or None. Constant columns do not count."""
    columns = [("the target", y)] if isinstance(y, pd.Series) else []
    columns += [(repr(name), X[name]) for name in X.columns] if isinstance(X, pd.DataFrame) else []
    for name, column in columns:
        values = column.to_numpy()
        if len(values) < 3 or values.dtype.kind not in "biufM":
            continue
        steps = values[1:] >= values[:-1]
        back = values[1:] <= values[:-1]
        if (np.all(steps) or np.all(back)) and not np.all(values == values[0]):
            return name
    return None
