"""Fingerprints of recipes: what was published before a setting existed stays unchanged."""

from __future__ import annotations

from typing import Any

import pytest

from job.config.settings import JobSettings
from job.fit.recipe import Recipe
from job.plan.fingerprint import (
    canonical,
    content_digest,
    data_fingerprint,
    environment_fingerprint,
    recipe_fingerprint,
    run_id,
)

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


VERSIONS = {"python": "3.11.4", "numpy": "2.1.3", "pandas": "2.2.3", "scikit-learn": "1.5.2", "joblib": "1.4.2"}
IMPORTS = {"lightgbm": "4.5.0"}


def environment(mode: str, changed: str | None = None, to: str = "", imports: dict[str, str] | None = None) -> str:
    versions = {**VERSIONS, changed: to} if changed else VERSIONS
    return environment_fingerprint(mode, versions, IMPORTS if imports is None else imports)


@pytest.mark.parametrize("name", ["python", "numpy", "pandas", "scikit-learn"])
def test_a_compatible_environment_has_the_same_major_and_minor_versions(name: str) -> None:
    major, minor, patch = VERSIONS[name].split(".")
    base = environment("compatible")
    assert environment("compatible", name, f"{major}.{minor}.{int(patch) + 1}") == base
    assert environment("compatible", name, f"{major}.{int(minor) + 1}.{patch}") != base
    assert environment("compatible", name, f"{int(major) + 1}.{minor}.{patch}") != base


def test_what_the_recipe_imports_must_be_compatible_too_and_other_libraries_need_not() -> None:
    base = environment("compatible")
    assert environment("compatible", imports={"lightgbm": "4.5.9"}) == base
    assert environment("compatible", imports={"lightgbm": "4.6.0"}) != base
    assert environment("compatible", imports={}) != base
    assert environment("compatible", "joblib", "9.9.9") == base


def test_an_exact_environment_has_every_version_in_full() -> None:
    base = environment("exact")
    assert environment("exact") == base
    assert environment("exact", "joblib", "1.4.3") != base
    assert environment("exact", imports={"lightgbm": "4.5.1"}) != base


def test_an_environment_that_is_ignored_never_changes_and_is_none_of_the_others() -> None:
    base = environment("ignore")
    assert environment("ignore", "python", "4.0.0", imports={}) == base
    assert base not in (environment("compatible"), environment("exact"))


def test_a_card_without_a_library_is_compared_by_the_others() -> None:
    assert environment_fingerprint("compatible", {"python": "3.11.4"}, {}) == environment_fingerprint(
        "compatible", {"python": "3.11.9"}, {}
    )


def test_the_data_of_a_key_are_the_names_sizes_and_etags_of_its_objects_in_order() -> None:
    base = [("a", 1, "e"), ("b", 2, None)]
    found = {
        data_fingerprint(each)
        for each in (base, base[::-1], base[:1], [("a", 2, "e"), base[1]], [("a", 1, "f"), base[1]],
                     [("a", 1, "e"), ("b", 2, "x")], [("c", 1, "e"), base[1]])
    }  # fmt: skip
    assert len(found) == 7
    assert data_fingerprint([("b", 2, None)]) == data_fingerprint([("b", 2, "")])


def test_the_content_of_one_object_is_its_digest_and_of_several_the_digest_of_theirs() -> None:
    import hashlib

    one, two = hashlib.sha256(b"1"), hashlib.sha256(b"2")
    assert content_digest([b"1"]) == one.hexdigest()
    assert content_digest([b"1", b"2"]) == hashlib.sha256(one.digest() + two.digest()).hexdigest()
    assert content_digest([]) == hashlib.sha256(b"").hexdigest()


def test_equal_values_have_one_text_and_what_json_does_not_have_is_refused() -> None:
    assert canonical({"b": [1, None], "a": "ä"}) == '{"a":"ä","b":[1,null]}'.encode()
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical(float("nan"))


def test_a_run_of_an_application_is_told_by_its_document_and_image() -> None:
    base = run_id("app", {"a": 1}, "image")
    assert base.startswith("app-")
    assert len(base) == len("app-") + 12
    assert run_id("app", {"a": 1}, "image") == base
    assert (
        len({base, run_id("app", {"a": 2}, "image"), run_id("app", {"a": 1}, None), run_id("b", {"a": 1}, "image")})
        == 4
    )


def test_a_mapping_with_numbers_as_names_is_another_one_than_with_texts() -> None:
    """Version 0.1 made texts of all names: such keys are trained again."""
    logistic = {"_target_": "sklearn.linear_model.LogisticRegression"}
    parts = [
        fingerprint(estimator={**logistic, "class_weight": weights})
        for weights in ({0: 1.0, 1: 5.0}, {"0": 1.0, "1": 5.0}, {False: 1.0, True: 5.0}, {0: 1.0, 1: 5.1})
    ]
    assert len(set(parts)) == 4
