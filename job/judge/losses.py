"""Losses of predictions, row by row, for metrics that are means of row losses. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

LOSSES = {
    "neg_mean_absolute_error": "absolute",
    "neg_mean_squared_error": "squared",
    "neg_root_mean_squared_error": "squared",
    "neg_log_loss": "log",
    "accuracy": "zero_one",
}
"""The scorers of scikit-learn whose error is a mean over rows, each with the name of the row's loss."""

_ROOT = "neg_root_mean_squared_error"
_SMALLEST = np.finfo(np.float64).eps


def rows(metric: str, truth: Array, predicted: Array, classes: Array | None = None) -> Array:
    """The loss of each row.

    Parameters
    ----------
    metric
        One of `LOSSES`.
    truth
        Shape (n,) or (n, targets).
    predicted
        Shape of ``truth``; for ``neg_log_loss`` the probabilities, shape (n, classes).
    classes
        For ``neg_log_loss``: the class of each column of ``predicted``.

    Returns
    -------
    numpy.ndarray
        Shape (n,). With several targets, the mean over them. The probability of a class that the model does not know
        is 0; as in `sklearn.metrics.log_loss`, it is replaced by the machine epsilon.
    """
    kind = LOSSES[metric]
    if kind == "log":
        assert classes is not None
        chance = np.where(classes[None, :] == truth[:, None], predicted, 0.0).sum(axis=1)
        total = predicted.sum(axis=1)
        return np.asarray(-np.log(np.clip(chance / np.where(total > 0, total, 1.0), _SMALLEST, 1.0)))
    if kind == "zero_one":
        return np.asarray(truth != predicted, np.float64)
    apart = np.abs(np.asarray(truth, np.float64) - np.asarray(predicted, np.float64))
    apart = apart.reshape(len(apart), -1)
    return np.asarray((apart if kind == "absolute" else apart**2).mean(axis=1))


def error(metric: str, mean: Any) -> Any:
    """The error (0 is best) for a mean row loss. The score of scikit-learn is its negative, or 1 minus the error."""
    return np.sqrt(mean) if metric == _ROOT else mean


def scored(metric: str, mean: Any) -> Any:
    """The score for a mean row loss, as in scikit-learn: greater is better."""
    return 1.0 - mean if metric == "accuracy" else -error(metric, mean)
