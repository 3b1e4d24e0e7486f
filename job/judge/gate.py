"""The gate: does a new model (the challenger) replace the live one (the champion)? Pure.

An executor compares the two on rows that neither has seen (`compare`). The barrier decides for all keys of a run at
once (`decide`), because the false discovery rate is a property of all tests together.

The test is that of F. X. Diebold and R. S. Mariano, "Comparing predictive accuracy", JBES 13 (1995), one-sided, on the
differences of row losses in the order of time. Its variance allows for autocorrelation: equally weighted cosine series
with Student's t (E. Lazarus, D. J. Lewis, J. H. Stock and M. W. Watson, "HAR inference: recommendations for practice",
JBES 36 (2018)), whose size holds on short and on correlated series, where a kernel with normal quantiles rejects too
often. Over a run: Y. Benjamini and Y. Hochberg, "Controlling the false discovery rate", JRSS B 57 (1995).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import stdtr

from job.judge import losses

Array = np.ndarray[Any, Any]

FIRST, PROMOTED, KEPT, UNDECIDABLE = "first", "promoted", "kept", "undecidable"
STATES = (FIRST, PROMOTED, KEPT, UNDECIDABLE)
"""The states of a trained key with a gate. ``first``: it had no model yet. Their numbers add up to the trained keys."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Champion and challenger on the same rows."""

    champion: float
    """the champion's score, as in scikit-learn: greater is better"""
    challenger: float
    """the challenger's score"""
    gain: float
    """1 - error of the challenger / error of the champion; minus infinity if only the champion has no error"""
    rows: int
    """number of rows"""
    p: float
    """the p-value: the chance of such an advantage, or a greater one, if both models were equally good"""


def compare(metric: str, champion: Array, challenger: Array) -> Comparison:
    """Compare losses of the same rows, in the order of time.

    Parameters
    ----------
    metric
        One of `job.judge.losses.LOSSES`.
    champion, challenger
        Shape (n,), n at least 1: the loss of each row.
    """
    means = float(champion.mean()), float(challenger.mean())
    errors = [float(losses.error(metric, mean)) for mean in means]
    if errors[0] == 0.0:
        gain = 0.0 if errors[1] == 0.0 else -np.inf
    else:
        gain = 1.0 - errors[1] / errors[0]
    return Comparison(
        champion=float(losses.scored(metric, means[0])),
        challenger=float(losses.scored(metric, means[1])),
        gain=gain,
        rows=len(champion),
        p=diebold_mariano(champion - challenger),
    )


def diebold_mariano(advantage: Array) -> float:
    """The one-sided p-value of the test of Diebold and Mariano, that the mean of ``advantage`` is positive.

    Parameters
    ----------
    advantage
        Shape (n,): for each row, in the order of time, the champion's loss minus the challenger's.

    Returns
    -------
    float
        In [0, 1]. If all values are equal, the sign decides (0 or 1). For less than three rows it is 1.
    """
    count = len(advantage)
    if count < 3 or not np.isfinite(advantage).all():
        return 1.0
    mean = float(advantage.mean())
    freedom = degrees_of_freedom(count)
    # Each projection estimates the long-run variance; the mean has no influence, as the cosine series sum to zero.
    variance = float(np.mean((_waves(count, freedom) @ advantage) ** 2)) * 2.0 / count
    largest = float(np.abs(advantage).max())
    if variance <= (1e-12 * largest) ** 2 * count:
        return 0.0 if mean > 1e-12 * largest else 1.0
    return float(stdtr(freedom, -mean / np.sqrt(variance / count)))


@lru_cache(maxsize=64)
def _waves(count: int, freedom: int) -> Array:
    at = np.pi * (np.arange(count) + 0.5) / count
    return np.asarray(np.cos(np.outer(np.arange(1, freedom + 1), at)))


def degrees_of_freedom(count: int) -> int:
    """The number of cosine series for n rows: 0.4 n^(2/3), as Lazarus et al. recommend; at least 2."""
    return max(2, min(int(0.4 * count ** (2 / 3)), count - 1))


def discoveries(p: Array, alpha: float) -> Array:
    """A mask of the hypotheses that the procedure of Benjamini and Hochberg rejects.

    Parameters
    ----------
    p
        Shape (n,): p-values. NaN stands for no test: it is not rejected and does not count.
    alpha
        The accepted false discovery rate: the average share of wrong rejections among all rejections.

    Returns
    -------
    numpy.ndarray
        Shape (n,), booleans.
    """
    tested = ~np.isnan(p)
    count = int(tested.sum())
    found = np.zeros(len(p), bool)
    if not count:
        return found
    ordered = np.sort(p[tested])
    below = np.flatnonzero(ordered <= alpha * np.arange(1, count + 1) / count)
    if len(below):
        found[tested] = p[tested] <= ordered[below[-1]]
    return found


def decide(
    first: Array,
    rows: Array,
    gain: Array,
    p: Array,
    *,
    min_rows: int,
    min_gain: float,
    alpha: float,
    paired: bool = True,
) -> Array:
    """The state of each trained key of a run.

    Parameters
    ----------
    first
        Shape (n,), booleans: whether the key had no model.
    rows
        Shape (n,): the number of rows on which the models were compared; 0 if they could not be.
    gain, p
        Shape (n,): `Comparison.gain` and `Comparison.p`; NaN without a comparison.
    min_rows, min_gain, alpha
        The settings of the job's ``promote``.
    paired
        Whether the test must reject, too; if false, only the gain decides.

    Returns
    -------
    numpy.ndarray
        Positions in `STATES`, int8, shape (n,).

    Notes
    -----
    A key with too few rows is not tested, and does not change the decisions for other keys.
    """
    judged = ~first & (rows >= min_rows) & ~np.isnan(gain)
    better = judged & (gain >= min_gain) & (gain > 0)
    if paired:
        better &= discoveries(np.where(judged, p, np.nan), alpha)
    states = np.full(len(first), STATES.index(UNDECIDABLE), np.int8)
    states[judged] = STATES.index(KEPT)
    states[better] = STATES.index(PROMOTED)
    states[first] = STATES.index(FIRST)
    return states
