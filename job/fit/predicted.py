"""An estimator's predictions for some rows, computed once and used for several purposes."""

from __future__ import annotations

from typing import Any

import numpy as np

from job.judge import losses

Rows = np.ndarray[Any, Any]


class Predicted:
    """An estimator's predictions for some rows, and their losses.

    Parameters
    ----------
    estimator
        A fitted estimator.
    X, y
        The features as the estimator gets them, and the true values of the target.
    """

    def __init__(self, estimator: Any, X: Any, y: Any) -> None:
        self._estimator, self._X = estimator, X
        self._truth = np.asarray(y)
        self._values: Rows | None = None
        self._losses: dict[str, Rows] = {}

    def values(self) -> Rows:
        """The predictions, in the shape of the truth."""
        if self._values is None:
            found = np.asarray(self._estimator.predict(self._X))
            self._values = found if found.shape == self._truth.shape else found.reshape(self._truth.shape)
        return self._values

    def residuals(self) -> Rows:
        """True values minus predictions, in the shape of the truth."""
        return np.asarray(self._truth, np.float64) - np.asarray(self.values(), np.float64)

    def losses(self, metric: str) -> Rows:
        """The loss of each row, shape (n,) (`job.judge.losses.rows`).

        Raises
        ------
        ValueError
            A loss is not a finite number.
        """
        if metric not in self._losses:
            if metric == "neg_log_loss":
                chances = np.asarray(self._estimator.predict_proba(self._X))
                found = losses.rows(metric, self._truth, chances, np.asarray(self._estimator.classes_))
            else:
                found = losses.rows(metric, self._truth, self.values())
            if not np.isfinite(found).all():
                raise ValueError("a prediction is not a number")
            self._losses[metric] = found
        return self._losses[metric]
