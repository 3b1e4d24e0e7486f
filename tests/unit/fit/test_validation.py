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
