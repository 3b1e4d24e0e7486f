"""Scores of a fit: which rows are held out, and what scikit-learn's scorers say about them.

As a scikit-learn user expects: ``kfold`` is ``cross_validate(cv=folds)`` (stratified for classifiers, not shuffled) and
reports the mean; ``holdout`` is ``train_test_split``, shuffled by the seed and stratified where classes allow it;
``time`` holds out the last rows. Scorers keep their sign (``neg_...``) and do not use row weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.metrics import get_scorer
from sklearn.model_selection import check_cv, train_test_split

from job.config.settings import ValidationSettings
from job.errors import PartitionError
from job.fit import checks, frame
from job.fit.fit_errors import Words, fit_error
from job.fit.recipe import Recipe

Rows = np.ndarray[Any, Any]


def splits(
    settings: ValidationSettings, y: Any, order: Any, *, classifier: bool, seed: int
) -> Iterator[tuple[Rows, Rows]]:
    """Pairs of row numbers: fitted on, scored on.

    Parameters
    ----------
    settings
        ``recipe.validation``; the method is not ``none``.
    y
        The target.
    order
        ``time``: the column that orders the rows, without gaps.
    classifier
        Whether classes are to be spread evenly.
    seed
        Shuffles ``holdout``.

    Raises
    ------
    PartitionError
        ``metric_error``: too few rows for this validation.
    """
    count = len(y)
    if settings.method == "kfold":
        if count < settings.folds:
            raise _too_few(settings, count)
        yield from check_cv(settings.folds, y, classifier=classifier).split(np.zeros((count, 1)), y)
        return
    held = math.ceil(settings.test_size * count)
    if held < 1 or count - held < 1:
        raise _too_few(settings, count)
    if settings.method == "time":
        rows = np.argsort(np.asarray(order), kind="stable")
        yield rows[: count - held], rows[count - held :]
        return
    strata = y if classifier and _can_stratify(y, held, count) else None
    train, test = train_test_split(np.arange(count), test_size=settings.test_size, random_state=seed, stratify=strata)
    yield train, test


def _too_few(settings: ValidationSettings, count: int) -> PartitionError:
    message = f"{count} rows are too few for recipe.validation.method {settings.method}"
    return PartitionError("metric_error", message, hint="Raise recipe.min_rows, or validate with fewer folds or rows.")


def _can_stratify(y: Any, held: int, count: int) -> bool:
    values = np.asarray(y)
    if values.ndim != 1:
        return False
    _, sizes = np.unique(values, return_counts=True)
    return bool(sizes.min() >= 2 and held >= len(sizes) and count - held >= len(sizes))


def score(estimator: Any, X: Any, y: Any, names: tuple[str, ...], words: Words) -> dict[str, float]:
    """What the scorers of these names say; raises ``metric_error``, whose message holds none of the ``words``."""
    found = {}
    for name in names:
        try:
            value = _quick(name, estimator, X, y)
            if value is None:
                value = float(_scorer(name)(estimator, X, y))
        except MemoryError:
            raise
        except Exception as error:
            raise fit_error(error, words, reason="metric_error", what=f"metric {name!r}") from error
        found[name] = value
    return found


def _quick(name: str, estimator: Any, X: Any, y: Any) -> float | None:
    """The two metrics by default without scikit-learn's checks of input; None where it is not that plain."""
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


@lru_cache(maxsize=64)
def _scorer(name: str) -> Any:
    return get_scorer(name)


def held_out(recipe: Recipe, table: pa.Table, y: Any, *, classifier: bool, seed: int) -> Iterator[tuple[Rows, Rows]]:
    """`splits` as the recipe wants them; raises ``missing_values`` where the column that orders the rows has gaps."""
    order = None
    name = recipe.validation.column
    if recipe.validation.method == "time" and name is not None:
        if checks.missing_rows(table, [name]) is not None:
            raise PartitionError("missing_values", f"column {name!r}, which orders the rows, is missing in some")
        order = frame.array(table.column(name))
    return splits(recipe.validation, y, order, classifier=classifier, seed=seed)


def cross(
    pairs: Iterator[tuple[Rows, Rows]],
    fit: Callable[[Rows], Any],
    X: Any,
    y: Any,
    names: tuple[str, ...],
    words: Words,
) -> dict[str, float]:
    """The mean of each score over fits on the first rows of each pair, scored on the second."""
    scores = [score(fit(train), X.iloc[test], y.iloc[test], names, words) for train, test in pairs]
    return {name: float(np.mean([each[name] for each in scores])) for name in names}


def r2(y: Rows, predicted: Rows) -> float:
    """`sklearn.metrics.r2_score` of one target with two rows or more, bit by bit, without its input checks."""
    truth = y.reshape(-1, 1)
    numerator = ((truth - predicted.reshape(-1, 1)) ** 2).sum(axis=0)[0]
    denominator = ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)[0]
    if numerator == 0:
        return 1.0
    return float(1 - numerator / denominator) if denominator != 0 else 0.0
