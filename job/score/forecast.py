"""Predictions by the user's function: it gets the model, the rows and the key, and returns rows of its own. Pure."""

from __future__ import annotations

import inspect
import random
import time
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from job.errors import PartitionError
from job.fit import frame, train
from job.fit.contained import contained
from job.fit.fit_errors import Words, describe
from job.fit.user_function import UserFunction
from job.score import columns
from job.score.apply import Recipe, Scored, apply
from job.score.bounds import HeldOut
from job.score.columns import OURS, PREDICTION


def scored(
    recipe: Recipe,
    key: str,
    rows: pa.Table | None,
    model: Any,
    *,
    digest: str,
    source: str,
    held: HeldOut | None = None,
) -> Scored:
    """Predict the rows of a key, by the recipe's function if it has one, or else by the model's method.

    Parameters
    ----------
    rows
        The rows of the key; None if the scoring has no input, which only a function allows.

    Raises
    ------
    PartitionError
        For a method as `job.score.apply.apply`. For a function ``predict_error``, or ``schema_mismatch`` if it returns
        columns or types that the table of predictions does not have.
    """
    if recipe.function is not None:
        return _forecast(recipe, recipe.function, key, rows, model, digest=digest, source=source)
    assert rows is not None
    return apply(recipe, key, rows, model, digest=digest, source=source, held=held)


def _forecast(
    recipe: Recipe, function: UserFunction, key: str, rows: pa.Table | None, model: Any, *, digest: str, source: str
) -> Scored:
    begin = time.perf_counter()
    given = None if rows is None else frame.to_pandas(rows)
    seed = train.fit_seed(0, key)
    random.seed(seed)
    np.random.seed(seed)
    try:
        with contained(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            answer = called(function, model, given, key)
    except (PartitionError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        text = describe(error, Words.of(pa.table({}) if rows is None else rows))
        raise PartitionError("predict_error", f"{function.reference} raised {text}") from error
    found = _typed(recipe, function, _columns(function, answer))
    count = len(next(iter(found.values())))
    told = [f"{each.category.__name__}: {each.message}" for each in caught]
    return Scored(
        table=columns.with_ours(found, count, recipe, key=key, digest=digest, source=None if rows is None else source),
        read=None,
        errors={},
        within={},
        warnings=tuple(dict.fromkeys(told)),
        seconds=time.perf_counter() - begin,
    )


def called(function: UserFunction, model: Any, rows: Any, key: str) -> Any:
    """Call the function with a model, the frame of its key's rows (None without an input) and the key."""
    loaded = function.load()
    return loaded(*(model, rows, key)[: arguments(loaded)])


@lru_cache(maxsize=16)
def arguments(function: Callable[..., Any]) -> int:
    """The number of positional arguments (model, frame and key) that a function takes: 2 or 3.

    Raises
    ------
    TypeError
        The function takes fewer than two arguments, or needs more than three.
    """
    parameters = list(inspect.signature(function).parameters.values())
    places = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    if any(each.kind == each.VAR_POSITIONAL for each in parameters):
        return 3
    if len(places) < 2:
        raise TypeError("it takes fewer than two arguments")
    named = [each for each in parameters if each.kind == each.KEYWORD_ONLY]
    for each in [*places[3:], *named]:
        if each.default is each.empty:
            raise TypeError(f"it needs an argument {each.name!r}, which nobody gives")
    return min(len(places), 3)


def _columns(function: UserFunction, answer: Any) -> dict[str, Any]:
    """The columns of the function's result."""
    pairs = _pairs(function, answer)
    columns_of = dict(pairs)
    if not columns_of:
        raise _unusable(function, "gave a frame without a column")
    if len(columns_of) < len(pairs):
        raise _unusable(function, "gave a frame with two columns of one name")
    if taken := sorted(columns_of.keys() & set(OURS.names)):
        raise _unusable(function, f"gave the column {taken[0]!r}, whose name the predictions use")
    try:
        return {name: pa.chunked_array([_array(values)]) for name, values in columns_of.items()}
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise _unusable(function, "gave values that are not of one type") from error


def _pairs(function: UserFunction, answer: Any) -> list[tuple[str, Any]]:
    """Names and values: the columns of a frame (of pandas, Polars or Arrow), or else ``prediction``. An index with a
    name, or one that is not of integers, is a column, too."""
    if isinstance(answer, pd.Series):
        answer = answer.to_frame(PREDICTION)
    if isinstance(answer, pd.DataFrame):
        # An unnamed index of integers only numbers the rows.
        if answer.index.names != [None] or not pd.api.types.is_integer_dtype(answer.index):
            names = [str(name) if name is not None else "index" for name in answer.index.names]
            answer = answer.reset_index(names=names, allow_duplicates=True)
        return [(str(name), answer.iloc[:, at]) for at, name in enumerate(answer.columns)]
    if hasattr(answer, "columns") and hasattr(answer, "__arrow_c_stream__"):
        table = pa.table(answer)
        return list(zip(table.column_names, table.columns, strict=True))
    if answer is None or isinstance(answer, str | bytes | dict):
        raise _unusable(function, f"gave {type(answer).__name__}")
    values = np.asarray(answer)
    if values.ndim not in (1, 2):
        raise _unusable(function, f"gave an array of {values.ndim} dimensions")
    if values.ndim == 1:
        return [(PREDICTION, values)]
    return [(f"{PREDICTION}_{at}", values[:, at]) for at in range(values.shape[1])]


def _array(values: Any) -> pa.Array:
    if isinstance(values, pd.Series) and isinstance(values.dtype, pd.PeriodDtype):
        values = values.dt.to_timestamp()
    made = values if isinstance(values, pa.ChunkedArray) else pa.array(values, from_pandas=True)
    made = made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made
    return made.cast(made.type.value_type) if pa.types.is_dictionary(made.type) else made


def _unusable(function: UserFunction, what: str) -> PartitionError:
    hint = "It returns an array, a Series or a frame, with as many rows as it likes."
    return PartitionError("predict_error", f"{function.reference} {what}", hint=hint)


def _typed(recipe: Recipe, function: UserFunction, found: dict[str, Any]) -> dict[str, Any]:
    known = None if recipe.types is None else dict(recipe.types)
    if known is not None and (new := sorted(found.keys() - known.keys())):
        raise PartitionError(
            "schema_mismatch",
            f"{function.reference} gave the column {new[0]!r}, which the table of predictions does not have",
            hint="Let it give the same columns for every key.",
        )
    kinds = known or {name: columns.stored(values.type) for name, values in found.items()}
    count = len(next(iter(found.values())))
    try:
        return {
            name: columns.column(found[name], kind, name) if name in found else pa.nulls(count, kind)
            for name, kind in kinds.items()
        }
    except PartitionError as error:
        raise PartitionError(
            "schema_mismatch",
            f"{function.reference} gave other types than the table of predictions has",
            hint="Let it give the same types for every key.",
        ) from error.__cause__
