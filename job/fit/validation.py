"""The splits of a validation: which rows are fitted on, and which are held out. Pure.

``kfold`` is scikit-learn's ``cross_validate`` over ``KFold(folds, shuffle=True)``, shuffled by the seed and stratified
for classifiers. ``holdout`` is ``train_test_split``, shuffled by the seed and stratified where classes allow it.
``time`` holds out the last rows. ``backtest`` predicts several windows of time (`job.fit.backtest`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
    check_cv,
    train_test_split,
)

from job.config.settings import ValidationSettings
from job.errors import PartitionError
from job.fit import backtest, checks, frame
from job.fit.recipe import Recipe
from job.reader.order import values

Rows = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Split:
    """Rows to fit on, and rows to score the fit on."""

    train: Rows
    """numbers of the rows to fit on, shape (n_train,)"""
    test: Rows
    """numbers of the held-out rows, shape (n_test,)"""
    window: backtest.Window | None = None
    """the window, for ``time`` and ``backtest``"""


def splits(
    settings: ValidationSettings, y: Any, *, classifier: bool, seed: int, order: Any = None, groups: Any = None
) -> Iterator[Split]:
    """Yield the splits of a validation.

    Parameters
    ----------
    settings
        ``recipe.validation``; the method is not ``none``.
    y
        The target.
    classifier
        Whether the target is classes. Then splits are stratified by default, where the rows allow it.
    seed
        The seed for the shuffling of ``holdout`` and ``kfold``.
    order
        For ``time`` and ``backtest``: the values that order the rows, shape (n,), none missing.
    groups
        For ``kfold`` and ``holdout``: the group of each row, shape (n,), none missing; None without groups. Rows of a
        group stay together.

    Raises
    ------
    PartitionError
        ``metric_error``: the rows do not allow this validation.
    """
    if settings.method == "backtest":
        yield from _windows(settings, order)
    elif settings.method == "kfold":
        yield from _folds(settings, y, groups, classifier, seed)
    else:
        yield from _held_out(settings, y, order, groups, classifier, seed)


def _windows(settings: ValidationSettings, order: Any) -> Iterator[Split]:
    assert settings.horizon is not None
    shape = backtest.Shape(
        windows=settings.windows,
        horizon=settings.horizon,
        step=settings.step,
        gap=settings.gap or 0,
        sliding=settings.scheme == "sliding",
    )
    try:
        for window in backtest.windows(order, shape):
            yield Split(train=window.train, test=window.test, window=window)
    except backtest.TooShort as error:
        hint = "Raise recipe.min_rows, or backtest with fewer or shorter windows."
        raise PartitionError("metric_error", f"recipe.validation: {error}", hint=hint) from None
    except TypeError:
        message = f"column {settings.column!r} holds no time stamps, which a horizon of {settings.horizon} needs"
        hint = f"Declare input.schema with {settings.column}: timestamp, or give the horizon as a number of rows."
        raise PartitionError("metric_error", message, hint=hint) from None


def _folds(settings: ValidationSettings, y: Any, groups: Any, classifier: bool, seed: int) -> Iterator[Split]:
    count = len(y)
    if count < settings.folds:
        raise _too_few(settings, count)
    spread = classifier if settings.stratified is None else settings.stratified
    if groups is not None:
        different = len(pd.unique(groups))
        if different < settings.folds:
            message = f"{different} groups are too few for {settings.folds} folds"
            raise PartitionError("metric_error", message, hint="Validate with fewer folds, or other groups.")
        folds = StratifiedGroupKFold(settings.folds) if settings.stratified else GroupKFold(settings.folds)
    else:
        # Shuffled, because rows of a file are often sorted, and rows of a table have no order.
        kind = type(check_cv(settings.folds, y, classifier=classifier)) if settings.stratified is None else None
        kind = kind or (StratifiedKFold if spread else KFold)
        folds = kind(settings.folds, shuffle=True, random_state=seed)
    if settings.stratified and not _spreads(y, settings.folds):
        raise _too_rare(settings)
    for train, test in folds.split(np.zeros((count, 1)), y, groups):
        yield Split(train=train, test=test)


def _held_out(
    settings: ValidationSettings, y: Any, order: Any, groups: Any, classifier: bool, seed: int
) -> Iterator[Split]:
    count = len(y)
    held = math.ceil(settings.test_size * count)
    if held < 1 or count - held < 1:
        raise _too_few(settings, count)
    if settings.method == "time":
        rows = backtest.ordered(order)
        train, test = rows[: count - held], rows[count - held :]
        ends, steps = count - held, np.arange(1, held + 1)
        window = backtest.Window(train=train, test=test, steps=steps, ends=ends, begins=ends)
        yield Split(train=train, test=test, window=window)
        return
    if groups is not None:
        yield from _grouped(settings, y, groups, seed)
        return
    possible = _can_stratify(y, held, count)
    if settings.stratified and not possible:
        raise _too_rare(settings)
    if settings.stratified is False:
        ((train, test),) = ShuffleSplit(1, test_size=settings.test_size, random_state=seed).split(np.zeros(count))
    else:
        strata = y if (classifier or settings.stratified) and possible else None
        train, test = train_test_split(
            np.arange(count), test_size=settings.test_size, random_state=seed, stratify=strata
        )
    yield Split(train=train, test=test)


def _grouped(settings: ValidationSettings, y: Any, groups: Any, seed: int) -> Iterator[Split]:
    different = len(pd.unique(groups))
    if different < 2:
        message = "the rows are one group, and a part of the groups is to be held out"
        raise PartitionError("metric_error", message, hint="Name another column in recipe.validation.groups.")
    if settings.stratified:
        # With this number of folds, the first fold holds out about ``test_size`` of the rows.
        folds = min(max(2, round(1 / settings.test_size)), different)
        if not _spreads(y, folds):
            raise _too_rare(settings)
        found = StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(np.zeros(len(y)), y, groups)
    else:
        found = GroupShuffleSplit(1, test_size=settings.test_size, random_state=seed).split(y, groups=groups)
    train, test = next(iter(found))
    yield Split(train=train, test=test)


def _too_few(settings: ValidationSettings, count: int) -> PartitionError:
    message = f"{count} rows are too few for recipe.validation.method {settings.method}"
    return PartitionError("metric_error", message, hint="Raise recipe.min_rows, or validate with fewer folds or rows.")


def _too_rare(settings: ValidationSettings) -> PartitionError:
    message = f"a class has too few rows for a stratified {settings.method}"
    hint = "Leave recipe.validation.stratified out: classes are then spread where the rows allow it."
    return PartitionError("metric_error", message, hint=hint)


def _spreads(y: Any, parts: int) -> bool:
    values = np.asarray(y)
    return values.ndim == 1 and bool(np.unique(values, return_counts=True)[1].min() >= parts)


def _can_stratify(y: Any, held: int, count: int) -> bool:
    values = np.asarray(y)
    if values.ndim != 1:
        return False
    _, sizes = np.unique(values, return_counts=True)
    return bool(sizes.min() >= 2 and held >= len(sizes) and count - held >= len(sizes))


def order_of(recipe: Recipe, table: pa.Table) -> Any:
    """The values of ``recipe.validation.column``, which order the rows; None without one. Texts are parsed as times.

    Raises
    ------
    PartitionError
        ``missing_values``: a value is missing; ``bad_time``: a text is no ISO date or time.
    """
    name = recipe.validation.column
    if name is None:
        return None
    ordering = values(table.column(name), name, "recipe.validation.column")
    return pd.Index(frame.to_pandas(pa.table({name: ordering}))[name])


def groups_of(recipe: Recipe, table: pa.Table) -> Any:
    """The group of each row, shape (n,), or None without groups. Raises ``missing_values``."""
    name = recipe.validation.groups
    return None if name is None else np.asarray(_whole(table, name, "which groups the rows"))


def _whole(table: pa.Table, name: str, what: str) -> Any:
    if checks.missing_rows(table, [name]) is not None:
        raise PartitionError("missing_values", f"column {name!r}, {what}, is missing in some")
    return frame.to_pandas(table.select([name]))[name]
