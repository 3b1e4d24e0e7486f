"""The documents say what the program does: commands, settings, reasons, exit codes, versions, targets, links."""

from __future__ import annotations

import argparse
import json
import pickle
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import job
from job import errors
from job.cli.parser import parser
from job.config.schema import job_schema, section, settings
from job.config.score_settings import ScoringSettings
from job.outcome import REASONS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8") if (ROOT / "ARCHITECTURE.md").exists() else ""

readme_is_written = pytest.mark.xfail(not README.strip(), reason="README.md is still empty", strict=True)
architecture_is_written = pytest.mark.xfail(
    not ARCHITECTURE.strip(), reason="ARCHITECTURE.md is not there yet", strict=True
)


def error_classes() -> Iterator[type[errors.ManyfitError]]:
    found = [errors.ManyfitError]
    while found:
        cls = found.pop()
        yield cls
        found += cls.__subclasses__()


def commands() -> list[str]:
    (subparsers,) = (each for each in parser()._actions if isinstance(each, argparse._SubParsersAction))
    return sorted(subparsers.choices)


def targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9][a-z0-9-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def documents() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = listed.stdout.splitlines() if listed.returncode == 0 else []
    return [ROOT / name for name in names if (ROOT / name).exists()] or sorted(ROOT.glob("*.md"))


@readme_is_written
@pytest.mark.parametrize("command", commands())
def test_every_command_is_in_the_readme(command: str) -> None:
    assert f"manyfit {command}" in README


@readme_is_written
def test_every_setting_is_in_the_readme() -> None:
    """`python -m job.config.schema --summary` prints the table that does it."""
    names = {
        path
        for path, schema in settings()
        if not section(schema) and not path.startswith(("storage.input", "storage.output"))
    }
    assert sorted(path for path in names if not re.search(rf"\b{re.escape(path.rpartition('.')[2])}\b", README)) == []


@readme_is_written
def test_every_reason_is_in_the_readme() -> None:
    assert [reason for reason in REASONS if f"`{reason}`" not in README] == []


@readme_is_written
def test_every_exit_code_is_in_the_readme() -> None:
    codes = {0, 130, 143} | {cls.exit_code for cls in error_classes()}
    part = re.search(r"(?im)^(#+ )?exit codes?.*$(?P<text>[\s\S]*?)(^#|\Z)", README)
    assert part, "README has no line that begins with 'Exit codes'"
    assert [code for code in sorted(codes) if not re.search(rf"\b{code}\b", part["text"])] == []


def test_help_names_every_exit_code() -> None:
    said = parser().format_help()
    assert [
        code
        for code in {0, 130, 143} | {cls.exit_code for cls in error_classes()}
        if not re.search(rf"\b{code}\b", said)
    ] == []


@architecture_is_written
def test_every_module_is_in_the_architecture() -> None:
    package = Path(job.__file__).parent
    names = {path.relative_to(package).parts[0].removesuffix(".py") for path in package.rglob("*.py")} - {"__init__"}
    assert sorted(name for name in names if f"`{name}`" not in ARCHITECTURE and f"`{name}/`" not in ARCHITECTURE) == []


def test_the_version_is_one() -> None:
    chart = yaml.safe_load((ROOT / "deploy/helm/manyfit/Chart.yaml").read_text(encoding="utf-8"))
    assert (chart["version"], chart["appVersion"]) == (job.__version__, job.__version__)


def test_every_dependency_says_what_it_is_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    optional = project["project"]["optional-dependencies"].values()
    extras = [each for extra in optional for each in extra if not each.startswith("manyfit")]
    dev = [
        each
        for each in project["dependency-groups"]["dev"]
        if not each.startswith(("types-", "boto3-stubs", "pandas-stubs", "manyfit"))
    ]
    names = [re.split(r"[\[<>=!~; ]", each)[0] for each in (*project["project"]["dependencies"], *extras, *dev)]
    said = (ROOT / "docs/decisions/0001-dependencies.md").read_text(encoding="utf-8")
    assert [name for name in names if name not in said] == []


def test_the_charts_schema_knows_every_setting_of_the_job() -> None:
    """The chart's own test keeps the file equal to what is generated; this one needs no helm."""
    chart = json.loads((ROOT / "deploy/helm/manyfit/values.schema.json").read_text(encoding="utf-8"))["properties"]
    training, scoring = chart["job"]["else"], chart["job"]["then"]
    # what only a training has stands there to be refused by name
    taken = {name: each for name, each in scoring["properties"].items() if set(each) != {"const"}}

    def compare(ours: dict[str, object], theirs: dict[str, object], path: str = "job") -> Iterator[str]:
        mine, other = section(ours), section(theirs)
        if mine is None or other is None:
            if mine is not other:
                yield path
            return
        if set(mine["properties"]) != set(other["properties"]) or other.get("additionalProperties") is not False:
            yield path
        for name in set(mine["properties"]) & set(other["properties"]):
            yield from compare(mine["properties"][name], other["properties"][name], f"{path}.{name}")

    assert sorted(compare(job_schema(), training)) == [], "run deploy/helm/generate.py"
    found = compare(job_schema(ScoringSettings), {**scoring, "properties": taken})
    assert sorted(found) == [], "run deploy/helm/generate.py"


def test_every_make_target_that_a_document_names_is_there() -> None:
    named = {
        (document.name, target)
        for document in documents()
        for target in re.findall(
            r"`make ((?:[a-z][a-z0-9-]*)(?: [a-z][a-z0-9-]*)*)", document.read_text(encoding="utf-8")
        )
    }
    missing = {(name, target) for name, many in named for target in many.split() if target not in targets()}
    assert missing == set()


def test_every_make_target_explains_itself() -> None:
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    phony = {name for line in lines if line.startswith(".PHONY:") for name in line.split()[1:]} - {"python", "java"}
    explained = {line.partition(":")[0] for line in lines if "## " in line and not line.startswith("\t")}
    assert phony - explained == set()


@pytest.mark.parametrize("maker", ["reference.py", "diagrams.py"])
def test_the_generated_pages_and_pictures_are_those_that_the_program_makes(maker: str) -> None:
    """Both ways: a page that says more, or less, or other words than the program is stale."""
    script = ROOT / "docs/make" / maker
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("folder", ["tutorials", "how-to", "reference", "explanation", "decisions"])
def test_the_index_of_a_folder_links_to_each_of_its_pages(folder: str) -> None:
    """The navigation of the site is made of the index pages (docs/make/hooks.py)."""
    index = ROOT / "docs" / folder / "index.md"
    linked = {
        (index.parent / target).resolve() for target in re.findall(r"\]\(([^)#\s]+)", index.read_text(encoding="utf-8"))
    }
    pages = {each.resolve() for each in index.parent.rglob("*.md")} - {index.resolve()}
    assert sorted(str(each) for each in pages - linked) == []


PENDING = {
    "README.md",
}
"""Pages that are still too long or too wide: take one out as soon as it is not."""


def hard_to_read(page: Path) -> bool:
    """More than 200 lines, or a line of text beyond 120 columns. Tables, pictures, code and bare links may be wider."""
    text = page.read_text(encoding="utf-8")
    prose = re.sub(r"(?ms)^( *)(```|~~~).*?^ *\2", "", text).splitlines()
    wide = [line for line in prose if len(line) > 120 and not line.startswith(("|", "![")) and len(line.split()) > 2]
    return len(text.splitlines()) > 200 or bool(wide)


def test_pages_that_people_write_have_at_most_200_lines_and_120_columns() -> None:
    """Generated pages may be longer: they are looked up, not read."""
    pages = [
        each
        for each in documents()
        if ROOT / "docs" in each.parents or (each.parent == ROOT and each.name != "CHANGELOG.md")
    ]
    written = [each for each in pages if "Written by docs/make/" not in each.read_text(encoding="utf-8")]
    assert {str(each.relative_to(ROOT)) for each in written if hard_to_read(each)} - PENDING == set()


def test_links_between_documents_lead_somewhere() -> None:
    broken = [
        f"{document.relative_to(ROOT)}: {target}"
        for document in documents()
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8"))
        if "://" not in target and not target.startswith("mailto:") and not (document.parent / target).exists()
    ]
    assert broken == []


# -- errors: what the documents promise of them


def test_every_error_has_its_own_reason_and_survives_pickling() -> None:
    reasons = [cls.reason for cls in error_classes()]
    assert sorted(reasons) == sorted(set(reasons))
    for cls in error_classes():
        one = (
            cls("too_few_rows", "said", hint="way out")
            if issubclass(cls, errors.PartitionError)
            else cls("said", hint="way out")
        )
        again = pickle.loads(pickle.dumps(one))
        assert (type(again), str(again), again.hint, again.exit_code) == (cls, str(one), "way out", one.exit_code)


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    drawn = errors.__doc__ or ""
    assert [cls.__name__ for cls in error_classes() if cls.__name__ not in drawn] == []
