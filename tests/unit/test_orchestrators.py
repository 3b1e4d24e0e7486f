"""The page about orchestrators: its workflow is YAML whose parts fit together, its command is one of ours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from job.cli.main import parser

PAGE = (Path(__file__).parents[2] / "docs/how-to/orchestrators.md").read_text(encoding="utf-8")


def workflow() -> dict[str, Any]:
    [text] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_each_step_of_the_workflow_names_a_template_and_the_entry_is_one() -> None:
    spec = workflow()["spec"]
    templates = {each["name"]: each for each in spec["templates"]}
    steps = [step for group in templates[spec["entrypoint"]]["steps"] for step in group]
    assert {each["template"] for each in steps} == templates.keys() - {spec["entrypoint"]}
    assert yaml.safe_load(templates["train"]["resource"]["manifest"])["kind"] == "SparkApplication"
    given = {each["name"] for step in steps for each in step.get("arguments", {}).get("parameters", [])}
    assert given == {each["name"] for each in templates["use"]["inputs"]["parameters"]}


def test_the_command_of_the_last_step_is_one_that_manyfit_takes() -> None:
    container = next(each["container"] for each in workflow()["spec"]["templates"] if each["name"] == "use")
    arguments = [re.sub(r"\{\{.*?\}\}", "7", each) for each in container["args"]]
    assert (container["command"], parser().parse_args(arguments).at) == (["manyfit"], 7)
