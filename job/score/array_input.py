"""Which estimators may get an array in place of a frame: their answers are equal to the last bit. Pure."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from job.fit import frame

_FRAMES = frozenset({"pipeline", "compose", "model_selection", "feature_extraction", "manifold"})
"""Modules of scikit-learn whose estimators may choose columns by name, or compute with another type for an array
(Isomap: an array of float32 as float32, a frame of float32 as float64)."""
_INNER = frozenset({"estimator", "estimators", "final_estimator", "func"})
"""Parameters that hold estimators or a function. Some of these get the input as it is, and may choose by name."""


def values(model: Any, rows: pa.Table, names: list[str]) -> np.ndarray[Any, Any] | None:
    """The features as the array that scikit-learn would make of a frame of them, shape (rows, names).

    None if the model needs a frame, or if a feature has nulls or is not of numbers.
    """
    kind: Any = type(model)
    return frame.values(rows, names) if _takes_array(kind) else None


@cache
def _takes_array(kind: type) -> bool:
    home = kind.__module__.split(".")
    return home[0] == "sklearn" and home[1] not in _FRAMES and not _INNER & _parameters(kind)


def _parameters(kind: Any) -> set[str]:
    return set(kind._get_param_names()) if hasattr(kind, "_get_param_names") else set()
