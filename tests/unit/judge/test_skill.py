"""Skill over a baseline, and the seasonal naive forecast."""

from __future__ import annotations

import numpy as np
import pytest

from job.judge.skill import seasonal_naive, skill


@pytest.mark.parametrize(
    ("metric", "model", "baseline", "expected"),
    [
        ("neg_mean_absolute_error", [1.0, 1.0], [2.0, 2.0], 0.5),
        ("neg_mean_absolute_error", [2.0, 2.0], [2.0, 2.0], 0.0),
        ("neg_mean_absolute_error", [3.0, 3.0], [2.0, 2.0], -0.5),
        ("neg_root_mean_squared_error", [1.0, 1.0], [4.0, 4.0], 0.5),  # of the roots: 1 against 2
        ("neg_mean_squared_error", [1.0, 1.0], [4.0, 4.0], 0.75),
        ("accuracy", [0.0, 0.0, 0.0, 1.0], [1.0, 1.0, 0.0, 0.0], 0.5),
        ("neg_mean_absolute_error", [1.0], [0.0], None),  # a baseline that makes no error
        ("neg_mean_absolute_error", [], [], None),
        ("neg_mean_absolute_error", [np.inf], [1.0], None),
    ],
)
def test_skill(metric: str, model: list[float], baseline: list[float], expected: float | None) -> None:
    assert skill(metric, np.array(model), np.array(baseline)) == (None if expected is None else pytest.approx(expected))


def test_the_seasonal_naive_forecast_repeats_the_last_season() -> None:
    target = np.arange(10.0)
    assert seasonal_naive(target, 7, 8, 9).tolist() == [1, 2, 3, 4, 5, 6, 7, 1, 2]  # type: ignore[union-attr]


def test_less_than_a_season_gives_no_forecast() -> None:
    assert seasonal_naive(np.arange(10.0), 7, 6, 1) is None


def test_the_seasonal_naive_forecast_of_air_passengers() -> None:
    """Air passengers of 1960 by those of 1959: a mean absolute error of 47.8."""
    of_1959 = np.array([360, 342, 406, 396, 420, 472, 548, 559, 463, 407, 362, 405.0])
    of_1960 = np.array([417, 391, 419, 461, 472, 535, 622, 606, 508, 461, 390, 432.0])
    forecast = seasonal_naive(np.concatenate([of_1959, of_1960]), 12, 12, 12)
    assert np.abs(of_1960 - forecast).mean() == pytest.approx(47.8, abs=0.05)
