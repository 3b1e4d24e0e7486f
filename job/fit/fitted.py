"""A fitted estimator and what is known about the fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

MAX_WARNINGS = 5
_SAMPLE = 20


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A fitted estimator and what is known about the fit."""

    estimator: Any
    """fitted on all rows"""
    metrics: dict[str, float]
    """by scorer name; those that are undefined on these rows are left out"""
    rows: int
    """rows fitted"""
    warnings: tuple[str, ...]
    """for a person, at most five"""
    seconds: float
    """of the final fit alone"""
    features: Any = field(default=None, repr=False)
    """the features as the estimator got them, or an array"""
    names: tuple[str, ...] = ()
    """their names"""

    @property
    def sample(self) -> Any:
        """A few rows of the features, as the estimator wants them; None for a function."""
        if isinstance(self.features, np.ndarray):
            return pd.DataFrame(self.features[:_SAMPLE], columns=list(self.names))
        return None if self.features is None else self.features.iloc[:_SAMPLE]


def defined(scores: Mapping[str, float], notes: list[str]) -> dict[str, float]:
    """The metrics that are numbers; ``notes`` gets the names of the others."""
    found = {name: value for name, value in scores.items() if np.isfinite(value)}
    notes += [f"metric {name!r} is not defined on these rows" for name in scores if name not in found]
    return found
