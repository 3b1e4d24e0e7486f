"""Rolling-origin windows: which rows a backtest fits on and which it predicts, in the order of time. Pure.

The newest window ends with the newest row; each older window begins one ``step`` before the next. Counted in rows, the
windows are those of `sklearn.model_selection.TimeSeriesSplit` if the step equals the horizon. In spans of time, the
cut-offs are those of Nixtla's ``cross_validation``. A fit never predicts a row whose time stamp it has seen.

Years, months, weeks and days are those of the calendar in the time zone of the column: a day in which the clocks change
is one day. Hours, minutes and seconds are elapsed time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from job.config.value_types import SPAN

Rows = np.ndarray[Any, Any]

_UNITS = {"y": "years", "mo": "months", "w": "weeks", "d": "days", "h": "hours", "min": "minutes", "s": "seconds"}


class TooShort(ValueError):
    """The rows do not reach back far enough for the windows."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """One fit of a backtest and the rows that it predicts."""

    train: Rows
    """numbers of the rows to fit on, in the order of time, shape (n_train,)"""
    test: Rows
    """numbers of the rows to predict, in the order of time, shape (n_test,)"""
    steps: Rows
    """the step of each test row: its distance, in rows or time stamps, from the newest row that could be fitted on"""
    ends: int
    """number of rows, in the order of time, that could be fitted on"""
    begins: int
    """number of rows, in the order of time, before the first test row, including those of the gap"""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The windows that `recipe.validation` asks for."""

    windows: int = 1
    """number of windows"""
    horizon: int | str = 1
    """length of the predicted part of a window: a number of rows, or a span such as ``28d``"""
    step: int | str | None = None
    """distance from one window to the next, in rows or a span like the horizon; None for the horizon itself"""
    gap: int | str = 0
    """distance between the fitted and the predicted rows, in rows or a span like the horizon"""
    sliding: bool = False
    """whether each window fits on the same number of rows, or length of time, as the oldest window"""

    @property
    def by_time(self) -> bool:
        """Whether lengths are spans of time."""
        return isinstance(self.horizon, str)


def parse_span(text: str) -> pd.DateOffset:
    """Parse a span such as ``28d``, ``4w``, ``3mo``, ``1y``, ``12h``, ``30min`` or ``90s``.

    Raises
    ------
    ValueError
        The text is no span, or a span of length 0 (``0d``).
    """
    match = SPAN.fullmatch(text)
    if match is None or not int(match[1]):
        raise ValueError("is not a span of time: write a number of rows, or a text such as 28d, 4w, 3mo, 1y or 12h")
    return _offset({_UNITS[match[2]]: int(match[1])})


def windows(times: Any, shape: Shape) -> Iterator[Window]:
    """Yield the windows of a backtest, the oldest first.

    Parameters
    ----------
    times
        One value for each row, none missing: numbers, texts that sort, or time stamps (`pandas.Series` or array, with
        or without a time zone). Spans need time stamps.
    shape
        The number and the lengths of the windows.

    Raises
    ------
    TooShort
        A window has no row to fit on, or none to predict.
    TypeError
        The horizon is a span of time, and ``times`` are no time stamps.
    """
    order = ordered(times)
    yield from (_by_time if shape.by_time else _by_rows)(pd.Index(times)[order], order, shape)


def ordered(times: Any) -> Rows:
    """The numbers of the rows in the order of time; rows with equal times keep their order."""
    stamps = pd.Index(times)
    # Time stamps with a zone would become Python objects in an array.
    values = stamps.asi8 if isinstance(stamps, pd.DatetimeIndex) else np.asarray(stamps)
    return np.asarray(np.argsort(values, kind="stable"))


