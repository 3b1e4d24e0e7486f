"""Predictions from an array: equal, to the last bit and in type, to those of the estimator's own method on a frame."""

from __future__ import annotations

import contextlib
import functools
import warnings
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import StackingRegressor, VotingRegressor
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import all_estimators

from job.reader.spec import ReadSpec
from job.score import array_input, columns
from job.score.apply import Recipe, apply

ROWS = 40
NAMES = ["a", "b", "c"]
METHODS = ("predict", "predict_proba", "decision_function", "transform", "score_samples")
KINDS = {
    "float64": ["float64"] * 3,
    "float32": ["float32"] * 3,
    "int64": ["int64"] * 3,
    "int16": ["int16"] * 3,
    "int64 and float64": ["int64", "float64", "float64"],
    "float32 and float64": ["float32", "float64", "float32"],
    "float32 and int32": ["float32", "int32", "float32"],
    "uint8 and int64": ["uint8", "int64", "int64"],
}


def frame_of(kinds: list[str]) -> pd.DataFrame:
    values = np.random.default_rng(0).integers(1, 90, (ROWS, len(kinds)))
    return pd.DataFrame(
        {
            name: values[:, at].astype(kind) / (1 if kind[0] in "iu" else np.dtype(kind).type(7))
            for at, (name, kind) in enumerate(zip(NAMES, kinds, strict=True))
        }
    ).astype(dict(zip(NAMES, kinds, strict=True)))


def recipe(method: str) -> Recipe:
    return Recipe(
        spec=ReadSpec(),
        method=method,
        features=tuple(NAMES),
        series=False,
        others=(),
        outputs=(),
        keep=(),
        types=None,
        missing="fail",
        actual=None,
        on_empty="skip",
        allow_version_skew=False,
        run="r",
        at=datetime(2026, 11, 29, tzinfo=UTC),
        version=1,
    )


def scored(model: Any, method: str, frame: pd.DataFrame) -> pa.Table:
    rows = pa.Table.from_pandas(frame, preserve_index=False)
    table = apply(recipe(method), "k", rows, model, digest="d", source="s").table
    return table.select([name for name in table.column_names if name not in columns.OURS.names])


SMALL = {"random_state": 0, "max_iter": 20, "n_estimators": 5, "n_init": 1, "cv": 2}
"""parameters that make fits short, and answers equal for equal input"""


@functools.cache
def every_model() -> list[Any]:
    """Of each estimator that gets arrays, and can be fitted on three columns of numbers, a model."""
    frame = frame_of(["float64"] * 3)
    target = pd.Series((frame["a"] > frame["a"].median()).astype(int), name="y")
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _, kind in all_estimators():
            if array_input._takes_array(kind):
                with contextlib.suppress(Exception):  # it needs other data or arguments than these
                    model = kind(**{name: value for name, value in SMALL.items() if name in kind._get_param_names()})
                    found.append(model.fit(frame, target))
    return found


def expected(model: Any, method: str, given: Any) -> np.ndarray:
    found = getattr(model, method)(given)
    return np.asarray(found.toarray() if hasattr(found, "toarray") else found)


@pytest.mark.parametrize("kinds", list(KINDS.values()), ids=list(KINDS))
@pytest.mark.filterwarnings("ignore")
def test_every_estimator_gives_from_an_array_what_it_gives_from_a_frame(kinds: list[str]) -> None:
    frame = frame_of(kinds)
    compared = 0
    for model in every_model():
        block = array_input.values(model, pa.Table.from_pandas(frame, preserve_index=False), NAMES)
        for method in METHODS:
            try:
                wanted = expected(model, method, frame)
            except Exception:  # it has no such method, or does not take these numbers as a frame either
                continue
            found = expected(model, method, block)
            assert found.dtype == wanted.dtype, (model, method)
            assert np.array_equal(found, wanted, equal_nan=found.dtype.kind == "f"), (model, method)
            compared += 1
    assert compared > 100


@pytest.mark.parametrize("kinds", list(KINDS.values()), ids=list(KINDS))
def test_the_array_is_that_of_the_frame(kinds: list[str]) -> None:
    frame = frame_of(kinds)

    block = array_input.values(LinearRegression(), pa.Table.from_pandas(frame, preserve_index=False), NAMES)

    assert block is not None
    assert block.dtype == frame.to_numpy().dtype
    assert block.flags.f_contiguous
    assert np.array_equal(block, frame.to_numpy())


def test_whole_numbers_that_a_transformer_passes_on_stay_whole_numbers() -> None:
    frame = frame_of(["int64"] * 3)
    model = SelectKBest(f_regression, k=2).fit(frame, frame["a"])

    assert scored(model, "transform", frame).schema.types == [pa.int64()] * 2


BY_NAME = make_pipeline(ColumnTransformer([("some", StandardScaler(), ["c", "a"])]), Ridge())


@pytest.mark.parametrize(
    "model",
    [
        VotingRegressor([("one", BY_NAME), ("other", LinearRegression())]),
        StackingRegressor([("one", BY_NAME)], final_estimator=Ridge()),
        MultiOutputRegressor(BY_NAME),
        BY_NAME,
    ],
    ids=lambda model: type(model).__name__,
)
def test_an_estimator_that_holds_one_which_chooses_columns_by_name_gets_a_frame(model: Any) -> None:
    frame = frame_of(["float64"] * 3)
    target = frame[["a", "b"]] if isinstance(model, MultiOutputRegressor) else frame["b"]
    made = clone(model).fit(frame, target)

    found = scored(made, "predict", frame)

    assert np.array_equal(np.column_stack(found.columns).squeeze(), made.predict(frame))


def test_a_function_that_transforms_a_frame_gets_a_frame() -> None:
    frame = frame_of(["float64"] * 3)

    found = scored(FunctionTransformer(np.log1p).fit(frame), "transform", frame)

    assert found.column_names == [f"prediction_{name}" for name in NAMES]
