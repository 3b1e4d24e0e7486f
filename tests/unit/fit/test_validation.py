"""Splits that keep groups together and spread classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from job.config.settings import ValidationSettings
from job.errors import PartitionError
from job.fit.validation import splits

COUNT = 60
GROUPS = np.repeat(np.arange(12), 5)
CLASSES = pd.Series(np.tile(["a", "a", "b"], 20))
NUMBERS = pd.Series(np.arange(60.0))


def found(y: Any = NUMBERS, by: Any = None, classifier: bool = False, **options: Any) -> list[tuple[Any, Any]]:
    made = splits(ValidationSettings(**options), y, classifier=classifier, seed=3, groups=by)
    return [(each.train, each.test) for each in made]


@pytest.mark.parametrize("method", ["kfold", "holdout"])
@pytest.mark.parametrize("stratified", [None, False, True])
def test_no_group_is_fitted_on_and_held_out(method: str, stratified: bool | None) -> None:
    told = found(CLASSES, GROUPS, True, method=method, groups="g", stratified=stratified)
    for train, test in told:
        assert not set(GROUPS[train]) & set(GROUPS[test])
        assert sorted([*train, *test]) == list(range(COUNT))
    assert len(told) == (5 if method == "kfold" else 1)


def test_folds_of_groups_are_those_of_scikit_learn() -> None:
    for stratified, theirs in ((None, GroupKFold(4)), (True, StratifiedGroupKFold(4))):
        told = found(CLASSES, GROUPS, True, method="kfold", folds=4, groups="g", stratified=stratified)
        expected = list(theirs.split(np.zeros((COUNT, 1)), CLASSES, GROUPS))
        for ours, other in zip(told, expected, strict=True):
            assert [each.tolist() for each in ours] == [each.tolist() for each in other]


def test_strata_are_kept_where_they_are_asked_for_and_left_where_they_are_refused() -> None:
    ordered = pd.Series(np.repeat(["a", "b"], 30))
    shares = {
        stratified: [
            (ordered.iloc[test] == "a").mean() for _, test in found(ordered, method="kfold", stratified=stratified)
        ]
        for stratified in (True, False)
    }
    assert shares[True] == [0.5] * 5
    assert len(set(shares[False])) > 1
    assert np.mean(shares[False]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("y", "groups", "options", "message"),
    [
        (NUMBERS, np.zeros(60), {"method": "kfold", "groups": "g"}, "1 groups are too few for 5 folds"),
        (NUMBERS, np.zeros(60), {"method": "holdout", "groups": "g"}, "the rows are one group"),
        (pd.Series(["a"] * 59 + ["b"]), None, {"method": "kfold", "stratified": True}, "too few rows for a stratified"),
        (pd.Series(["a"] * 59 + ["b"]), None, {"method": "holdout", "stratified": True}, "too few rows for a strat"),
    ],
)  # fmt: skip
def test_rows_that_do_not_allow_it_are_a_reason(y: Any, groups: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(PartitionError, match=message) as caught:
        found(y, groups, True, **options)
    assert caught.value.reason == "metric_error"


def test_the_last_rows_are_one_window_whose_steps_count_from_one() -> None:
    order = pd.Index([5, 1, 4, 2, 3])
    settings = ValidationSettings(method="time", column="t", test_size=0.4)
    (split,) = splits(settings, NUMBERS[:5], classifier=False, seed=3, order=order)
    assert order[split.train].tolist() == [1, 2, 3]
    assert order[split.test].tolist() == [4, 5]
    assert split.window is not None
    assert split.window.steps.tolist() == [1, 2]
    assert (split.window.ends, split.window.begins) == (3, 3)


@pytest.mark.parametrize(("rare", "enough"), [(4, False), (5, True)])
def test_a_class_is_spread_over_folds_if_each_can_have_a_row_of_it(rare: int, enough: bool) -> None:
    classes = pd.Series(["a"] * 20 + ["b"] * rare)
    if not enough:
        with pytest.raises(PartitionError, match="too few rows for a stratified kfold"):
            found(classes, method="kfold", folds=5, stratified=True)
        return
    assert all((classes.iloc[test] == "b").sum() == 1 for _, test in found(classes, method="kfold", stratified=True))


@pytest.mark.parametrize(("rows", "enough"), [(4, False), (5, True)])
def test_as_many_rows_as_folds_are_enough(rows: int, enough: bool) -> None:
    if not enough:
        with pytest.raises(PartitionError, match="4 rows are too few"):
            found(NUMBERS[:rows], method="kfold", folds=5)
        return
    assert len(found(NUMBERS[:rows], method="kfold", folds=5)) == 5


@pytest.mark.parametrize(("rare", "spread"), [(1, False), (2, True)])
def test_a_holdout_spreads_classes_where_each_side_can_have_one(rare: int, spread: bool) -> None:
    classes = pd.Series(["a"] * 8 + ["b"] * rare)
    if not spread:
        with pytest.raises(PartitionError, match="stratified holdout"):
            found(classes, method="holdout", test_size=0.5, stratified=True)
        return
    ((train, test),) = found(classes, method="holdout", test_size=0.5, stratified=True)
    assert {(classes.iloc[rows] == "b").sum() for rows in (train, test)} == {1}


def test_a_backtest_leaves_its_gap_between_what_is_fitted_and_what_is_predicted() -> None:
    for gap, last in ((None, 7), (0, 7), (2, 5)):
        settings = ValidationSettings(method="backtest", column="t", windows=1, horizon=3, gap=gap)
        (split,) = splits(settings, NUMBERS[:10], classifier=False, seed=3, order=pd.Index(range(10)))
        assert split.train.tolist() == list(range(last)), gap
        assert split.test.tolist() == [7, 8, 9]


def test_two_rows_are_enough_to_hold_out_one() -> None:
    ((train, test),) = found(NUMBERS[:2], method="holdout", test_size=0.5)
    assert sorted([*train, *test]) == [0, 1]