def _by_rows(stamps: pd.Index, order: Rows, shape: Shape) -> Iterator[Window]:
    assert isinstance(shape.horizon, int)
    step = shape.horizon if shape.step is None else int(shape.step)
    count, gap = len(order), int(shape.gap)
    oldest = count - shape.horizon - (shape.windows - 1) * step - gap
    if oldest < 1:
        needed = count - oldest + 1
        raise TooShort(f"{count} rows are too few for the windows, which need {needed}")
    for number in range(shape.windows):
        begin = count - shape.horizon - (shape.windows - 1 - number) * step
        end = begin - gap
        low = end - oldest if shape.sliding else 0
        test = slice(begin, begin + shape.horizon)
        # Rows before the cut with the same time stamp as the first test row are not fitted on.
        last = min(end, int(stamps.searchsorted(stamps[begin], side="left")))
        if last <= low:
            raise TooShort("all rows before a window bear the time stamp of its first row")
        steps = np.arange(1 + gap, 1 + gap + shape.horizon)
        yield Window(train=order[low:last], test=order[test], steps=steps, ends=last, begins=begin)


def _by_time(stamps: pd.Index, order: Rows, shape: Shape) -> Iterator[Window]:
    if not isinstance(stamps, pd.DatetimeIndex):
        raise TypeError("the column that orders the rows holds no time stamps, which spans of time need")
    horizon = parse_span(str(shape.horizon))
    step = horizon if shape.step is None else parse_span(str(shape.step))
    gap = None if not shape.gap else parse_span(str(shape.gap))
    newest, first = stamps[-1], stamps[0]
    for number in range(shape.windows):
        back = shape.windows - 1 - number
        until = _shifted(newest, (step, -back))
        cut = _shifted(newest, (step, -back), (horizon, -1))
        end = cut if gap is None else _shifted(newest, (step, -back), (horizon, -1), (gap, -1))
        low = stamps.searchsorted(_shifted(first, (step, number)), side="left") if shape.sliding else 0
        last = int(stamps.searchsorted(end, side="right"))
        begin = int(stamps.searchsorted(cut, side="right"))
        stop = int(stamps.searchsorted(until, side="right"))
        if last <= low:
            raise TooShort("the time stamps do not reach back far enough for the windows")
        if stop <= begin:
            raise TooShort("a window has no row to predict")
        before = len(stamps[last:begin].unique())
        codes = pd.factorize(stamps[begin:stop])[0]
        yield Window(train=order[low:last], test=order[begin:stop], steps=codes + 1 + before, ends=last, begins=begin)


def _offset(units: dict[str, int]) -> pd.DateOffset:
    return pd.DateOffset(**units)  # type: ignore[arg-type] # the stubs know flags alone


def _shifted(stamp: pd.Timestamp, *spans: tuple[pd.DateOffset, int]) -> pd.Timestamp:
    """Move the stamp by the sum of all spans: twice one month back is not always the same as two months back."""
    units: dict[str, int] = {}
    for span, times in spans:
        for unit, count in span.kwds.items():
            units[unit] = units.get(unit, 0) + count * times
    if not any(units.values()):
        return stamp
    moved = stamp + _offset(units)
    # The last day of a month moves to a last day: a month before 30 November is 31 October.
    whole = units.keys() <= {"months", "years"} and stamp.is_month_end
    return moved + pd.offsets.MonthEnd(0) if whole else moved


def remarks(times: Any) -> list[str]:
    """Warnings about equal time stamps, and about gaps between time stamps."""
    stamps = pd.Index(times)
    found = []
    unique = stamps.unique()
    ties = len(stamps) - len(unique)
    if ties:
        found.append(f"{ties:,} rows bear the time stamp of another row")
    if isinstance(unique, pd.DatetimeIndex) and len(unique) > 2:
        ordered = unique.sort_values()
        apart = np.diff(ordered.tz_localize(None).to_numpy().astype("datetime64[s]").astype(np.int64))
        # A month has 28 to 31 days and a day 23 to 25 hours.
        wide = int(np.count_nonzero(apart > int(1.5 * np.median(apart))))
        if wide:
            found.append(f"the time stamps have {wide:,} gap{'' if wide == 1 else 's'} of more than the usual step")
    return found
