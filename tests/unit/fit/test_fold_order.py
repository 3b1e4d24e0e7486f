"""Folds inside estimators, and the order of the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LassoCV, Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV, KFold, LeaveOneOut, StratifiedKFold, TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from job.fit.fold_order import AS_THEY_COME, TIME, kinds, told


def search(cv: Any) -> GridSearchCV:
    return GridSearchCV(Ridge(), {"alpha": [1.0]}, cv=cv)


@pytest.mark.parametrize(
    ("estimator", "found"),
    [
        (Ridge(), set()),
        (search(None), {AS_THEY_COME}),
        (search(3), {AS_THEY_COME}),
        (search(KFold(3)), {AS_THEY_COME}),
        (search(StratifiedKFold(3)), {AS_THEY_COME}),
        (search(KFold(3, shuffle=True)), set()),
        (search(LeaveOneOut()), set()),
        (search(TimeSeriesSplit(3)), {TIME}),
        (LassoCV(), {AS_THEY_COME}),
        (RidgeCV(), set()),
        (RidgeCV(cv=5), {AS_THEY_COME}),
        (CalibratedClassifierCV(), {AS_THEY_COME}),
        (make_pipeline(StandardScaler(), search(TimeSeriesSplit(3))), {TIME}),
        (search(KFold(3)).set_params(estimator=LassoCV(cv=TimeSeriesSplit(3))), {AS_THEY_COME, TIME}),
    ],
    ids=lambda value: "+".join(sorted(value)) or "none" if isinstance(value, set) else str(value),
)
def test_folds_inside_are_found_at_any_depth(estimator: Any, found: set[str]) -> None:
    assert kinds(estimator) == found


ROWS = np.random.default_rng(0).random(20)


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (np.sort(ROWS), ROWS, "sorted by 'x'"),
        (np.sort(ROWS)[::-1], ROWS, "sorted by 'x'"),
        (ROWS, np.sort(ROWS), "sorted by the target"),
        (pd.date_range("2024-01-01", periods=20), ROWS, "sorted by 'x'"),
        (ROWS, ROWS, None),
        (np.ones(20), ROWS, None),
        (np.full(20, "a"), ROWS, None),
    ],
)
def test_folds_that_are_not_shuffled_are_told_where_rows_are_sorted(x: Any, y: Any, words: str | None) -> None:
    notes = told(frozenset({AS_THEY_COME}), pd.DataFrame({"x": x}), pd.Series(y), ordered=True)
    assert [words in each for each in notes] == ([True] if words else [])
    assert told(frozenset(), pd.DataFrame({"x": x}), pd.Series(y), ordered=True) == []


def test_a_split_by_time_is_told_where_rows_have_no_order() -> None:
    X, y = pd.DataFrame({"x": ROWS}), pd.Series(ROWS)
    assert "input.order_by" in told(frozenset({TIME}), X, y, ordered=False)[0]
    assert told(frozenset({TIME}), X, y, ordered=True) == []
