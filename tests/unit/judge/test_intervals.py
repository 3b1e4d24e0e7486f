"""Half-widths of intervals: the correction for few rows, by step, and coverage where the noise is known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from job.judge import intervals


@pytest.mark.parametrize(
    ("count", "level", "expected"),
    [
        (4, 80, 4),  # ceil(5 * 0.8) = 4: the largest of four
        (3, 80, None),  # ceil(3.2) = 4 of three
        (9, 80, 8),
        (19, 95, 19),
        (18, 95, None),
        (99, 95, 95),
        (9, 90, 9),
        (0, 80, None),
    ],
)
def test_the_rank_with_the_correction_for_few_rows(count: int, level: float, expected: float | None) -> None:
    residuals = np.arange(1, count + 1) * np.where(np.arange(count) % 2, 1.0, -1.0)  # signs do not matter
    assert intervals.half_width(residuals, level) == expected


def test_intervals_of_exchangeable_rows_hold_what_they_promise() -> None:
    """4,000 small fleets members with Cauchy, normal and uniform noise: coverage of a new row is 80 % at least."""
    rng = np.random.default_rng(1)
    for draw in (rng.standard_normal, rng.standard_cauchy, rng.random):
        for count in (9, 14, 40):
            noise = draw((4000, count + 1))
            inside = [abs(row[-1]) <= intervals.half_width(row[:-1], 80) for row in noise]  # type: ignore[operator]
            promised = np.ceil((count + 1) * 0.8) / (count + 1)
            assert np.mean(inside) == pytest.approx(promised, abs=0.025)


def test_residuals_are_described_by_step_and_over_all() -> None:
    residuals = np.array([1.0, 10.0, 2.0, 20.0, 3.0, 30.0, 4.0, 40.0])
    told = intervals.describe(residuals, [80, 95], steps=np.array([1, 2] * 4), window=np.repeat([0, 1, 2, 3], 2))
    assert told["n"] == 8
    assert told["all"] == {"80": 40.0, "95": None}
    assert told["steps"] == {"80": [4.0, 40.0], "95": [None, None]}
    # The older windows' six residuals say 30: of the newest window's rows 4 is within, 40 is not.
    assert told["held"] == {"80": [1, 2]}


def test_one_window_cannot_tell_its_own_coverage() -> None:
    told = intervals.describe(np.arange(9.0), [80], steps=np.arange(1, 10), window=np.zeros(9, int))
    assert "held" not in told


def test_widths_are_those_of_the_step_else_those_over_all() -> None:
    text = json.dumps({"n": 8, "all": {"80": 5.0, "95": None}, "steps": {"80": [1.0, None, 3.0], "95": [None] * 3}})
    assert intervals.widths(text, 80, np.array([1, 2, 3, 4])).tolist() == [1.0, 5.0, 3.0, 5.0]
    assert intervals.widths(text, 80, count=2).tolist() == [5.0, 5.0]
    assert np.isnan(intervals.widths(text, 95, np.array([1, 2]))).all()
    assert np.isnan(intervals.widths(text, 99, count=1)).all()
    assert np.isnan(intervals.widths(None, 80, count=3)).all()


def test_the_coverage_of_a_fleet_adds_rows_up() -> None:
    texts = [json.dumps({"held": {"80": [7, 10]}}), None, json.dumps({"held": {"80": [10, 10], "95": [5, 5]}}), "{}"]
    assert intervals.coverage(texts) == {"80": (17, 20), "95": (5, 5)}


def test_an_interval_is_never_narrower_than_that_of_a_lower_level() -> None:
    text = json.dumps({"n": 40, "all": {"80": 2.0, "95": 4.0}, "steps": {"80": [1.0, 7.0], "95": [None, None]}})
    assert intervals.widths(text, 80, np.array([1, 2, 3])).tolist() == [1.0, 7.0, 2.0]
    assert intervals.widths(text, 95, np.array([1, 2, 3])).tolist() == [4.0, 7.0, 4.0]
