"""Which settings count in a recipe's fingerprint: all but those that are named harmless, a new one too."""

from __future__ import annotations

from typing import Any

import pytest

from job.config.settings import FormatSettings, InputSettings, JobSettings, RecipeSettings, ValidationSettings
from job.plan.fingerprint import HARMLESS, recipe_fingerprint

ANOTHER: dict[str, Any] = {
    "input.layout": "hive",
    "input.format": {"delimiter": ";"},
    "input.schema_": {"x": "float64"},
    "input.times": {"day": "%d/%m/%Y"},
    "input.order_by": ["day"],
    "input.on_empty": "fail",
    "recipe.features": ["x", "z"],
    "recipe.target": "z",
    "recipe.version": "2",
    "recipe.sample_weight": "w",
    "recipe.validation": {"method": "kfold"},
    "recipe.metrics": ["r2"],
    "recipe.min_rows": 7,
    "recipe.missing": "drop",
    "recipe.drop_null_target": True,
    "recipe.constant_target": "fail",
}
"""Another value for each setting that counts. A new setting belongs here, or among the harmless ones."""


def fingerprint(**sections: dict[str, Any]) -> str:
    document: dict[str, dict[str, Any]] = {
        "input": {"uri": "/in"},
        "recipe": {"features": ["x"], "target": "y", "estimator": {"_target_": "sklearn.linear_model.Ridge"}},
        "output": {"uri": "/out"},
    }
    merged = {name: {**values, **sections.get(name, {})} for name, values in document.items()}
    return recipe_fingerprint(JobSettings.model_validate(merged), {})


@pytest.mark.parametrize("path", sorted(ANOTHER))
def test_a_setting_that_decides_the_model_counts(path: str) -> None:
    section, _, name = path.partition(".")
    assert fingerprint(**{section: {name: ANOTHER[path]}}) != fingerprint()


def test_every_setting_counts_or_is_named_harmless() -> None:
    sections = {"input": InputSettings, "recipe": RecipeSettings}
    every = {f"{section}.{name}" for section, kind in sections.items() for name in kind.model_fields}
    harmless = {f"{section}.{name}" for section, names in HARMLESS.items() for name in names}

    assert every - harmless == set(ANOTHER)
    assert harmless <= every


@pytest.mark.parametrize("kind", [FormatSettings, ValidationSettings])
def test_a_later_setting_at_its_default_does_not_count(kind: type[Any]) -> None:
    section = kind()
    assert set(section.counted({})) == set()
    assert set(section.counted({"method": None, "type": None})) <= {"method", "type"}
