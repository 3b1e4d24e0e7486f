"""One model applied to the rows of its key: features by name, the method, the predictions as a table. Pure."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.base import is_classifier

from job.errors import PartitionError
from job.fit import frame
from job.fit.fit_errors import Words, describe
from job.fit.user_function import UserFunction
from job.reader.spec import ReadSpec, as_text, is_text_of_another
from job.score import array_input, bounds, categories, columns, errors_of_key, outputs
from job.score.bounds import Backtest, HeldOut
from job.score.columns import PREDICTION

Array = np.ndarray[Any, Any]

_NAMELESS = "X does not have valid feature names"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings for scoring every key, as plain data for executors and guarded children."""

    spec: ReadSpec
    """how bytes become rows"""
    method: str
    """the method of the model to call, such as ``predict``"""
    features: tuple[str, ...] | None
    """features of the training, for models that do not record their names; None: all columns except ``others``"""
    series: bool
    """whether the model takes one column (a Series) and not a frame"""
    others: tuple[str, ...]
    """columns that are not features: target and weights of the training, and the truth"""
    outputs: tuple[str, ...]
    """names of the outputs, for a model with several outputs"""
    keep: tuple[str, ...] | None
    """columns of the input that the predictions keep; None: all"""
    types: tuple[tuple[str, pa.DataType], ...] | None
    """types of the kept columns and of ``prediction``; None: unknown, each file has its own"""
    missing: str
    """what happens to rows with missing features: fail, drop or null"""
    actual: str | None
    """the column with the truth; None if there is none"""
    on_empty: str
    """what happens to a key without rows: skip or fail"""
    allow_version_skew: bool
    run: str
    at: datetime
    """time of the plan"""
    version: int
    """version of the set of models"""
    function: UserFunction | None = None
    """the user's function, called with model, rows and key instead of the method"""
    rows: bool = True
    """whether there is an input; False: each model forecasts without rows"""
    backtest: Backtest | None = None
    """how the training counted the steps of its held-out rows"""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The predictions of one key."""

    table: pa.Table
    read: int | None
    """number of rows that were read; None if the written rows do not correspond to them one to one"""
    errors: dict[str, float]
    """errors of the predictions; empty if the rows do not hold the truth"""
    within: dict[str, tuple[int, int]]
    """for each level of intervals: the rows whose truth is within, and the rows that have an interval and a truth"""
    warnings: tuple[str, ...]
    seconds: float


def apply(
    recipe: Recipe, key: str, rows: pa.Table, model: Any, *, digest: str, source: str, held: HeldOut | None = None
) -> Scored:
    """Predict the rows of a key with its model.

    Parameters
    ----------
    recipe
        The settings of the scoring.
    key, rows
        The key, and its rows as they were read.
    model
        The loaded model.
    digest, source
        The digest of the model, and the origin of the rows; both are written with each prediction.
    held
        The residuals on held-out rows, for intervals; None: no intervals.

    Raises
    ------
    PartitionError
        ``missing_feature``, ``missing_values``, ``predict_error``, ``schema_mismatch``.
    """
    begin = time.perf_counter()
    count = rows.num_rows
    names = _features(recipe, model, rows)
    block = None if recipe.series else array_input.values(model, rows, names)
    lacking = _lacking(recipe, model, rows, names, block)
    steps = None if held is None else bounds.steps(rows, recipe.backtest, held.until)
    hidden = None if recipe.missing == "drop" else lacking
    if lacking is not None and hidden is None:
        rows = rows.filter(pc.invert(lacking))
        steps = None if steps is None else steps[~lacking.to_numpy(zero_copy_only=False)]
    inputs = rows.filter(pc.invert(hidden)) if hidden is not None else rows
    told: list[str] = []
    if lacking is not None and block is not None:
        block = array_input.values(model, inputs, names)
    found = _called(recipe, model, inputs, names, block, told) if inputs.num_rows else {}
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
    known = None if recipe.series else _recorded(model)
    if known is not None:
        names = [str(each) for each in known]
    elif recipe.features is not None:
        names = list(recipe.features)
    else:
        names = [name for name in _own(rows) if name not in recipe.others]
        if len(names) > 1 and hasattr(model, "n_features_in_"):
            raise PartitionError(
                "missing_feature",
                f"the {type(model).__name__} was fitted on an array: which columns it takes, and in which order, is "
                "unknown",
                hint="Fit it on a frame, so that it records their names, or name them in their order in the training's "
                "recipe.features.",
            )
    absent = [name for name in names if name not in rows.column_names]
    if absent:
        shown = ", ".join(map(repr, absent[:5])) + (" …" if len(absent) > 5 else "")
        here = _own(rows)
        hint = f"They have: {', '.join(map(repr, here[:20]))}{' …' if len(here) > 20 else ''}."
        raise PartitionError("missing_feature", f"the model needs {shown}, which the rows do not have", hint=hint)
    return names


def _recorded(model: Any) -> Any:
    """The names of the features that a model has recorded: ``feature_names_`` is CatBoost's."""
    known = getattr(model, "feature_names_in_", None)
    return getattr(model, "feature_names_", None) if known is None else known


