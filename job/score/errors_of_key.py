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
        The classes of the rows; None or NaN for a missing one. Without ``predicted``, the class with the highest
        probability is the prediction.
    classes, probabilities
        An array of shape (n, classes), and the class of each of its columns.
    """
    if predicted is None:
        predicted = [None if np.isnan(row).all() else classes[int(row.argmax())] for row in probabilities]
    every = enumerate(zip(truth, predicted, strict=True))
    rows = [at for at, pair in every if not any(each is None or each != each for each in pair)]
    if not rows:
        return {"n": 0}
    right = sum(_same(truth[at], predicted[at]) for at in rows)
    found: dict[str, float] = {"n": len(rows), "accuracy": right / len(rows)}
    if probabilities is not None:
        known = {repr(truth[at]): truth[at] for at in rows}
        place = {text: _place(name, classes) for text, name in known.items()}
        places = [place[repr(truth[at])] for at in rows]
        given = [0.0 if to is None else probabilities[at][to] for at, to in zip(rows, places, strict=True)]
        found["log_loss"] = float(-np.log(np.clip(given, _LEAST, 1.0)).mean())
    return found


def _same(one: Any, other: Any) -> bool:
    """Whether two values are one class: 1, 1.0 and True are, and so are 1 and the text ``1``."""
    return bool(one == other) or str(one) == str(other)


def _place(name: Any, classes: Sequence[Any]) -> int | None:
    return next((number for number, each in enumerate(classes) if _same(name, each)), None)
