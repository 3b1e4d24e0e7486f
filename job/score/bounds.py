"""Prediction intervals of a key, from the residuals of its model on held-out rows. Pure.

`job.judge.intervals` computes the half-widths. In a backtest they depend on the step into the future. The step of a row
is its position, from 1, among the rows of its key that are later than the last row of the training. If the backtest's
horizon is a time span, it is the position among the time stamps of these rows. Rows that are not later have no step,
and get the half-width over all steps.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from job.errors import PartitionError
from job.fit import contest, frame
from job.judge import intervals
from job.reader import order

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The residuals of a key's model on held-out rows, and its last training row."""

    residuals: str
    """the residuals: JSON of `job.judge.intervals.describe`"""
    until: str | None = None
    """the last time stamp of the training rows"""


@dataclass(frozen=True, kw_only=True)
class Backtest:
    """How the training counted steps."""

    column: str
    """the column that orders the rows"""
    by_time: bool
    """whether a step is a time stamp; False: a step is a row"""


def steps(rows: pa.Table, backtest: Backtest | None, until: str | None) -> Array | None:
    """The step into the future of each row.

    Parameters
    ----------
    rows
        All rows of the key, in any order.
    backtest
        None if the held-out rows come from another kind of validation.
    until
        As in `HeldOut`.

    Returns
    -------
    numpy.ndarray or None
        Shape (n,): from 1, and 0 for rows that are not later than ``until``. None if the steps are unknown, because the
        column is missing, has nulls, or has another type than in the training.
    """
    if backtest is None or until is None or backtest.column not in rows.column_names or not rows.num_rows:
        return None
    try:
        values = order.values(rows.column(backtest.column), backtest.column, "recipe.validation.column")
        stamps = pd.Index(frame.to_pandas(pa.table({"stamp": values}))["stamp"])
        later = np.asarray(stamps > contest.as_stamp(until, stamps))
    except (PartitionError, ValueError, TypeError):
        return None
    found = np.zeros(len(stamps), np.int64)
    if backtest.by_time:
        found[later] = pd.factorize(stamps[later], sort=True)[0] + 1
    else:
        places = np.argsort(stamps[later], kind="stable")
        found[np.flatnonzero(later)[places]] = np.arange(1, len(places) + 1)
    return found


def around(predicted: Any, held: HeldOut, at: Array | None) -> dict[str, Array]:
    """The bounds of the intervals: the columns ``lo_<level>`` and ``hi_<level>``.

    Parameters
    ----------
    predicted
        Shape (n,): the predictions as numbers.
    held
        The residuals of the key's model.
    at
        Shape (n,): the step of each row; None if unknown.

    Returns
    -------
    dict
        Arrays of shape (n,); NaN if there were too few held-out rows for the level.
    """
    found = {}
    for name in json.loads(held.residuals)["all"]:
        width = intervals.widths(held.residuals, float(name), at, count=len(predicted))
        found[f"lo_{name}"], found[f"hi_{name}"] = predicted - width, predicted + width
    return found


def within(bounds: Mapping[str, Array], truth: Array) -> dict[str, tuple[int, int]]:
    """Count, for each level, the rows within their interval, and the rows that have an interval and a truth."""
    found = {}
    for name in (each.removeprefix("lo_") for each in bounds if each.startswith("lo_")):
        low, high = bounds[f"lo_{name}"], bounds[f"hi_{name}"]
        known = np.isfinite(low) & np.isfinite(high) & np.isfinite(truth)
        if known.any():
            inside = (truth >= low) & (truth <= high) & known
            found[name] = (int(inside.sum()), int(known.sum()))
    return found
