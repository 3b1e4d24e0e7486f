"""README.md of the chart: README.md.in, with the table of values from values.yaml, and that of other charts' names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hints
import yaml
from schema import CHART, descriptions

TEMPLATE = Path(__file__).parent / "README.md.in"


def rows(values: dict[str, Any], told: dict[str, str], above: str = "") -> Iterator[tuple[str, Any, str]]:
    """Path, default and description of every value, in the order of the file."""
    for name, value in values.items():
        path = above + name
        if path in told:
            yield path, value, told[path]
        elif isinstance(value, dict):
            yield from rows(value, told, f"{path}.")


def table() -> str:
    """Markdown, one row a value."""
    text = (CHART / "values.yaml").read_text()
    lines = ["| value | default | meaning |", "|---|---|---|"]
    for path, value, meaning in rows(yaml.safe_load(text), descriptions(text)):
        default = json.dumps(value, ensure_ascii=False)
        shown = f"`{default}`" if len(default) <= 60 else "see `values.yaml`"
        lines.append(f"| `{path}` | {shown} | {meaning} |".replace("\\|", "|"))
    return "\n".join(lines)


def render() -> str:
    """The file's text."""
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
    parts = {"@VALUES@": table(), "@HABITS@": hints.table(), "@VERSION@": version}
    text = TEMPLATE.read_text()
    for mark, part in parts.items():
        text = text.replace(mark, part)
    return text
