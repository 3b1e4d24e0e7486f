"""What is made from something else is fresh, and values, schema, settings, versions and documents agree."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml

import job
from job.config.schema import job_schema
from job.config.score_settings import ScoringSettings
from tests.chart import modules
from tests.chart.rendering import CASES, CHART, ROOT, SCORING, cases, minimal, render, schemas
from tests.support import locked
from tests.support.built import find_helm

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = find_helm()
    assert program
    return subprocess.run([program, *arguments], capture_output=True, text=True)


def test_schema_readme_and_manifests_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "deploy/helm/generate.py"), "--check"],
        capture_output=True,
        text=True,
        env={**os.environ, "HELM": find_helm() or ""},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("values", [[], *([str(CASES / f"{name}.yaml")] for name in cases())], ids=str)
def test_helm_lint_is_clean(values: list[str]) -> None:
    done = helm("lint", str(CHART), "--strict", *(word for each in values for word in ("--values", each)))
    assert done.returncode == 0, done.stdout + done.stderr
    assert not re.search(r"\[(ERROR|WARNING)\]", done.stdout)


def objects(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema of a mapping, wherever it stands."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield path, schema
        for name, each in schema.items():
            yield from objects(each, f"{path}/{name}")
    elif isinstance(schema, list):
        for number, each in enumerate(schema):
            yield from objects(each, f"{path}/{number}")


def test_unknown_names_are_refused_at_every_level() -> None:
    found = list(objects(SCHEMA))
    assert len(found) > 100
    given_by_a_parent = "/properties/global"
    assert [
        path
        for path, each in found
        if each.get("additionalProperties") is not False and not path.startswith(given_by_a_parent)
    ] == []


def test_every_value_is_in_the_schema_and_the_reverse() -> None:
    def names(values: Any, schema: Any, path: str) -> Iterator[str]:
        inner = schema.get("properties")
        if not isinstance(values, dict) or inner is None or path == ".job":
            return
        known = {name for name, each in inner.items() if set(each) != {"const"}}  # the others are hints
        yield from (f"{path}.{name}" for name in values.keys() ^ known)
        for name in values.keys() & known:
            yield from names(values[name], inner[name], f"{path}.{name}")

    assert set(names(VALUES, SCHEMA, "")) == {".global", ".enabled"}


def test_every_setting_of_the_job_is_in_the_schema_and_the_reverse() -> None:
    def paths(schema: Any) -> set[str]:
        return {f"{path}/{name}" for path, each in objects(schema) for name in each["properties"]}

    document = SCHEMA["properties"]["job"]
    assert paths(document["else"]) == paths(job_schema())
    of_training = {f"/{name}" for name in job_schema()["properties"]}
    scoring = paths(job_schema(ScoringSettings))
    assert paths(document["then"]) == scoring | of_training, "those of a training are there to be refused by name"
    refused = of_training - scoring
    assert {f"/{name}" for name, each in document["then"]["properties"].items() if set(each) == {"const"}} == refused


def test_every_value_is_explained() -> None:
    readme = (CHART / "README.md").read_text()

    def leaves(values: dict[str, Any], above: str = "") -> Iterator[str]:
        for name, value in values.items():
            if isinstance(value, dict) and value and f"| `{above}{name}` |" not in readme:
                yield from leaves(value, f"{above}{name}.")
            else:
                yield above + name

    assert [each for each in leaves(VALUES) if f"| `{each}` |" not in readme] == []


def test_every_value_is_used_by_a_template() -> None:
    text = "".join(path.read_text() for path in sorted((CHART / "templates").rglob("*")) if path.is_file())
    for name in VALUES:
        assert re.search(rf"[vV]alues\.{name}\b|index \$root\.Values", text), name
    for role in ("driver", "executor", "pods"):
        for name in VALUES[role]:
            assert re.search(rf"\.{name}\b", text), f"{role}.{name}"


def test_chart_package_and_image_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == job.__version__


def test_the_chart_names_the_oldest_kubernetes_that_the_documents_promise() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["kubeVersion"] == ">=1.25.0-0"
    assert "Kubernetes 1.25 or newer" in (ROOT / "docs/how-to/kubernetes.md").read_text()


def test_the_operator_is_told_the_spark_version_that_is_locked() -> None:
    assert VALUES["sparkVersion"] == locked.sparks()[-1]


def test_the_operators_schema_is_the_version_that_the_chart_names() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    tested = chart["annotations"]["manyfit/spark-operator"]
    assert f"/v2@v{tested}" in (ROOT / "deploy/helm/schemas/refresh.py").read_text()


def test_the_kept_schemas_are_those_of_the_modules() -> None:
    refresh = modules.refresh()
    for name, version, make in (
        ("sparkoperator", refresh.OPERATOR, refresh.custom_resources),
        ("monitoring", refresh.MONITORING, refresh.monitors),
        ("kubernetes", refresh.KUBERNETES, refresh.objects),
    ):
        modules.module(version)
        assert make() == schemas(name)


def test_paths_in_the_chart_are_those_of_the_image() -> None:
    dockerfile = (ROOT / "docker/Dockerfile").read_text()
    spec = render(minimal({})).application["spec"]
    assert spec["mainApplicationFile"] == "local:///opt/manyfit/main.py"
    assert "docker/main.py" in dockerfile
    assert "WORKDIR /opt/spark/work-dir" in dockerfile
    assert f"USER {VALUES['security']['runAsUser']}" in dockerfile
    assert "/opt/decom.sh" in dockerfile or re.search(r"COPY docker/entrypoint\.sh docker/decom\.sh /opt/", dockerfile)


def test_the_job_has_the_arguments_that_the_chart_passes() -> None:
    commands = [render(each).application["spec"]["arguments"][:1] for each in (minimal({}), SCORING)]
    for words in (*commands, ["check"]):
        done = subprocess.run([sys.executable, "-m", "job.cli.main", *words, "--help"], capture_output=True, text=True)
        assert "--document" in done.stdout, done.stderr
        assert "--log-format" in done.stdout


def test_every_example_in_the_documents_is_accepted() -> None:
    # what people copy: the yaml blocks that are values of the chart
    tried = 0
    for path in (
        CHART / "README.md",
        ROOT / "docs/tutorials/kind.md",
        *sorted((ROOT / "docs/how-to").rglob("*.md")),
    ):
        for block in re.findall(r"```yaml\n# values[^\n]*\n(.*?)```", path.read_text(), re.DOTALL):
            values = yaml.safe_load(block)
            rendered = render(values if {"recipe", "models"} & values.get("job", {}).keys() else minimal(values))
            for rule in rendered.kind("PrometheusRule"):
                schema = {**schemas("monitoring")["PrometheusRule"], "definitions": schemas("kubernetes")}
                assert [each.message for each in jsonschema.Draft7Validator(schema).iter_errors(rule)] == []
            tried += 1
    assert tried >= 9
