"""Prediction intervals from held-out residuals: half-widths with the finite-sample correction. Pure.

The half-width is the ⌈(n+1)(1-α)⌉-th smallest of n absolute residuals (split conformal prediction; J. Lei, M. G'Sell,
A. Rinaldo, R. J. Tibshirani and L. Wasserman, "Distribution-free predictive inference for regression", JASA 113
(2018)). If rows are exchangeable, an interval contains at least 1-α of new rows. Rows of time series are not, and the
published model was fitted on more rows than the models that gave the residuals. So the coverage is approximate, and is
measured.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def half_width(residuals: Array, level: float) -> float | None:
    """Half of the width of a prediction interval.

    Parameters
    ----------
    residuals
        Shape (n,): truth minus prediction of held-out rows.
    level
        Percent of new rows that the interval shall contain, above 0 and below 100.

    Returns
    -------
    float or None
        None if n is too small for the level: 95 needs 19 rows.
    """
    count = len(residuals)
    # Rounded, as a floating point error such as 4.000000000000001 would raise the rank by one.
    rank = math.ceil(round((count + 1) * level / 100.0, 9))
    if not count or rank > count:
        return None
    return float(np.partition(np.abs(residuals), rank - 1)[rank - 1])


def describe(
    residuals: Array, levels: Sequence[float], steps: Array | None = None, window: Array | None = None
) -> dict[str, Any]:
    """Summarise the residuals of a key, for the column ``residuals`` of the published table.

    Parameters
    ----------
    residuals
        Shape (n,): truth minus prediction of held-out rows.
    levels
        Levels of the intervals, in percent.
    steps
        Shape (n,), for a backtest: the step into the future of each row, from 1.
    window
        Shape (n,), for a backtest: the number of the window of each row, from 0 for the oldest.

    Returns
    -------
    dict
        ``n``: the number of rows. ``all``: the half-width, or null, for each level. ``steps``, with steps: for each
        level a list of half-widths, from step 1 on. ``held``, with at least two windows: for each level [number of rows
        of the newest window that are within the intervals of the older ones, number of its rows].
    """
    names = [f"{level:g}" for level in levels]
    found: dict[str, Any] = {
        "n": len(residuals),
        "all": {name: half_width(residuals, level) for name, level in zip(names, levels, strict=True)},
    }
    if steps is not None:
        last = int(steps.max()) if len(steps) else 0
        by_step = [residuals[steps == step] for step in range(1, last + 1)]
        found["steps"] = {
            name: [half_width(part, level) for part in by_step] for name, level in zip(names, levels, strict=True)
        }
    if window is not None and len(window) and window.max() > 0:
        newest = window == window.max()
        held = {}
        for name, level in zip(names, levels, strict=True):
            width = half_width(residuals[~newest], level)
            if width is not None:
                held[name] = [int((np.abs(residuals[newest]) <= width).sum()), int(newest.sum())]
        found["held"] = held
    return found


def widths(text: str | None, level: float, steps: Array | None = None, count: int = 0) -> Array:
    """Half-widths of prediction intervals, from the column ``residuals`` of the published table.

    Parameters
    ----------
    text
        The column's value for the key: JSON of `describe`, or None.
    level
        Level of the interval, in percent.
    steps
        The step into the future of each prediction, from 1; None: unknown. A prediction gets the half-width of its
        step. If the step is unknown or has none, the prediction gets the half-width over all steps, and at least that
        of its step for a lower level.
    count
        The number of predictions, if ``steps`` is None.

    Returns
    -------
    numpy.ndarray
        Shape of ``steps``, or (count,); NaN if there is no half-width.
    """
    size = count if steps is None else len(steps)
    if text is None:
        return np.full(size, np.nan)
    kept = json.loads(text)
    general = kept["all"].get(f"{level:g}")
    found = np.full(size, np.nan if general is None else general)
    if steps is None:
        return found
    by_step = kept.get("steps", {})
    # A step may have rows enough for 80 % and too few for 95 %: the interval over all steps must not be narrower then.
    for name in sorted((each for each in by_step if float(each) < level), key=float):
        lower = _of_steps(by_step[name], steps)
        found = np.where(np.isnan(found), found, np.fmax(found, lower))
    own = _of_steps(by_step.get(f"{level:g}", []), steps)
    return np.where(np.isnan(own), found, own)


def _of_steps(widths: Sequence[float | None], steps: Array) -> Array:
    """The half-width of each step; NaN where there is none."""
    own = np.array([np.nan, *(np.nan if each is None else each for each in widths)])
    return own[np.where((steps >= 1) & (steps < len(own)), steps, 0)]


def coverage(texts: Sequence[str | None]) -> dict[str, tuple[int, int]]:
    """Coverage over many keys, in the newest windows of the backtests: (rows within their interval, rows) by level."""
    total: dict[str, tuple[int, int]] = {}
    for text in texts:
        for name, (inside, count) in (json.loads(text).get("held", {}) if text else {}).items():
            before = total.get(name, (0, 0))
            total[name] = (before[0] + inside, before[1] + count)
    return total
