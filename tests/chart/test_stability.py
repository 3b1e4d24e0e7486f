"""Any change of an application's spec runs a finished job again: what may change it, and what may not."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.chart.rendering import CASES, CHART, Object, cases, minimal, render


def spec(*values: Object | Path, **options: object) -> Object:
    made: Object = render(*values, **options).application["spec"]  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize("name", sorted(set(cases()) - {"long-name"}))
def test_an_upgrade_with_the_same_values_changes_nothing(name: str) -> None:
    first = spec(CASES / f"{name}.yaml")
    assert spec(CASES / f"{name}.yaml", flags=("--is-upgrade",)) == first


def test_another_version_of_the_chart_changes_nothing(tmp_path: Path) -> None:
    newer = tmp_path / "manyfit"
    shutil.copytree(CHART, newer)
    metadata = newer / "Chart.yaml"
    metadata.write_text(re.sub(r"(?m)^version: .*$", "version: 9.9.9", metadata.read_text()))
    values = CASES / "everything.yaml"

    first, second = render(values), render(values, chart=newer)

    assert second.application == first.application
    assert second.text == first.text


def test_a_new_image_runs_again(tmp_path: Path) -> None:
    assert spec(minimal({"image": {"tag": "0.1.1"}})) != spec(minimal({}))


def test_the_run_id_runs_again_and_changes_nothing_but_the_document() -> None:
    first, second = spec(minimal({})), spec(minimal({"job": {"run": {"id": "again-1"}}}))
    assert first != second
    first["arguments"] = second["arguments"] = []
    assert first == second


@pytest.mark.parametrize(
    "values",
    [
        {"commonLabels": {"team": "a"}, "fullnameOverride": "nightly"},
        {"kueue": {"queueName": "other"}},
        {"networkPolicy": {"enabled": False}},
        {"rbac": {"extraRules": [{"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]}]}},
        {"serviceAccount": {"driver": {"annotations": {"a": "b"}}}},
        {"tests": {"enabled": False}},
    ],
    ids=str,
)
def test_what_is_around_the_application_runs_nothing_again(values: Object) -> None:
    first, second = spec(minimal({})), spec(minimal(values))
    for role in ("driver", "executor"):
        # labels of pods are where everyone looks for them; they are asked for with the next run
        first[role]["template"].pop("metadata", None)
        second[role]["template"].pop("metadata", None)
    for each in (first, second):  # and those of the driver's Services
        each.pop("sparkUIOptions")
        each["sparkConf"] = {name: value for name, value in each["sparkConf"].items() if ".service.label." not in name}
    assert first == second


def test_the_secret_that_is_made_anew_by_template_is_not_in_the_spec() -> None:
    first, second = render(minimal({})), render(minimal({}))
    assert first.one("Secret") != second.one("Secret")
    assert first.application == second.application
