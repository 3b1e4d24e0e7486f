"""Fingerprints of recipes: what was published before a setting existed stays unchanged."""

from __future__ import annotations

from typing import Any

import pytest

from job.config.settings import JobSettings
from job.fit.recipe import Recipe
from job.plan.fingerprint import recipe_fingerprint

RIDGE = {"_target_": "sklearn.linear_model.Ridge"}
TIME = {"method": "time", "column": "d", "test_size": 0.3}


def fingerprint(**recipe: Any) -> str:
    settings = JobSettings(
        input={"uri": "in"}, output={"uri": "out"}, recipe={"target": "y", "estimator": RIDGE, **recipe}
    )  # type: ignore[arg-type]
    return recipe_fingerprint(settings, Recipe.from_settings(settings.recipe).fingerprint_part())


@pytest.mark.parametrize(
    ("recipe", "recorded"),
    [
        (
            {"features": ["x"], "estimator": {"_target_": "sklearn.linear_model.LinearRegression"}},
            "4b5277696802c73a4ad2e0a0bfdfd75bf6db5c780babaf2e2445e53a1a635d63",
        ),
        (
            {"validation": "kfold", "metrics": ["r2"]},
            "36d093f085cef4b6dcfe6a2af2c0efc08b12e929524ba3a3b2adda08a4702270",
        ),
        (
            {"validation": TIME, "fallback": {"_target_": "sklearn.dummy.DummyRegressor"}},
            "29976da69a7d159e290bcfdab93993a29e2c46dd97464a2d61f4a2de2b969e9e",
        ),
    ],
)
def test_recipes_of_version_0_1_have_the_fingerprints_that_it_recorded(recipe: dict[str, Any], recorded: str) -> None:
    # Folds were not shuffled then: those scores are made anew.
    assert (fingerprint(**recipe) == recorded) == (recipe.get("validation") != "kfold")


@pytest.mark.parametrize("change", [{"times": {"day": "iso"}}, {"order_by": ["day"]}, {"order_by": ["hour", "day"]}])
def test_how_rows_are_ordered_and_texts_are_timed_is_part_of_the_fingerprint(change: dict[str, Any]) -> None:
    def of(**more: Any) -> str:
        settings = JobSettings(
            input={"uri": "in", **more}, output={"uri": "out"}, recipe={"target": "y", "estimator": RIDGE}
        )  # type: ignore[arg-type]
        return recipe_fingerprint(settings, Recipe.from_settings(settings.recipe).fingerprint_part())

    assert of(**change) != of()
    assert of(times={}, order_by=[]) == of()
    assert of(order_by=["a", "b"]) != of(order_by=["b", "a"])


@pytest.mark.parametrize(
    "change",
    [
        {"baseline": {"_target_": "sklearn.dummy.DummyRegressor"}},
        {"validation": {**TIME, "intervals": [80]}},
        {"validation": {"method": "backtest", "column": "d", "horizon": 7}},
    ],
)
def test_what_is_told_of_a_model_is_part_of_its_fingerprint(change: dict[str, Any]) -> None:
    assert fingerprint(**{"validation": TIME, **change}) != fingerprint(validation=TIME)
