"""The settings as JSON schema and as a Markdown reference; both are made from `job.config.settings` alone.

``python -m job.config.schema`` prints the schema (draft 2020-12), and with ``--markdown`` the reference.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Iterator
from typing import Any

from job.config.document import branches
from job.config.settings import JobSettings, Section

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_WORDS = {"string": "a text", "integer": "a whole number", "number": "a number", "boolean": "true or false"}


@functools.cache
def job_schema(kind: type[Section] = JobSettings) -> dict[str, Any]:
    """The JSON schema of a document, without references, so that it can stand inside another schema."""
    schema = kind.model_json_schema(by_alias=True)
    definitions = schema.pop("$defs", {})
    made = _inline(schema, definitions)
    assert isinstance(made, dict)
    return {"$schema": DIALECT, **made, "title": "manyfit job" if kind is JobSettings else "manyfit score"}


def _inline(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inline(each, definitions) for each in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].rpartition("/")[2]]
        node = {**target, **{name: each for name, each in node.items() if name != "$ref"}}
    # A "title" that is a text is pydantic's copy of the name. A "title" that is a schema is a setting of this name.
    return {
        name: " ".join(each.split()) if name == "description" and isinstance(each, str) else _inline(each, definitions)
        for name, each in node.items()
        if not (name == "title" and isinstance(each, str))
    }


def section(schema: dict[str, Any]) -> dict[str, Any] | None:
    """The branch of a schema that has named settings below it, if it is a section."""
    return next((branch for branch in branches(schema) if "properties" in branch), None)


def settings(schema: dict[str, Any] | None = None, above: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every section and setting with its path: ``("input", ...), ("input.uri", ...)``."""
    for name, child in (section(schema or job_schema()) or {}).get("properties", {}).items():
        yield above + name, child
        if section(child):
            yield from settings(child, f"{above}{name}.")


def find(path: str, kind: type[Section] = JobSettings) -> dict[str, Any] | None:
    """The schema of one setting; None if there is no such setting."""
    return _all(kind).get(path)


@functools.cache
def _all(kind: type[Section]) -> dict[str, dict[str, Any]]:
    return dict(settings(job_schema(kind)))


def describe(schema: dict[str, Any]) -> str:
    """The values that a setting takes, in words: ``a text or a list of texts``."""
    words = [_describe(branch) for branch in branches(schema) if branch.get("type") != "null"]
    words = [word for word in words if word != "a whole number" or "a number" not in words]
    return " or ".join(dict.fromkeys(words)) or "anything"


def _describe(branch: dict[str, Any]) -> str:
    if "enum" in branch or "const" in branch:
        return "one of " + ", ".join(choices(branch))
    if branch.get("type") == "array":
        inner = describe(branch.get("items", {}))
        return f"a list of {inner[2:]}s" if inner.startswith("a ") else "a list"
    if branch.get("type") == "object":
        return "a mapping"
    return _WORDS.get(branch.get("type", ""), "anything")


def choices(schema: dict[str, Any]) -> list[str]:
    """The texts that a setting accepts; empty if it accepts others too."""
    return [
        str(each)
        for branch in branches(schema)
        for each in branch.get("enum", [branch["const"]] if "const" in branch else [])
    ]


_GENERATED = "<!-- Written by docs/make/reference.py: `make docs` writes it anew. -->\n\n"
_HEAD = """\
# Settings

"""
_SOURCES = """\
A setting can be given in three places: in the job's file, as `MANYFIT_SECTION__NAME` in the environment, or as
`--section.name` on the command line. The command line wins over the environment, which wins over the file. Values are
YAML; a text is taken as it is written, so a key `007` or `NO` needs no quotes. An unknown name is an error, and so is a
credential.
"""
_SIDES = ("storage.input", "storage.output", "storage.models")


_SCORING = """
## The settings of a scoring

The document of `manyfit score` has the sections `name`, `input`, `run`, `storage`, `metrics` and `spark` of a job, and
these. `input.uri` may be left out where `score.function` forecasts without rows, and `storage.models.*` is for the
models alone.
"""
_OF_SCORING = ("models", "score", "output")
"""Sections that a scoring does not share with a job."""


def markdown(kind: type[Section] | None = None) -> str:
    """The settings reference: one table for each section, of a job and of a scoring, or of one kind of document."""
    from job.config.score_settings import ScoringSettings

    if kind is not None:
        said = [_HEAD + _SOURCES]
        for name in job_schema(kind)["properties"]:
            said += _section(name, kind, level=2) + _sides(name, kind)
        return "\n".join(said).replace("\n\n\n", "\n\n").rstrip() + "\n"
    lines = [_HEAD + _GENERATED + _SOURCES]
    for name in job_schema()["properties"]:
        lines += _section(name, JobSettings, level=2) + _sides(name, JobSettings)
    lines += [_SCORING]
    for name in _OF_SCORING:
        lines += _section(name, ScoringSettings, level=3)
    text = "\n".join(lines).replace("\n\n\n", "\n\n")
    return text.rstrip() + "\n"


def _sides(name: str, kind: type[Section]) -> list[str]:
    """The row of the sides, below the table of ``storage``."""
    if name != "storage":
        return []
    sides = [each for each in _SIDES if find(each, kind)]
    named = ", ".join(f"`{each}.*`" for each in sides)
    return [f"| {named} | the same |  | for one side only; wins over the above |"]


def _section(name: str, kind: type[Section], *, level: int) -> list[str]:
    """The table of a section."""
    schema = job_schema(kind)
    child = schema["properties"][name]
    inner = section(child)
    rows = settings(child, f"{name}.") if inner else [(name, child)]
    return [
        "",
        f"{'#' * level} {name}",
        "",
        (inner or child).get("description", ""),
        "",
        "| setting | value | default | meaning |",
        "|---|---|---|---|",
        *(_row(path, each, schema, kind) for path, each in rows if not path.startswith(_SIDES)),
    ]


def _row(path: str, schema: dict[str, Any], root: dict[str, Any], kind: type[Section]) -> str:
    above, _, name = path.rpartition(".")
    parent = section(find(above, kind) or root) if above else root
    required = name in (parent or {}).get("required", ())
    default = schema.get("default")
    shown = "required" if required else f"`{json.dumps(default, ensure_ascii=False)}`" if default is not None else ""
    if isinstance(default, dict) and section(schema):
        shown = ""
    cells = (f"`{path}`", describe(schema).removeprefix("a "), shown, schema.get("description", "").replace("``", "`"))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main(arguments: list[str]) -> int:
    """Print the schema, or the reference with ``--markdown``."""
    if arguments not in ([], ["--markdown"]):
        print("usage: python -m job.config.schema [--markdown]", file=sys.stderr)
        return 2
    print(
        markdown() if arguments else json.dumps(job_schema(), indent=2, ensure_ascii=False),
        end="" if arguments else "\n",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