def _lacking(recipe: Recipe, model: Any, rows: pa.Table, names: list[str], block: Array | None) -> Any:
    """Which rows lack a feature that the model needs; None: none. ``block`` holds the features, if they are numbers."""
    if block is not None and (block.dtype.kind != "f" or not np.isnan(block).any()):
        return None
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
        return not hasattr(model, "__sklearn_tags__")  # a user's own model checks its input itself


def _called(
    recipe: Recipe, model: Any, rows: pa.Table, names: list[str], block: Array | None, told: list[str]
) -> dict[str, pa.Array | pa.ChunkedArray]:
    method = getattr(model, recipe.method, None)
    if method is None:
        raise PartitionError("predict_error", f"the {type(model).__name__} has no method {recipe.method}")
    texts = {name for name in names if frame.is_textual(rows.column(name).type)} if block is None else ()
    if texts and (other := categories.of_numbers(model, names, texts)) is not None:
        raise PartitionError(
            "schema_mismatch",
            f"the column {other!r} is text here, and numbers were its categories in training: none of them is known",
            hint="In csv, a column whose values all look like numbers is one of numbers. input.schema: "
            f"{{{other}: {{type: string, optional: true}}}} makes it text, in training and here.",
        )
    given = frame.features(rows, names, series=recipe.series) if block is None else block
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            answer = method(given)
    except MemoryError:
        raise
    except Exception as error:
        message = f"{recipe.method} of the {type(model).__name__} raised {describe(error, Words.of(rows))}"
        raise PartitionError("predict_error", message, hint=_hint(recipe, error)) from error
    told += [f"{each.category.__name__}: {each.message}" for each in caught if _NAMELESS not in str(each.message)]
    told += categories.unseen(model, names, rows)
    return outputs.of(model, answer, rows.num_rows, method=recipe.method, targets=recipe.outputs)


def _hint(recipe: Recipe, error: Exception) -> str:
    """A hint for an error that columns of other types than those of the training give."""
    if not isinstance(error, TypeError | ValueError) or recipe.spec.whole_schema:
        return ""
    return (
        "Is a column of another type than in training? In csv, a column whose values all look like numbers is one of "
        "numbers; input.schema: {NAME: {type: string, optional: true}} makes it text, in training and here."
    )


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
    chosen = _own(rows) if recipe.keep is None else list(recipe.keep)
    if recipe.types is None:
        names = {name: columns.stored_values(rows.column(name)) for name in chosen if name in rows.column_names}
    else:
        names = {name: kind for name, kind in recipe.types if name != PREDICTION and not columns.is_free(name)}
    return {
        name: columns.column(rows.column(_source(rows, name, kind)), kind, name)
        if name in rows.column_names
        else pa.nulls(rows.num_rows, kind)
        for name, kind in names.items()
    }


def _own(rows: pa.Table) -> list[str]:
    """The columns of the input."""
    return [name for name in rows.column_names if not is_text_of_another(name)]


def _source(rows: pa.Table, name: str, kind: pa.DataType) -> str:
    """The column that a kept column is taken from: if it is text in the table, the text that the file has (``007``)."""
    return as_text(name) if kind == pa.string() and as_text(name) in rows.column_names else name


def _left_out(recipe: Recipe, rows: pa.Table) -> list[str]:
    """The warning about columns that should be kept, but that the table of predictions does not have."""
    if recipe.types is None:
        return []
    known = {name for name, _ in recipe.types}
    chosen = _own(rows) if recipe.keep is None else [each for each in recipe.keep if each in rows.column_names]
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
        if recipe.outputs:
            return {}
        classes = np.asarray(model.classes_).tolist()
        chances = np.column_stack([np.asarray(each.to_numpy(zero_copy_only=False), float) for each in found.values()])
        return errors_of_key.of_classes(truth.to_pylist(), None, classes, chances)
    if recipe.method != "predict" or PREDICTION not in found:
        return {}
    predicted = found[PREDICTION]
    if is_classifier(model) or not frame.is_number(truth.type) or not frame.is_number(predicted.type):
        if frame.is_float(predicted.type) and not is_classifier(model):
            raise PartitionError(
                "schema_mismatch",
                f"the column {recipe.actual!r}, which score.actual names, is {truth.type}, and predictions are numbers",
                hint="Name the texts that mean missing in input.format.null_values, or correct the data.",
            )
        return errors_of_key.of_classes(truth.to_pylist(), predicted.to_pylist())
    return errors_of_key.of_numbers(_numbers(truth), _numbers(predicted))


def _within(recipe: Recipe, rows: pa.Table, found: dict[str, Any]) -> dict[str, tuple[int, int]]:
    if recipe.actual is None or not frame.is_number(rows.column(recipe.actual).type):
        return {}
    edges = {name: _numbers(values) for name, values in found.items() if name.startswith(("lo_", "hi_"))}
    return bounds.within(edges, _numbers(rows.column(recipe.actual)))


def _numbers(values: Any) -> np.ndarray[Any, Any]:
    return np.asarray(_plain(values).to_numpy(zero_copy_only=False), float)
