"""Rolling-origin windows: which rows a backtest fits on and which it predicts, in the order of time. Pure.

The newest window ends with the newest row; each older one lies ``step`` before the next. By rows they are those of
`sklearn.model_selection.TimeSeriesSplit` (where the step is the horizon), by spans of time the cut-offs of Nixtla's
``cross_validation``. Whatever the rows are, no row is predicted by a fit that has seen its time stamp.

Spans are the calendar's, in the time zone of the column: a day is a day also when the clocks change, a month is a
month. Hours and less are elapsed time.
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
    """numbers of the rows that are fitted on, in the order of time"""
    test: Rows
    """numbers of the rows that are predicted, in the order of time"""
    steps: Rows
    """of each test row: 1 for the first row (or time stamp) after the newest that could be fitted on, and so on"""
    ends: int
    """how many rows, in the order of time, could be fitted on"""
    begins: int
    """how many rows, in the order of time, lie before the first test row, those of the gap included"""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The windows that `recipe.validation` asks for."""

    windows: int = 1
    """number of windows"""
    horizon: int | str = 1
    """what a window predicts: a number of rows, or a span such as ``28d``"""
    step: int | str | None = None
    """from one window to the next, of the horizon's kind; None for the horizon"""
    gap: int | str = 0
    """the distance between the fitted and the predicted rows, of the horizon's kind"""
    sliding: bool = False
    """every window fits on as many rows, or as long a time, as the oldest one"""

    @property
    def by_time(self) -> bool:
        """Whether lengths are spans of time."""
        return isinstance(self.horizon, str)


def parse_span(text: str) -> pd.DateOffset:
    """``28d``, ``4w``, ``3mo``, ``1y``, ``12h``, ``30min`` or ``90s`` as an offset.

    Raises
    ------
    ValueError
        It is none of these, or nothing (``0d``).
    """
    match = SPAN.fullmatch(text)
    if match is None or not int(match[1]):
        raise ValueError("is not a span of time: write a number of rows, or a text such as 28d, 4w, 3mo, 1y or 12h")
    return _offset({_UNITS[match[2]]: int(match[1])})


def windows(times: Any, shape: Shape) -> Iterator[Window]:
    """The windows of a backtest, the oldest first.

    Parameters
    ----------
    times
        One value for each row, without gaps: numbers, texts that sort, or time stamps (`pandas.Series` or array,
        with or without a time zone). Spans need time stamps.
    shape
        Which windows.

    Raises
    ------
    TooShort
        The oldest window would have nothing to fit on, or a window nothing to predict.
    TypeError
        Spans of time are wanted, and the column is not one of time stamps.
    """
    order = ordered(times)
    yield from (_by_time if shape.by_time else _by_rows)(pd.Index(times)[order], order, shape)


def ordered(times: Any) -> Rows:
    """The numbers of the rows in the order of time; ties stay as they come."""
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
        # Rows that bear the time stamp of a test row lie on the other side of the cut.
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
    """The stamp moved by all spans at once: a month back twice is not always two months back."""
    units: dict[str, int] = {}
    for span, times in spans:
        for unit, count in span.kwds.items():
            units[unit] = units.get(unit, 0) + count * times
    if not any(units.values()):
        return stamp
    moved = stamp + _offset(units)
    # The end of a month stays one: a month before 30 November is 31 October.
    whole = units.keys() <= {"months", "years"} and stamp.is_month_end
    return moved + pd.offsets.MonthEnd(0) if whole else moved


def remarks(times: Any) -> list[str]:
    """Warnings about the order of the rows: ties, and gaps among time stamps."""
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
