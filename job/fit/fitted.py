"""A fitted estimator, with the results and the facts of its fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from job.judge.gate import Comparison

MAX_WARNINGS = 5
_SAMPLE = 20


@dataclass(frozen=True, kw_only=True)
class Contest:
    """The result of the comparison with the live model."""

    comparison: Comparison | None = None
    """None if the models could not be compared"""
    note: str | None = None
    """the reason why they could not be compared, for a person"""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The results on the held-out rows."""

    metrics: dict[str, float] = field(default_factory=dict)
    """scorer name to its mean over the splits"""
    skill: float | None = None
    """1 - error / error of the baseline"""
    windows: str | None = None
    """JSON list, the oldest first: rows ``fitted`` and predicted (``rows``), ``from`` and ``to``, ``metrics``"""
    horizons: str | None = None
    """JSON object of lists with one entry for each step: ``n``, ``mae`` and ``rmse``, or ``n`` and ``error_rate``"""
    residuals: str | None = None
    """JSON of `job.judge.intervals.describe`"""
    until: str | None = None
    """the last time stamp of all rows"""
    contest: Contest | None = None
    """the comparison with the live model, if there was one"""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A fitted estimator, with the results and the facts of its fit."""

    estimator: Any
    """the estimator, fitted on all rows"""
    evaluation: Evaluation
    """the results on held-out rows, or on the rows of the fit without a validation; undefined metrics are left out"""
    rows: int
    """number of rows that the estimator was fitted on"""
    warnings: tuple[str, ...]
    """warnings for a person, at most five"""
    seconds: float
    """duration of the final fit, in seconds"""
    features: Any = field(default=None, repr=False)
    """the features as the estimator got them, or an array of shape (rows, features)"""
    names: tuple[str, ...] = ()
    """names of the features"""

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics, by scorer name."""
        return self.evaluation.metrics

    @property
    def sample(self) -> Any:
        """The first rows of the features, as the estimator gets them for a prediction; None for a function."""
        if isinstance(self.features, np.ndarray):
            return pd.DataFrame(self.features[:_SAMPLE], columns=list(self.names))
        return None if self.features is None else self.features.iloc[:_SAMPLE]


def defined(scores: Mapping[str, float], notes: list[str]) -> dict[str, float]:
    """The metrics that are finite numbers. For each other metric a warning is added to ``notes``."""
    found = {name: value for name, value in scores.items() if np.isfinite(value)}
    notes += [f"metric {name!r} is not defined on these rows" for name in scores if name not in found]
    return found
