"""Skill of a model: 1 - error of the model / error of the baseline. Pure.

A. H. Murphy, "Skill scores based on the mean square error and their relationships to the correlation coefficient",
Monthly Weather Review 116 (1988): 1 is perfect, 0 is the baseline's, below it the baseline is better.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from job.judge import losses

Array = np.ndarray[Any, Any]


def skill(metric: str, model: Array, baseline: Array) -> float | None:
    """The skill of a model from the losses of the same rows.

    Parameters
    ----------
    metric
        One of `job.judge.losses.LOSSES`.
    model, baseline
        Losses of the same rows, shape (n,).

    Returns
    -------
    float or None
        None where it is not defined: no rows, or a baseline without error.
    """
    if not len(model):
        return None
    reference = float(losses.error(metric, baseline.mean()))
    own = float(losses.error(metric, model.mean()))
    if not np.isfinite([own, reference]).all() or reference == 0.0:
        return None
    return 1.0 - own / reference


def seasonal_naive(target: Array, length: int, ends: int, count: int) -> Array | None:
    """Predict each row by an earlier one, a whole number of seasons before it: the last such row before the cut.

    R. J. Hyndman and G. Athanasopoulos, Forecasting: principles and practice (3rd ed.), section 5.2.

    Parameters
    ----------
    target
        The target in the order of time, shape (n,).
    length
        Rows of a season.
    ends
        How many rows may be used: those before the gap.
    count
        How many rows from there on are wanted, those of the gap included.

    Returns
    -------
    numpy.ndarray or None
        Shape (count,), or None where there is less than one season.
    """
    if ends < length:
        return None
    return target[ends - length + np.arange(count) % length]
