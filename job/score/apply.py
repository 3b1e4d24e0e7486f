"""One model applied to the rows of its key: features by name, the method, the predictions as a table. Pure."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.base import is_classifier

from job.errors import PartitionError
from job.fit import frame
from job.fit.user_function import UserFunction
from job.reader.spec import ReadSpec
from job.score import bounds, columns, errors_of_key
from job.score.bounds import Backtest, HeldOut
from job.score.columns import PREDICTION

_NAMELESS = "X does not have valid feature names"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings for scoring every key, as plain data for executors and guarded children."""

    spec: ReadSpec
    """how bytes become rows"""
    method: str
    """of the model"""
    features: tuple[str, ...] | None
    """as the training named them, for models that do not know their names; None: all columns but ``others``"""
    series: bool
    """the model takes one column, not a frame"""
    others: tuple[str, ...]
    """columns that are no features: the training's target and weights, the truth"""
    outputs: tuple[str, ...]
    """names of the outputs of a model with several"""
    keep: tuple[str, ...] | None
    """columns that are carried over; None: all"""
    types: tuple[tuple[str, pa.DataType], ...] | None
    """types of the kept columns and of ``prediction``; None: not known, every file as it comes"""
    missing: str
    """fail, drop or null"""
    actual: str | None
    """the column with the truth"""
    on_empty: str
    """skip or fail"""
    allow_version_skew: bool
    run: str
    at: datetime
    """when the run was planned"""
    version: int
    """of the models"""
    function: UserFunction | None = None
    """called with the model, the rows and the key, instead of a method"""
    rows: bool = True
    """there is an input; False: each model forecasts without rows"""
    backtest: Backtest | None = None
    """how the training counted the steps of its held-out rows"""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The predictions of one key."""

    table: pa.Table
    read: int | None
    """rows that were read; None where those that are written do not stand for them, one by one"""
    errors: dict[str, float]
    """where the rows hold the truth"""
    within: dict[str, tuple[int, int]]
    """of each level of intervals: rows whose truth lies within, and rows that have both"""
    warnings: tuple[str, ...]
    seconds: float


def apply(
    recipe: Recipe, key: str, rows: pa.Table, model: Any, *, digest: str, source: str, held: HeldOut | None = None
) -> Scored:
    """The predictions of a model for the rows of its key.

    Parameters
    ----------
    recipe
        What is done.
    key, rows
        The key, and its rows as they were read.
    model
        Loaded.
    digest, source
        What is written beside each prediction: of the model, and where the rows came from.
    held
        What intervals are made of; None for none.

    Raises
    ------
    PartitionError
        ``missing_feature``, ``missing_values``, ``predict_error``, ``schema_mismatch``.
    """
    begin = time.perf_counter()
    count = rows.num_rows
    names = _features(recipe, model, rows)
    lacking = _lacking(recipe, model, rows, names)
    steps = None if held is None else bounds.steps(rows, recipe.backtest, held.until)
    hidden = None if recipe.missing == "drop" else lacking
    if lacking is not None and hidden is None:
        rows = rows.filter(pc.invert(lacking))
        steps = None if steps is None else steps[~lacking.to_numpy(zero_copy_only=False)]
    inputs = rows.filter(pc.invert(hidden)) if hidden is not None else rows
    told: list[str] = []
    found = _called(recipe, model, inputs, names, told) if inputs.num_rows else {}
    around = {}
    if (
        held is not None
        and recipe.method == "predict"
        and PREDICTION in found
        and frame.is_number(found[PREDICTION].type)
    ):
        at = steps if steps is None or hidden is None else steps[~hidden.to_numpy(zero_copy_only=False)]
        around = bounds.around(_numbers(found[PREDICTION]), held, at)
        found |= {name: pa.array(values, from_pandas=True) for name, values in around.items()}
    if hidden is not None:
        place = pa.array(np.where(hidden.to_numpy(zero_copy_only=False), -1, np.cumsum(~hidden.to_numpy(False)) - 1))
        place = pc.if_else(pc.less(place, 0), None, place)
        found = {name: values.take(place) for name, values in found.items()}
    told += _left_out(recipe, rows)
    made = {**_kept(recipe, rows), **_typed(recipe, found, rows.num_rows)}
    return Scored(
        table=columns.with_ours(made, rows.num_rows, recipe, key=key, digest=digest, source=source),
        read=count,
        errors=_errors(recipe, model, rows, found),
        within=_within(recipe, rows, found) if around else {},
        warnings=tuple(dict.fromkeys(told)),
        seconds=time.perf_counter() - begin,
    )


def _features(recipe: Recipe, model: Any, rows: pa.Table) -> list[str]:
    known = None if recipe.series else getattr(model, "feature_names_in_", None)
    if known is not None:
        names = [str(each) for each in known]
    elif recipe.features is not None:
        names = list(recipe.features)
    else:
        names = [name for name in rows.column_names if name not in recipe.others]
    absent = [name for name in names if name not in rows.column_names]
    if absent:
        shown = ", ".join(map(repr, absent[:5])) + (" …" if len(absent) > 5 else "")
        raise PartitionError("missing_feature", f"the model needs {shown}, which the rows do not have")
    return names


def _lacking(recipe: Recipe, model: Any, rows: pa.Table, names: list[str]) -> Any:
    """Which rows lack a feature that the model needs; None: none."""
    empty = None
    for name in names:
        if rows.column(name).null_count or frame.is_float(rows.column(name).type):
            here = pc.is_null(rows.column(name), nan_is_null=True)
            empty = here if empty is None else pc.or_(empty, here)
    if empty is None or not pc.any(empty).as_py() or _takes_missing(model):
        return None
    if recipe.missing != "fail":
        return empty.combine_chunks()
    number = int(pc.sum(empty).as_py())
    raise PartitionError(
        "missing_values",
        f"{number:,} of {rows.num_rows:,} rows lack a feature, which the {type(model).__name__} does not take",
        hint="score.missing: drop leaves such rows out, null writes them without a prediction.",
    )


def _takes_missing(model: Any) -> bool:
    try:
        from sklearn.utils import get_tags

        return bool(get_tags(model).input_tags.allow_nan)
    except (ImportError, AttributeError, TypeError, ValueError):
        return not hasattr(model, "__sklearn_tags__")  # a model of the user's own judges by itself


def _called(
    recipe: Recipe, model: Any, rows: pa.Table, names: list[str], told: list[str]
) -> dict[str, pa.Array | pa.ChunkedArray]:
    method = getattr(model, recipe.method, None)
    if method is None:
        raise PartitionError("predict_error", f"the {type(model).__name__} has no method {recipe.method}")
    # A plain number array is what scikit-learn makes of such a frame, to the last bit, at a fraction of the time.
    given = None if recipe.series or not _of_sklearn(model) else frame.block(rows, names)
    if given is None:
        given = frame.features(rows, names, series=recipe.series)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            answer = method(given)
    except MemoryError:
        raise
    except Exception as error:
        message = f"{recipe.method} of the {type(model).__name__} raised {type(error).__name__}"
        raise PartitionError("predict_error", message) from error
    told += [f"{each.category.__name__}: {each.message}" for each in caught if _NAMELESS not in str(each.message)]
    return _outputs(recipe, model, answer, rows.num_rows)


def _of_sklearn(model: Any) -> bool:
    """Whether an array will do: not for a pipeline or a transformer that picks columns by name."""
    module = type(model).__module__.split(".")
    return module[0] == "sklearn" and module[1] not in ("pipeline", "compose", "model_selection", "feature_extraction")


def _outputs(recipe: Recipe, model: Any, answer: Any, rows: int) -> dict[str, pa.Array | pa.ChunkedArray]:
    if hasattr(answer, "toarray"):
        answer = answer.toarray()
    named: Sequence[Any] | None = list(answer.columns) if isinstance(answer, pd.DataFrame) else None
    if isinstance(answer, list):  # of a classifier with several outputs: an array of probabilities each
        raise PartitionError("predict_error", f"{recipe.method} of a model with several targets gives no one table")
    values = np.asarray(answer)
    if values.shape[:1] != (rows,):
        got = f"an array of shape {values.shape}"
        raise PartitionError("predict_error", f"{recipe.method} gave {got} for {rows:,} rows")
    if values.ndim == 1:
        return {PREDICTION: pa.array(values, from_pandas=True)}
    if recipe.method == "predict_proba":
        return {f"proba_{name}": pa.array(values[:, at]) for at, name in enumerate(model.classes_)}
    if named is None:
        named = _output_names(recipe, model, values.shape[1])
    return {f"{PREDICTION}_{name}": pa.array(values[:, at], from_pandas=True) for at, name in enumerate(named)}


def _output_names(recipe: Recipe, model: Any, count: int) -> Sequence[Any]:
    if recipe.method == "transform" and hasattr(model, "get_feature_names_out"):
        try:
            found = list(model.get_feature_names_out())
        except (ValueError, AttributeError, TypeError):
            found = []
    else:
        found = list(getattr(model, "classes_", ()) if recipe.method == "decision_function" else recipe.outputs)
    return found if len(found) == count else range(count)


def _typed(recipe: Recipe, found: dict[str, Any], rows: int) -> dict[str, Any]:
    known = dict(recipe.types or ())
    if recipe.method != "predict_proba" and PREDICTION in known and not found:
        found = {PREDICTION: pa.nulls(rows)}
    return {
        name: columns.column(pa.chunked_array([values]), known.get(name, columns.stored(values.type)), name)
        for name, values in ((name, _plain(each)) for name, each in found.items())
    }


def _plain(values: Any) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def _kept(recipe: Recipe, rows: pa.Table) -> dict[str, Any]:
    chosen = rows.column_names if recipe.keep is None else list(recipe.keep)
    if recipe.types is None:
        names = {name: columns.stored(rows.column(name).type) for name in chosen if name in rows.column_names}
    else:
        names = {name: kind for name, kind in recipe.types if name != PREDICTION and not columns.is_free(name)}
    return {
        name: columns.column(rows.column(name), kind, name)
        if name in rows.column_names
        else pa.nulls(rows.num_rows, kind)
        for name, kind in names.items()
    }


def _left_out(recipe: Recipe, rows: pa.Table) -> list[str]:
    """What is said of columns that should be kept, and that the table does not have."""
    if recipe.types is None:
        return []
    known = {name for name, _ in recipe.types}
    chosen = rows.column_names if recipe.keep is None else [each for each in recipe.keep if each in rows.column_names]
    lost = [name for name in chosen if name not in known]
    if not lost:
        return []
    shown = ", ".join(map(repr, lost[:5])) + (" …" if len(lost) > 5 else "")
    return [f"not kept, as no key that was sampled at planning has it: {shown}"]


def _errors(recipe: Recipe, model: Any, rows: pa.Table, found: dict[str, Any]) -> dict[str, float]:
    if recipe.actual is None or not found:
        return {}
    if recipe.actual not in rows.column_names:
        raise PartitionError("missing_column", f"the rows have no column {recipe.actual!r}, which score.actual names")
    truth = rows.column(recipe.actual)
    if recipe.method == "predict_proba":
        classes = [name.removeprefix("proba_") for name in found]
        chances = np.column_stack([np.asarray(each.to_numpy(zero_copy_only=False), float) for each in found.values()])
        return errors_of_key.of_classes(truth.to_pylist(), None, classes, chances)
    if recipe.method != "predict" or PREDICTION not in found:
        return {}
    predicted = found[PREDICTION]
    if is_classifier(model) or not frame.is_number(truth.type):
        return errors_of_key.of_classes(truth.to_pylist(), predicted.to_pylist())
    return errors_of_key.of_numbers(_numbers(truth), _numbers(predicted))


def _within(recipe: Recipe, rows: pa.Table, found: dict[str, Any]) -> dict[str, tuple[int, int]]:
    if recipe.actual is None or not frame.is_number(rows.column(recipe.actual).type):
        return {}
    edges = {name: _numbers(values) for name, values in found.items() if name.startswith(("lo_", "hi_"))}
    return bounds.within(edges, _numbers(rows.column(recipe.actual)))


def _numbers(values: Any) -> np.ndarray[Any, Any]:
    return np.asarray(_plain(values).to_numpy(zero_copy_only=False), float)
