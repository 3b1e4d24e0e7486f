"""Rows of one frame sent to the models of their keys (`ModelSet.predict`)."""

from __future__ import annotations

from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from job.errors import ConfigurationError
from job.registry.model_set import ModelSet
from job.store.folder import FolderStore
from tests.support.folder_job import Job, line


@pytest.fixture
def models(tmp_path: Path) -> ModelSet:
    job = Job(tmp_path)
    for number in range(40):
        job.put(f"k{number}.csv.gz", line(number + 1.0))
    job.run()
    return job.models()


def rows(keys: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {"note": "-", "shop": keys, "x": np.arange(len(keys), dtype=float)}, index=range(7, 7 + len(keys))
    )


def test_each_row_goes_to_the_model_of_its_key_and_comes_back_in_its_place(models: ModelSet) -> None:
    frame = rows([f"k{number % 40}" for number in range(200)]).sample(frac=1, random_state=3)

    found = models.predict(frame, "shop")

    assert found.index.equals(frame.index)
    for at, row in frame.iterrows():
        assert found[at] == pytest.approx(models[row["shop"]].predict(pd.DataFrame({"x": [row["x"]]}))[0])


def test_a_model_is_loaded_with_one_request_and_called_once(models: ModelSet, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: Counter[str] = Counter()
    for name in ("get", "head", "part"):
        real = getattr(FolderStore, name)

        def counting(store: FolderStore, path: str, *given: Any, real: Any = real, **more: Any) -> Any:
            asked[path] += path.startswith("models/")
            return real(store, path, *given, **more)

        monkeypatch.setattr(FolderStore, name, counting)

    models.predict(rows(["k1", "k2", "k1", "k2"]), "shop")

    assert [count for count in asked.values() if count] == [1, 1]


def test_a_key_without_a_model_is_an_error_or_a_gap(models: ModelSet) -> None:
    frame = rows(["k1", "zz", "k2"])

    with pytest.raises(KeyError, match="no model of 'zz'"):
        models.predict(frame, "shop")

    assert models.predict(frame, "shop", missing="nan").isna().tolist() == [False, True, False]


def test_a_column_that_is_not_there_is_named(models: ModelSet) -> None:
    with pytest.raises(ConfigurationError, match="'store'"):
        models.predict(rows(["k1"]), ["store"])
    with pytest.raises(ConfigurationError, match="'x', which the model needs"):
        models.predict(rows(["k1"]).drop(columns="x"), "shop")


def test_several_columns_make_a_key_as_directories_do(tmp_path: Path) -> None:
    job = Job(tmp_path)
    for store in (1, 2):
        job.put(f"store={store}/item=a%2Fb/part.csv.gz", line(float(store)))
    job.overrides["input"] = {"layout": "hive"}
    job.run()
    frame = pd.DataFrame({"item": "a/b", "x": [1.0, 2.0], "store": [2, 1]})

    assert job.models().predict(frame, ["store", "item"]).tolist() == pytest.approx([2.0, 2.0])


def test_what_is_no_frame_or_no_policy_is_named(models: ModelSet) -> None:
    frame = rows(["k1", "k2"])
    with pytest.raises(ConfigurationError, match="the rows are a ndarray"):
        models.predict(frame.to_numpy(), "shop")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="missing='NaN' is neither"):
        models.predict(frame, "shop", missing="NaN")  # type: ignore[arg-type]


def test_a_model_of_texts_gets_one_column_and_not_the_names_of_many(tmp_path: Path) -> None:
    job = Job(tmp_path)
    words = {"_target_": "sklearn.feature_extraction.text.CountVectorizer"}
    line_of = {"_target_": "sklearn.linear_model.Ridge"}
    steps = [["words", words], ["line", line_of]]
    pipeline = {"_target_": "sklearn.pipeline.Pipeline", "steps": steps}
    job.overrides = {"recipe": {"features": "text", "target": "y", "estimator": pipeline}}
    job.put("a.csv", b"text,y\nred car,1\nblue car,2\nred bike,3\n")
    job.run()
    texts = pd.Series(["red bike", "blue", "car"])
    models = job.models()
    frame = pd.DataFrame({"key": "a", "text": texts})
    assert models.predict(frame, "key").tolist() == models["a"].predict(texts).tolist()
    with pytest.raises(ConfigurationError, match="takes one column of texts, and the frame has 'text', 'more'"):
        models.predict(frame.assign(more="x"), "key")


def test_values_with_the_text_of_one_key_are_one_key_and_none_of_their_rows_is_forgotten(tmp_path: Path) -> None:
    job = Job(tmp_path)
    for slope, key in enumerate(["1", "1.0", "True"], 1):
        job.put(f"{key}.csv.gz", line(float(slope)))
    job.run()
    keys = [1, "1", True, "True", 1.0, "1.0", 1]
    frame = pd.DataFrame({"shop": keys, "x": 1.0})

    assert job.models().predict(frame, "shop").tolist() == pytest.approx([1, 1, 3, 3, 2, 2, 1])


def test_a_category_that_no_row_has_is_no_key(models: ModelSet) -> None:
    frame = rows(["k1", "k2"])
    frame["shop"] = pd.Categorical(frame["shop"], categories=["k1", "k2", "zz"])

    assert models.predict(frame, "shop").tolist() == models.predict(frame.astype({"shop": str}), "shop").tolist()


@pytest.mark.parametrize(
    "values",
    [
        pd.Series([True, False, True]),
        pd.Series([True, False, None], dtype=object),
        pd.to_datetime(pd.Series(["2026-01-01 00:00:00.5", "2026-01-02 12:30:00.0", None])),
        pd.to_datetime(pd.Series(["2026-01-01", "2026-01-02", "2026-01-03"])).dt.tz_localize("Europe/Vienna"),
        pd.Series([1e7, 2.5, None]),
        pd.Series([Decimal("1.50"), Decimal("2.00"), None]),
        pd.Series([date(2026, 1, 1), date(2026, 1, 2), None]),
        pd.Series([1, 2, None], dtype="Int64"),
        pd.Series([1.5, 2.5, 1.5], dtype="category"),
    ],
    ids=lambda each: f"{each.dtype} {each[0]}",
)
def test_the_key_of_a_typed_column_is_that_of_the_table_it_was_trained_on(tmp_path: Path, values: Any) -> None:
    job = Job(tmp_path)
    frame = pd.concat([pd.DataFrame({"k": values, "x": float(at)}) for at in range(10)], ignore_index=True)
    frame["y"] = frame["x"] * (pd.factorize(frame["k"])[0] + 2)
    frame.to_parquet(job.data / "all.parquet")
    job.overrides["input"] = {"layout": "columns", "key": ["k"]}
    job.run()

    assert job.models().predict(frame, "k").tolist() == pytest.approx(frame["y"].tolist())
