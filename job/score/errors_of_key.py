"""Errors of the predictions of one key, if its rows hold the truth. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_LEAST = 1e-15
"""The lower limit of probabilities, because the logarithm of 0 is not finite."""


def of_numbers(truth: np.ndarray[Any, Any], predicted: np.ndarray[Any, Any]) -> dict[str, float]:
    """``n``, mean absolute error and root mean squared error, over the rows that have a truth and a prediction."""
    both = np.isfinite(truth) & np.isfinite(predicted)
    off = truth[both] - predicted[both]
    if not len(off):
        return {"n": 0}
    return {"n": len(off), "mae": float(np.abs(off).mean()), "rmse": float(np.sqrt((off**2).mean()))}


def of_classes(
    truth: Sequence[Any], predicted: Sequence[Any] | None, classes: Sequence[Any] = (), probabilities: Any = None
) -> dict[str, float]:
    """``n``, the accuracy, and with probabilities the mean logarithmic loss.

    Parameters
    ----------
    truth, predicted
        The classes of the rows; None for a missing one. Without ``predicted``, the class with the highest probability
        is the prediction.
    classes, probabilities
        An array of shape (n, classes), and the class of each of its columns.
    """
    if predicted is None:
        predicted = [None if np.isnan(row).all() else classes[int(row.argmax())] for row in probabilities]
    rows = [at for at, (one, other) in enumerate(zip(truth, predicted, strict=True)) if None not in (one, other)]
    if not rows:
        return {"n": 0}
    right = sum(str(truth[at]) == str(predicted[at]) for at in rows)
    found: dict[str, float] = {"n": len(rows), "accuracy": right / len(rows)}
    if probabilities is not None:
        place = {str(name): number for number, name in enumerate(classes)}
        given = [probabilities[at][place[str(truth[at])]] if str(truth[at]) in place else 0.0 for at in rows]
        found["log_loss"] = float(-np.log(np.clip(given, _LEAST, 1.0)).mean())
    return found
