"""Checks the page of the Python API: ``python docs/make/public_names.py build/site`` lists mistakes and exits with 1.

A name is public if ``job.__all__`` has it, if it is an error of `job.errors`, or if a document or an example imports
it. Each, and each public method of a class, has a docstring in numpydoc (with a section for its parameters), and an
anchor on reference/python.html. Runs in the environment of the site: griffe reads the package as text and never imports
it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import griffe

ROOT = Path(__file__).parents[2]
PAGE = "reference/python.html"
IMPORT = re.compile(r"^\s*(?:>>> )?from (job(?:\.\w+)*) import ([\w, ]+)", re.MULTILINE)
MENTION = re.compile(r"`(job(?:\.\w+)+)\(")


def imported(texts: Iterator[str]) -> Iterator[str]:
    """The names that documents and examples import from `job`, or show as a call."""
    for text in texts:
        for module, names in IMPORT.findall(text):
            yield from (f"{module}.{name.split()[0]}" for name in names.split(",") if name.strip())
        yield from MENTION.findall(text)


def documents() -> Iterator[str]:
    """README, the hand-written pages and the examples; decision records may name anything."""
    pages = [ROOT / "README.md", *(ROOT / "examples").rglob("*.py"), *(ROOT / "examples").rglob("*.ipynb")]
    pages += [page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "decisions"]
    return (page.read_text(encoding="utf-8") for page in pages)


def public(package: griffe.Module) -> list[str]:
    """Paths of all public names."""
    names = [f"job.{name}" for name in package.exports or ()]
    names += [each.path for each in package["errors"].classes.values()]
    return sorted({*names, *imported(documents())})


def mistakes(package: griffe.Module, page: str) -> Iterator[str]:
    """What is missing, one line each."""
    for path in public(package):
        try:
            found = package[path.removeprefix("job.")]
            found = found.final_target if found.is_alias else found
        except (KeyError, griffe.AliasResolutionError):
            yield f"{path}: documents import it, and there is no such name"
            continue
        if found.is_module:
            continue
        yield from undocumented(path, found)
        if f'id="{path}"' not in page:
            yield f"{path}: not on {PAGE}; add '::: {path}' to docs/reference/python.md"
        if isinstance(found, griffe.Class) and not path.startswith("job.errors."):
            for name, member in found.members.items():
                if name.startswith("_") and name != "__getitem__":
                    continue
                yield from undocumented(f"{path}.{name}", member)
                if f'id="{path}.{name}"' not in page:
                    yield f"{path}.{name}: not on {PAGE}"


def undocumented(path: str, found: griffe.Object | griffe.Alias) -> Iterator[str]:
    """What the docstring of one name lacks."""
    if not found.docstring:
        yield f"{path}: no docstring"
        return
    if not isinstance(found, griffe.Function):
        return
    expected = {each.name.lstrip("*") for each in found.parameters if each.name not in ("self", "cls", "key")}
    sections = found.docstring.parse("numpy")
    told = {
        name.strip().lstrip("*")
        for section in sections
        if section.kind is griffe.DocstringSectionKind.parameters
        for each in section.value
        for name in each.name.split(",")
    }
    if expected - told:
        yield f"{path}: its docstring does not tell the parameters {', '.join(sorted(expected - told))}"


def main(arguments: list[str]) -> int:
    """Print the mistakes."""
    package = griffe.load("job", search_paths=[str(ROOT)], docstring_parser="numpy")
    assert isinstance(package, griffe.Module)
    page = (Path(arguments[0]) / PAGE).read_text(encoding="utf-8")
    found = list(mistakes(package, page))
    for each in found:
        print(f"public names: {each}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
