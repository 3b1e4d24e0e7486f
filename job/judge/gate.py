"""The gate: does a new model (the challenger) replace the live one (the champion)? Pure.

An executor compares the two on rows that neither has seen (`compare`); the barrier decides over all keys of a run at
once (`decide`), as the error of many tests is a matter of all of them.

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
"""What becomes of a key with a gate. ``first``: it had no model yet. The states add up to what was trained."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Champion and challenger on the same rows."""

    champion: float
    """the champion's score, as scikit-learn has it: greater is better"""
    challenger: float
    """the challenger's score"""
    gain: float
    """1 - error of the challenger / error of the champion; minus infinity where only the champion has no error"""
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
        Loss of each row, shape (n,), n at least 1.
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
    """The one-sided p-value of a positive mean.

    Parameters
    ----------
    advantage
        Loss of the champion less loss of the challenger, row by row in the order of time, shape (n,).

    Returns
    -------
    float
        In [0, 1]. Without any variation the sign alone decides (0 or 1); 1 for less than three rows.
    """
    count = len(advantage)
    if count < 3 or not np.isfinite(advantage).all():
        return 1.0
    mean = float(advantage.mean())
    freedom = degrees_of_freedom(count)
    # Each projection estimates the long-run variance; the mean falls out of all of them.
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
    """Cosine series used for so many rows: 0.4 n^(2/3), the recommendation of Lazarus et al.; at least 2."""
    return max(2, min(int(0.4 * count ** (2 / 3)), count - 1))


def discoveries(p: Array, alpha: float) -> Array:
    """Which hypotheses the procedure of Benjamini and Hochberg rejects.

    Parameters
    ----------
    p
        p-values, shape (n,); NaN is never rejected and does not count.
    alpha
        The share of false ones among the rejected that is accepted on average.

    Returns
    -------
    numpy.ndarray
        Booleans, shape (n,).
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
        The key had no model, shape (n,), booleans.
    rows
        Rows that both models were compared on, 0 where they could not be, shape (n,).
    gain, p
        `Comparison.gain` and `Comparison.p`, NaN where there is none, shape (n,).
    min_rows, min_gain, alpha
        Of the job's ``promote``.
    paired
        Whether the test counts; else the gain alone.

    Returns
    -------
    numpy.ndarray
        Positions in `STATES`, int8, shape (n,).

    Notes
    -----
    A key with too few rows is not tested and does not weigh on the others.
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
