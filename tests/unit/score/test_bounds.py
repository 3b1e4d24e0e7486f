"""Intervals around predictions: the step of each row, and the width that goes with it."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa

from job.judge import intervals
from job.score import bounds
from job.score.bounds import Backtest, HeldOut

DAYS = [f"2024-01-{day:02d}" for day in (5, 3, 4, 2, 4)]


def test_steps_by_rows_count_the_rows_that_are_later_than_the_fitted_ones_in_the_order_of_time() -> None:
    rows = pa.table({"day": DAYS})

    assert bounds.steps(rows, Backtest(column="day", by_time=False), "2024-01-02T00:00:00").tolist() == [4, 1, 2, 0, 3]


def test_steps_by_time_count_time_stamps() -> None:
    rows = pa.table({"day": DAYS})

    assert bounds.steps(rows, Backtest(column="day", by_time=True), "2024-01-02T00:00:00").tolist() == [3, 1, 2, 0, 2]


def test_no_step_is_known_where_the_rows_cannot_be_ordered_as_in_training() -> None:
    rows, numbers = Backtest(column="day", by_time=False), pa.table({"day": [1, 2]})

    assert bounds.steps(pa.table({"other": [1]}), rows, "2024-01-02T00:00:00") is None
    assert bounds.steps(pa.table({"day": ["2024-01-02", None]}), rows, "2024-01-02T00:00:00") is None
    assert bounds.steps(numbers, rows, "2024-01-02T00:00:00") is None
    assert bounds.steps(numbers, rows, None) is None
    assert bounds.steps(numbers, None, "1") is None
    assert bounds.steps(numbers, rows, "1").tolist() == [0, 1]


def test_a_row_with_a_step_gets_the_width_of_its_step_and_others_that_over_all() -> None:
    residuals = np.array([1.0, 10.0] * 4)
    held = HeldOut(residuals=json.dumps(intervals.describe(residuals, [80], np.array([1, 2] * 4))))

    found = bounds.around(np.zeros(4), held, np.array([0, 1, 2, 9]))

    assert found["hi_80"].tolist() == [10.0, 1.0, 10.0, 10.0]
    assert found["lo_80"].tolist() == [-10.0, -1.0, -10.0, -10.0]


def test_rows_within_are_counted_where_there_is_a_truth_and_an_interval() -> None:
    edges = {"lo_80": np.array([0, 0, np.nan, 0]), "hi_80": np.array([1, 1, np.nan, 1])}

    assert bounds.within(edges, np.array([0.5, 2, 0.5, np.nan])) == {"80": (1, 2)}
    assert bounds.within(edges, np.full(4, np.nan)) == {}
