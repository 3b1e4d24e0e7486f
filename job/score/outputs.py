"""The answer of a model's method as named columns of predictions. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from job.errors import PartitionError
from job.score.columns import PREDICTION

Columns = dict[str, pa.Array | pa.ChunkedArray]


def of(model: Any, answer: Any, rows: int, *, method: str, targets: Sequence[str]) -> Columns:
    """The columns that a method's answer gives.

    Parameters
    ----------
    model
        The model, for the names of its classes and outputs.
    answer
        The array or frame that the method returned, or a list of arrays, one for each target.
    rows
        The number of rows that the method was given.
    method, targets
        The name of the method; the names of the targets, if there are several.

    Raises
    ------
    PartitionError
        ``predict_error``: the answer does not have one row for each given row.
    """
    if hasattr(answer, "toarray"):
        answer = answer.toarray()
    named: Sequence[Any] | None = list(answer.columns) if isinstance(answer, pd.DataFrame) else None
    if isinstance(answer, list):  # a classifier with several outputs returns one array of probabilities for each
        return _of_targets(model, answer, rows, method, targets)
    values = np.asarray(answer)
    if values.shape[:1] != (rows,):
        got = f"an array of shape {values.shape}"
        raise PartitionError("predict_error", f"{method} gave {got} for {rows:,} rows")
    if values.ndim == 1:
        return {PREDICTION: pa.array(values, from_pandas=True)}
    if method == "predict_proba":
        return {f"proba_{_class(name)}": pa.array(values[:, at]) for at, name in enumerate(model.classes_)}
    if named is None:
        named = _output_names(model, values.shape[1], method, targets)
    return {f"{PREDICTION}_{name}": pa.array(values[:, at], from_pandas=True) for at, name in enumerate(named)}


def _of_targets(model: Any, answer: list[Any], rows: int, method: str, targets: Sequence[str]) -> Columns:
    """The probabilities of a classifier with several targets: ``proba_<target>_<class>``."""
    names = targets if len(targets) == len(answer) else tuple(map(str, range(len(answer))))
    classes = getattr(model, "classes_", [])
    if method != "predict_proba" or len(classes) != len(answer):
        raise PartitionError("predict_error", f"{method} of the {type(model).__name__} gives no one table")
    found: Columns = {}
    for target, own, each in zip(names, classes, answer, strict=True):
        chances = np.asarray(each)
        if chances.shape != (rows, len(own)):
            raise PartitionError("predict_error", f"{method} gave an array of shape {chances.shape}")
        found |= {f"proba_{target}_{_class(name)}": pa.array(chances[:, at]) for at, name in enumerate(own)}
    return found


def _output_names(model: Any, count: int, method: str, targets: Sequence[str]) -> Sequence[Any]:
    if method == "transform" and hasattr(model, "get_feature_names_out"):
        try:
            found = list(model.get_feature_names_out())
        except (ValueError, AttributeError, TypeError):
            found = []
    else:
        classes = method == "decision_function" and not _of_pairs(model)
        found = list(map(_class, getattr(model, "classes_", ()))) if classes else list(targets)
    return found if len(found) == count else range(count)


def _of_pairs(model: Any) -> bool:
    """Whether a decision function compares pairs of classes. With three classes there are three pairs, too."""
    while (inner := getattr(model, "best_estimator_", None) or getattr(model, "_final_estimator", None)) is not None:
        model = inner
    return getattr(model, "decision_function_shape", None) == "ovo"


def _class(name: Any) -> str:
    """The name of a class: that of a whole number, if it is one. The file of another key may have it as float64."""
    return str(int(name)) if isinstance(name, float | np.floating) and name.is_integer() else str(name)
