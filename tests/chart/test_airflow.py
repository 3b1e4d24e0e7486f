"""The example for Airflow: its object is the chart's, its DAG is read by Airflow itself, the next task finds the version."""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from job.config.settings import JobSettings
from tests.chart.rendering import render

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/airflow"
PYTHON = ROOT / "build/airflow/bin/python"


@pytest.fixture(scope="module")
def chart() -> dict[str, Any]:
    """The SparkApplication of the release, as it would be if it were not suspended."""
    rendered = render(EXAMPLE / "values.yaml", release="gapminder", namespace="manyfit")
    found: dict[str, Any] = rendered.application
    assert found["spec"].pop("suspend") is True
    return found


@pytest.fixture(scope="module")
def read_by_airflow() -> dict[str, Any]:
    if not PYTHON.exists():
        pytest.skip("there is no Airflow: make airflow installs it")
    done = subprocess.run([PYTHON, EXAMPLE / "check.py"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def function(name: str) -> Any:
    """One function of the DAG's file, without Airflow."""
    tree = ast.parse((EXAMPLE / "gapminder.py").read_text(encoding="utf-8"))
    [found] = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    scope: dict[str, Any] = {}
    exec(compile(ast.Module([found], []), "gapminder.py", "exec"), scope)
    return scope[name]


def test_the_object_that_airflow_makes_is_the_charts(chart: dict[str, Any]) -> None:
    assert yaml.safe_load((EXAMPLE / "application.yaml").read_text(encoding="utf-8")) == chart


def test_airflows_templates_leave_the_object_as_it_is(chart: dict[str, Any]) -> None:
    text = (EXAMPLE / "application.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(jinja2.Environment().from_string(text).render()) == chart


def test_its_job_is_one_that_manyfit_takes(chart: dict[str, Any]) -> None:
    arguments = chart["spec"]["arguments"]
    document = json.loads(arguments[arguments.index("--document") + 1])
    assert JobSettings.model_validate(document).output.uri == "s3://models/gapminder/"


def test_airflow_reads_the_dag_and_its_operator_would_create_that_object(
    chart: dict[str, Any], read_by_airflow: dict[str, Any]
) -> None:
    assert read_by_airflow["order"] == {
        "train": ["published"],
        "published": ["is_new", "use"],
        "is_new": ["use"],
        "use": [],
    }
    assert read_by_airflow["object"] == chart


def test_the_next_task_finds_the_one_result_of_its_run() -> None:
    find = function("newest_result")
    run = "gapminder/runs/gapminder-x1-0123456789ab/"
    assert find([f"{run}run.json", f"{run}result.json", f"{run}report.html"]) == f"{run}result.json"
    with pytest.raises(LookupError, match="has not ended"):
        find([f"{run}run.json"])
