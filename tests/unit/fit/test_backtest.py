"""Windows of a backtest: equal to scikit-learn's and Nixtla's, in the calendar of the data, and without leaks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import TimeSeriesSplit
from utilsforecast.processing import backtest_splits

from job.fit.backtest import Shape, TooShort, parse_span, remarks, windows


@pytest.mark.parametrize("sliding", [False, True])
@pytest.mark.parametrize(("count", "horizon", "gap"), [(4, 5, 0), (3, 7, 2), (1, 1, 0), (5, 1, 4)])
def test_windows_by_rows_are_those_of_scikit_learn(count: int, horizon: int, gap: int, sliding: bool) -> None:
    rows = 50
    oldest = rows - count * horizon - gap
    shape = Shape(windows=count, horizon=horizon, gap=gap, sliding=sliding)
    # Scikit-learn wants two splits at least.
    theirs = TimeSeriesSplit(max(count, 2), test_size=horizon, gap=gap, max_train_size=oldest if sliding else None)
    expected = list(theirs.split(np.zeros(rows)))[-count:]
    ours = list(windows(np.arange(rows), shape))
    assert len(ours) == count
    for window, (train, test) in zip(ours, expected, strict=True):
        assert window.train.tolist() == (train[-oldest:] if sliding else train).tolist()
        assert window.test.tolist() == test.tolist()


def _nixtla(frame: pd.DataFrame, shape: Shape, freq: str, horizon: int, step: int) -> list[tuple[set[Any], set[Any]]]:
    found = backtest_splits(
        frame, n_windows=shape.windows, h=horizon, id_col="id", time_col="ds", freq=freq, step_size=step
    )
    return [(set(train["ds"]), set(valid["ds"])) for _, train, valid in found]


@pytest.mark.parametrize(
    ("freq", "horizon", "step", "spans"),
    [
        ("D", 28, 28, ("28d", None)),
        ("D", 14, 7, ("14d", "7d")),  # windows that overlap
        ("D", 7, 14, ("7d", "14d")),  # rows between windows that none predicts
        ("MS", 3, 3, ("3mo", None)),
        ("ME", 1, 1, ("1mo", None)),
        ("W", 8, 4, ("8w", "4w")),
        ("h", 24, 12, ("24h", "12h")),
    ],
)
@pytest.mark.parametrize("holes", [False, True])
def test_cut_offs_by_rows_and_by_time_are_those_of_nixtla(
    freq: str, horizon: int, step: int, spans: tuple[str, str | None], holes: bool
) -> None:
    times = pd.Series(pd.date_range("2021-01-01", periods=200, freq=freq))
    if holes:  # rows that are missing move no cut-off where lengths are times
        times = times.drop(index=[20, 21, 22, 120, 150, 190]).reset_index(drop=True)
    frame = pd.DataFrame({"id": "a", "ds": times, "y": 0.0})
    by_time = Shape(windows=3, horizon=spans[0], step=spans[1])
    theirs = _nixtla(frame, by_time, freq, horizon, step)
    shapes = [by_time] if holes else [by_time, Shape(windows=3, horizon=horizon, step=step)]
    for shape in shapes:
        ours = [(set(times[each.train]), set(times[each.test])) for each in windows(times, shape)]
        assert ours == theirs


def test_days_are_the_calendar_s_where_the_clocks_change() -> None:
    times = pd.date_range("2024-03-01", "2024-11-10", freq="D", tz="Europe/Berlin")
    found = list(windows(times, Shape(windows=3, horizon="14d", step="7d", gap="1d", sliding=True)))
    for window in found:
        stamps = times[window.test]
        assert {each.hour for each in stamps} == {0}
        assert len(stamps) == 14
        assert window.steps.tolist() == list(range(2, 16))
    assert {len(each.train) for each in found} == {len(found[0].train)}


def test_hours_are_elapsed_time_where_the_clocks_change() -> None:
    times = pd.date_range("2024-10-20", "2024-10-28", freq="h", tz="Europe/Berlin")
    (window,) = windows(times, Shape(horizon="24h"))
    assert len(window.test) == 24


@pytest.mark.parametrize("last", ["2024-11-30", "2024-12-31", "2025-02-28"])
def test_months_end_where_they_end(last: str) -> None:
    times = pd.date_range("2023-01-31", last, freq="ME")
    found = list(windows(times, Shape(windows=12, horizon="1mo")))
    assert [len(each.test) for each in found] == [1] * 12


def test_rows_may_come_in_any_order() -> None:
    shuffled = np.random.default_rng(0).permutation(30)
    (window,) = windows(shuffled, Shape(horizon=5))
    assert shuffled[window.test].tolist() == [25, 26, 27, 28, 29]
    assert shuffled[window.train].tolist() == list(range(25))


def test_rows_that_bear_the_time_stamp_of_a_test_row_are_not_fitted_on() -> None:
    times = pd.to_datetime(["2024-01-01"] * 3 + ["2024-01-02"] * 3 + ["2024-01-03"] * 3)
    (window,) = windows(times, Shape(horizon=2))
    assert window.train.tolist() == [0, 1, 2, 3, 4, 5]
    assert window.test.tolist() == [7, 8]


@given(
    days=st.lists(st.integers(0, 60), min_size=12, max_size=80),
    count=st.integers(1, 3),
    horizon=st.integers(1, 6),
    gap=st.integers(0, 3),
    sliding=st.booleans(),
    by_time=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_no_row_is_predicted_by_a_fit_that_has_seen_its_time_or_a_later_one(
    days: list[int], count: int, horizon: int, gap: int, sliding: bool, by_time: bool
) -> None:
    times = pd.Timestamp("2024-01-01") + pd.to_timedelta(days, unit="D")
    lengths: dict[str, Any] = {"horizon": horizon, "gap": gap}
    if by_time:
        lengths = {"horizon": f"{horizon}d", "gap": f"{gap}d" if gap else 0}
    try:
        found = list(windows(times, Shape(windows=count, sliding=sliding, **lengths)))
    except TooShort:
        return
    assert len(found) == count
    for window in found:
        assert len(window.train)
        assert len(window.test) == len(window.steps) > 0
        assert times[window.train].max() < times[window.test].min()
        assert (np.diff(window.steps) >= 0).all()
    assert times[found[-1].test].max() == times.max()


@pytest.mark.parametrize(
    ("times", "shape"),
    [
        (np.arange(10), Shape(windows=2, horizon=5)),
        (np.arange(10), Shape(windows=1, horizon=9, gap=1)),
        (np.zeros(10), Shape(windows=1, horizon=1)),
        (pd.date_range("2024-01-01", periods=10), Shape(windows=1, horizon="10d")),
        (pd.to_datetime(["2023-01-01", "2024-01-01", "2024-03-01"]), Shape(windows=2, horizon="7d")),
    ],
)
def test_too_few_rows_are_refused(times: Any, shape: Shape) -> None:
    with pytest.raises(TooShort):
        list(windows(times, shape))


def test_spans_of_a_column_without_time_stamps_are_refused() -> None:
    with pytest.raises(TypeError, match="time stamps"):
        list(windows(np.arange(10), Shape(horizon="2d")))


@pytest.mark.parametrize("text", ["28", "d", "0d", "-1d", "1.5d", "28 days", "1m", ""])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a span of time"):
        parse_span(text)


@pytest.mark.parametrize(
    ("times", "told"),
    [
        (pd.date_range("2024-01-01", periods=20), []),
        (pd.date_range("2023-01-01", periods=20, freq="MS"), []),
        (pd.date_range("2024-10-01", periods=60, tz="Europe/Berlin"), []),
        (np.arange(20), []),
        ([1, 1, 2, 2, 2], ["3 rows bear the time stamp of another row"]),
        (
            pd.date_range("2024-01-01", periods=20).delete([5, 6]),
            ["the time stamps have 1 gap of more than the usual step"],
        ),
    ],
)
def test_ties_and_gaps_are_told(times: Any, told: list[str]) -> None:
    assert remarks(times) == told
