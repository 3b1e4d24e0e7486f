"""What a user's function may give, and what becomes of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from job.errors import ConfigurationError, PartitionError
from job.fit import user_function
from job.fit.user_function import UserFunction
from job.reader import ReadSpec
from job.score import forecast
from job.score.apply import Recipe
from job.score.columns import OURS


def made(folder: Path, body: str, head: str = "model, frame, key") -> UserFunction:
    (folder / "score.py").write_text(f"import numpy as np\nimport pandas as pd\ndef forecast({head}):\n    {body}\n")
    return user_function.from_settings("score.py:forecast", None, folder, section="score", takes=forecast.arguments)


def recipe(function: UserFunction, types: tuple[tuple[str, pa.DataType], ...] | None = None) -> Recipe:
    return Recipe(
        spec=ReadSpec(),
        method="predict",
        features=None,
        series=False,
        others=(),
        outputs=(),
        keep=None,
        types=types,
        missing="fail",
        actual=None,
        on_empty="skip",
        allow_version_skew=False,
        run="r",
        at=datetime(2026, 1, 1, tzinfo=UTC),
        version=3,
        function=function,
    )


def given(function: UserFunction, rows: Any = None, types: Any = None) -> pd.DataFrame:
    done = forecast.scored(recipe(function, types), "k", rows, "the model", digest="d", source="k.csv")
    return done.table.to_pandas()


@pytest.mark.parametrize(
    ("body", "columns", "rows"),
    [
        ("return [1.5, 2.5]", {"prediction": [1.5, 2.5]}, 2),
        ("return np.arange(3)", {"prediction": [0, 1, 2]}, 3),
        ("return np.ones((2, 2))", {"prediction_0": [1.0, 1.0], "prediction_1": [1.0, 1.0]}, 2),
        ("return pd.Series([1.0], index=pd.Index([7]), name='x')", {"prediction": [1.0]}, 1),
        ("return pd.DataFrame({'lo': [1], 'a b': ['x']})", {"lo": [1], "a b": ["x"]}, 1),
        ("return pd.DataFrame({'y': [1., 2., 3.]}).query('y > 1')", {"y": [2.0, 3.0]}, 2),
        ("return pd.Series([1.0], index=pd.Index(['mon'], name='day'))", {"day": ["mon"], "prediction": [1.0]}, 1),
        ("return pd.DataFrame({'yhat': [1.0]}, index=['mon'])", {"index": ["mon"], "yhat": [1.0]}, 1),
        ("return np.zeros(0)", {"prediction": []}, 0),
        ("return pd.Series(['a', 'b'], dtype='category')", {"prediction": ["a", "b"]}, 2),
        (
            "import polars; return polars.DataFrame({'week': [1, 2], 'b': ['x', None]})",
            {"week": [1, 2], "b": ["x", None]},
            2,
        ),
        ("import pyarrow; return pyarrow.table({'week': [1], 'b': [0.5]})", {"week": [1], "b": [0.5]}, 1),
    ],
)
def test_an_array_a_series_and_a_frame_of_any_length_become_columns(
    tmp_path: Path, body: str, columns: dict[str, Any], rows: int
) -> None:
    found = given(made(tmp_path, body))

    assert [name for name in found if name not in OURS.names] == list(columns)
    assert {name: found[name].tolist() for name in columns} == columns
    assert len(found) == rows
    assert set(found["_model"]) <= {"d"}
    assert found["_input"].isna().all()


def test_dates_of_a_horizon_are_kept_as_times(tmp_path: Path) -> None:
    body = "return pd.Series([1., 2.], index=pd.period_range('2024-01', periods=2, freq='M'))"

    found = given(made(tmp_path, body))

    months = [pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-02-01", tz="UTC")]
    assert found["index"].tolist() == months
    body = "return pd.DataFrame({'month': pd.period_range('2024-01', periods=2, freq='M')})"
    assert given(made(tmp_path, body))["month"].tolist() == months


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return None", "gave NoneType"),
        ("return {'a': 1}", "gave dict"),
        ("return 3.0", "an array of 0 dimensions"),
        ("return pd.DataFrame({'_key': [1]})", "'_key', whose name"),
        ("return pd.DataFrame([[1, 2]], columns=['a', 'a'])", "two columns of one name"),
        ("return pd.DataFrame({'a': [1]}, index=pd.Index([1], name='a'))", "two columns of one name"),
        ("return pd.DataFrame(index=[1, 2])", "without a column"),
        ("return pd.Series([1, 'a'], dtype=object)", "not of one type"),
        ("raise KeyError(key)", "raised KeyError: 'k'"),
        ("raise ValueError('no week\\nof these')", "raised ValueError: no week$"),
        ("raise SystemExit(3)", "raised SystemExit"),
    ],
)
def test_what_cannot_be_used_is_a_predict_error_without_values_of_the_data(
    tmp_path: Path, body: str, message: str
) -> None:
    with pytest.raises(PartitionError, match=message) as caught:
        given(made(tmp_path, body))

    assert caught.value.reason == "predict_error"
    if "raise" in body:
        assert caught.value.__cause__ is not None


def test_the_text_of_an_error_is_told_without_the_texts_of_the_rows(tmp_path: Path) -> None:
    function = made(tmp_path, "raise ValueError(f'no such shop {frame.shop[0]!r} in {frame.columns[0]!r}')")

    with pytest.raises(PartitionError, match=r"ValueError: no such shop '\.\.\.' in 'shop'"):
        given(function, pa.table({"shop": ["Wien"]}))


def test_the_function_gets_the_model_the_rows_and_the_key(tmp_path: Path) -> None:
    function = made(
        tmp_path, "return pd.DataFrame({'said': [f'{model} {key} {frame is None}'], 'n': [len(frame or [])]})"
    )
    rows = made(tmp_path, "return frame.assign(said=key)[['said', 'x']]")

    assert given(function)["said"].tolist() == ["the model k True"]
    assert given(rows, pa.table({"x": [1, 2]}))["x"].tolist() == [1, 2]


def test_it_may_leave_the_key_out_and_draws_the_same_numbers_for_a_key_each_time(tmp_path: Path) -> None:
    function = made(tmp_path, "return np.random.random(3)", "model, frame")

    assert given(function)["prediction"].tolist() == given(function)["prediction"].tolist()


@pytest.mark.parametrize(
    ("head", "message"), [("model", "fewer than two"), ("a, b, c, d", "'d'"), ("a, b, *, seed", "'seed'")]
)
def test_a_function_that_cannot_be_called_so_is_refused_with_how_it_is_called(
    tmp_path: Path, head: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        made(tmp_path, "return [1]", head)

    assert "score.function" in str(caught.value)
    made(tmp_path, "return [1]", "a, b, c, d=1, *rest, **more")


def test_columns_and_types_are_those_of_the_table(tmp_path: Path) -> None:
    function = made(tmp_path, "return pd.DataFrame({'a': [1], 'b': [2]})")
    types = (("a", pa.float64()), ("b", pa.int64()), ("c", pa.string()))

    found = given(function, types=types)

    assert (found["a"].dtype, found["c"].tolist()) == ("float64", [None])
    with pytest.raises(PartitionError, match="the column 'b'"):
        given(function, types=types[:1])
    with pytest.raises(PartitionError, match="other types"):
        given(made(tmp_path, "return ['x']"), types=(("prediction", pa.float64()),))
