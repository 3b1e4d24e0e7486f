"""A new model against the live one: which rows may judge, and what makes a key undecidable."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression

from job.config.settings import ArtifactSettings, RecipeSettings
from job.errors import ConfigurationError
from job.fit import artifact, recipe_mistakes
from job.fit.contest import Against, Champion
from job.fit.fitted import Contest
from job.fit.recipe import Recipe
from job.fit.train import train
from job.judge import gate, losses

MAE = "neg_mean_absolute_error"
LINEAR = {"_target_": "sklearn.linear_model.LinearRegression"}
BACKTEST = {"method": "backtest", "column": "day", "windows": 4, "horizon": 14}


def days(count: int, seed: int = 0, zone: str | None = None) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = np.arange(count, dtype=float)
    data = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=count, tz=zone), "n": n, "m": n % 5})
    data["y"] = 0.5 * n + rng.normal(size=count)
    data["sign"] = np.where(data["m"] + rng.normal(size=count) > 2, "high", "low")
    return data.sample(frac=1, random_state=seed)


def champion(model: Any, **changes: Any) -> Champion:
    packed = artifact.pack(model, ArtifactSettings())
    told = {"data": packed.data, "digest": packed.digest, "size": len(packed.data), "judged_until": None}
    told |= {"versions": json.dumps(artifact.versions()), "until": "2024-03-10T00:00:00"}
    return Champion(**{**told, **changes})


def contest(live: Champion, data: pd.DataFrame, metric: str = MAE, **options: Any) -> Contest:
    options = {"features": ["n"], "target": "y", "estimator": LINEAR, "validation": BACKTEST, **options}
    recipe = Recipe.from_settings(RecipeSettings(**options))
    rows = pa.Table.from_pandas(data, preserve_index=False)
    found = train(rows, recipe, key="k", seed=1, against=Against(champion=live, metric=metric)).evaluation.contest
    assert found is not None
    return found


DATA = days(126)
"""126 days from 1 January 2024: the windows hold out those from 11 March to 5 May, 56 of them."""
OLD = LinearRegression().fit(DATA.sort_values("day")[["n"]][:70], DATA.sort_values("day")["y"][:70])


def test_all_held_out_rows_judge_where_the_live_model_has_seen_none() -> None:
    told = contest(champion(OLD), DATA).comparison
    assert told is not None
    assert told.rows == 56
    data = DATA.sort_values("day").reset_index(drop=True)
    held = data.iloc[70:]
    assert told.champion == pytest.approx(-np.abs(held["y"] - OLD.predict(held[["n"]])).mean())
    own = []
    for begin in (70, 84, 98, 112):
        judge = LinearRegression().fit(data[["n"]][:begin], data["y"][:begin])
        part = data[begin : begin + 14]
        own += np.abs(part["y"] - judge.predict(part[["n"]])).tolist()
    assert told.challenger == pytest.approx(-np.mean(own))
    live = np.abs(held["y"] - OLD.predict(held[["n"]])).to_numpy()
    assert told.p == gate.diebold_mariano(live - np.array(own))


@pytest.mark.parametrize(
    ("changes", "rows"),
    [
        ({"until": "2024-04-21T00:00:00"}, 14),  # it was fitted on the rows of three windows
        ({"until": "2024-04-20T00:00:00"}, 15),  # strictly newer
        ({"judged_until": "2024-05-02T00:00:00"}, 3),  # rows that judged once do not judge again
        ({"until": "2024-04-30T00:00:00", "judged_until": "2024-04-21T00:00:00"}, 5),
    ],
)
def test_rows_that_the_live_model_has_seen_do_not_judge(changes: dict[str, Any], rows: int) -> None:
    told = contest(champion(OLD, **changes), DATA).comparison
    assert told is not None
    assert told.rows == rows


def test_a_live_model_that_has_seen_the_rows_would_win_if_they_judged() -> None:
    """The leak that the rule is against: a model that remembers its rows makes no error on them."""
    from sklearn.neighbors import KNeighborsRegressor

    memory = KNeighborsRegressor(1).fit(DATA[["n"]], DATA["y"])
    leaky = contest(champion(memory, until="2024-03-10T00:00:00"), DATA).comparison
    assert leaky is not None
    assert leaky.champion == 0
    honest = contest(champion(memory, until="2024-05-05T00:00:00"), DATA)
    assert honest.comparison is None
    assert honest.note == "no held-out row is newer than what the live model has seen"


def test_rows_at_the_edge_that_the_challengers_fit_has_seen_do_not_judge() -> None:
    """Method time splits ties: rows of the last day that was fitted on are held out, too."""
    day = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(120) // 8, unit="D")
    data = days(120).sort_values("n").assign(day=day)
    validation = {"method": "time", "column": "day", "test_size": 0.3}
    told = contest(champion(OLD, until="2024-01-02T00:00:00"), data, validation=validation).comparison
    assert told is not None
    assert told.rows == 32  # of the 36 held out, four are of a day that was fitted on


def test_windows_that_overlap_count_each_row_once_with_the_newest_of_them() -> None:
    overlapping = {**BACKTEST, "step": 7}
    told = contest(champion(OLD), DATA, validation=overlapping).comparison
    assert told is not None
    assert told.rows == 14 + 3 * 7
    data = DATA.sort_values("day").reset_index(drop=True)
    own = []
    for begin, end in ((91, 98), (98, 105), (105, 112), (112, 126)):
        judge = LinearRegression().fit(data[["n"]][:begin], data["y"][:begin])
        own += np.abs(data["y"] - judge.predict(data[["n"]]))[begin:end].tolist()
    assert told.challenger == pytest.approx(-np.mean(own))


@pytest.mark.parametrize("kind", ["int", "float", "text", "zone"])
def test_stamps_of_every_type_are_recorded_and_compared(kind: str) -> None:
    data = days(126, zone="Europe/Berlin" if kind == "zone" else None).sort_values("n")
    values = {"int": data["n"].astype(int), "float": data["n"] / 4, "text": data["day"].astype(str)}
    data = data.assign(day=values.get(kind, data["day"]))
    recipe = Recipe.from_settings(
        RecipeSettings(features=["n"], target="y", estimator=LINEAR, validation=BACKTEST)  # type: ignore[arg-type]
    )
    first = train(pa.Table.from_pandas(data[:112], preserve_index=False), recipe, key="k", seed=1)
    live = champion(first.estimator, until=first.evaluation.until)
    told = contest(live, data).comparison
    assert told is not None
    assert told.rows == 14


class Odd(BaseEstimator):  # type: ignore[misc]
    """An estimator whose predictions are whatever it was made with."""

    def __init__(self, value: Any = None) -> None:
        self.value = value

    def fit(self, X: Any, y: Any) -> Any:
        self.fitted_ = True
        return self

    def predict(self, X: Any) -> Any:
        if self.value is None:
            raise RuntimeError("the value 12345 of the data")
        return np.full(len(X), self.value)


NAMED = LinearRegression().fit(DATA[["n", "m"]], DATA["y"])


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"data": None}, "the live model's file cannot be read"),
        ({"data": b"no model"}, "the live model cannot be used: the model's bytes are not those that were published"),
        ({"size": 3}, "the live model cannot be used: the model has"),
        ({"versions": '{"scikit-learn": "0.1.0"}'}, "was trained with scikit-learn 0.1.0"),
        ({"until": None}, "it is not recorded up to when the live model was fitted"),
        ({"until": "17"}, "another type"),
        ({"until": "2024-03-10T00:00:00+00:00"}, "another type"),
        ({"until": "yesterday's"}, "another type"),
    ],
)
def test_a_live_model_that_cannot_be_compared_with_leaves_the_key_undecidable(
    changes: dict[str, Any], note: str
) -> None:
    told = contest(champion(OLD, **changes), DATA)
    assert told.comparison is None
    assert note in (told.note or "")


@pytest.mark.parametrize(
    ("model", "note"),
    [
        (NAMED, "needs the column 'm', which the recipe does not read any more"),
        (Odd(None).fit(None, None), "the live model could not predict these rows: RuntimeError"),
        (Odd(np.nan).fit(None, None), "the live model could not predict these rows: ValueError"),
    ],
)
def test_a_live_model_that_cannot_predict_leaves_the_key_undecidable(
    model: Any, note: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifact, "load", lambda *_, **__: model)
    told = contest(champion(OLD), DATA)
    assert told.comparison is None
    assert note in (told.note or "")
    assert "12345" not in (told.note or "")


def test_other_bytes_than_were_published_are_not_unpickled() -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("it was unpickled",))

    import pickle

    live = champion(OLD, data=pickle.dumps(Trap()), size=10**6)
    assert "are not those that were published" in (contest(live, DATA).note or "")


def test_columns_that_only_the_live_model_uses_are_taken_in_its_order() -> None:
    told = contest(champion(NAMED), DATA, features=["m", "n"]).comparison
    assert told is not None
    assert told.champion == pytest.approx(-np.abs(DATA["y"] - NAMED.predict(DATA[["n", "m"]]))[DATA["n"] >= 70].mean())


@pytest.mark.parametrize("metric", ["accuracy", "neg_log_loss"])
def test_classifiers_are_compared_by_classes_and_by_probabilities(metric: str) -> None:
    live = LogisticRegression().fit(DATA[["m"]], DATA["sign"])
    told = contest(
        champion(live), DATA, metric, features=["m"], target="sign",
        estimator={"_target_": "sklearn.linear_model.LogisticRegression"},
    ).comparison  # fmt: skip
    assert told is not None
    held = DATA[DATA["n"] >= 70]
    expected = losses.scored(
        metric,
        losses.rows(
            metric,
            held["sign"].to_numpy(),
            live.predict_proba(held[["m"]]) if metric == "neg_log_loss" else live.predict(held[["m"]]),
            live.classes_,
        ).mean(),
    )
    assert told.champion == pytest.approx(expected)


@pytest.mark.parametrize(
    ("recipe", "metric", "message"),
    [
        ({}, "accuracy", "'accuracy' is for classifiers, and LinearRegression is a regressor"),
        ({"estimator": {"_target_": "sklearn.svm.LinearSVC"}}, "neg_log_loss", "needs probabilities, and LinearSVC"),
        ({"estimator": {"_target_": "sklearn.svm.LinearSVC"}}, MAE, "is for regressors, and LinearSVC is a classifier"),
        ({}, MAE, None),
        ({"estimator": {"_target_": "sklearn.svm.LinearSVC"}}, "accuracy", None),
    ],
)
def test_a_score_that_does_not_go_with_the_estimator_is_refused(
    recipe: dict[str, Any], metric: str, message: str | None
) -> None:
    made = Recipe.from_settings(RecipeSettings(**{"target": "y", "estimator": LINEAR, **recipe}))
    told = recipe_mistakes.of_gate(made, metric)
    assert (message or "") in "".join(told)
    assert bool(told) == bool(message)


def test_an_equal_model_has_no_gain() -> None:
    mean = DummyRegressor().fit(DATA[["n"]], DATA["y"])
    told = contest(champion(mean), DATA.assign(y=5.0), estimator={"_target_": "sklearn.dummy.DummyRegressor"})
    assert told.comparison is not None
    assert told.comparison.p in (0.0, 1.0)


def test_a_recipe_without_new_rows_cannot_have_a_gate() -> None:
    from job.config.settings import JobSettings

    for method in ("none", "kfold"):
        with pytest.raises(ValueError, match=r"needs recipe\.validation\.method time or backtest"):
            JobSettings(
                input={"uri": "in"}, output={"uri": "out"}, promote={"metric": MAE},  # type: ignore[arg-type]
                recipe={"target": "y", "estimator": LINEAR, "validation": method},  # type: ignore[arg-type]
            )  # fmt: skip
    assert ConfigurationError.exit_code == 2
