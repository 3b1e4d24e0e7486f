"""Skill of a model: 1 - error of the model / error of the baseline. Pure.

A. H. Murphy, "Skill scores based on the mean square error and their relationships to the correlation coefficient",
Monthly Weather Review 116 (1988). 1 is perfect, 0 is as good as the baseline, and below 0 the baseline is better.
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
        Shape (n,): the losses of the same rows.

    Returns
    -------
    float or None
        None if it is not defined: there are no rows, or the baseline has no error.
    """
    if not len(model):
        return None
    reference = float(losses.error(metric, baseline.mean()))
    own = float(losses.error(metric, model.mean()))
    if not np.isfinite([own, reference]).all() or reference == 0.0:
        return None
    return 1.0 - own / reference


def seasonal_naive(target: Array, length: int, ends: int, count: int) -> Array | None:
    """Predict each row by the last row before the cut that is a whole number of seasons earlier.

    R. J. Hyndman and G. Athanasopoulos, Forecasting: principles and practice (3rd ed.), section 5.2.

    Parameters
    ----------
    target
        Shape (n,): the target in the order of time.
    length
        Number of rows of a season.
    ends
        The cut: the number of rows that may be used, which are those before the gap.
    count
        Number of rows to predict, counted from the cut, with those of the gap.

    Returns
    -------
    numpy.ndarray or None
        Shape (count,); None if there is less than one season before the cut.
    """
    if ends < length:
        return None
    return target[ends - length + np.arange(count) % length]
