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
from tests.support.console_pages import Block, blocks

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8") if (ROOT / "ARCHITECTURE.md").exists() else ""

architecture_is_written = pytest.mark.xfail(
    not ARCHITECTURE.strip(), reason="ARCHITECTURE.md is not there yet", strict=True
)


def reference(page: str) -> str:
    return (ROOT / f"docs/reference/{page}.md").read_text(encoding="utf-8")


def told() -> list[Path]:
    """The documents that tell how things are now; decisions and the changelog tell how they were, too."""
    return [each for each in documents() if each.name != "CHANGELOG.md" and ROOT / "docs/decisions" not in each.parents]


def code(document: Path) -> str:
    """Fenced blocks and code in lines of a document."""
    text = document.read_text(encoding="utf-8")
    fenced = re.findall(r"(?ms)^```[^\n]*\n(.*?)^```", text)
    return "\n".join([*fenced, *(f"`{each}`" for each in re.findall(r"`([^`\n]+)`", text))])


def in_schema(properties: dict[str, object], path: list[str]) -> bool:
    """Whether a chart's schema has a value of this name, or takes any name there."""
    here = properties.get(path[0])
    if not isinstance(here, dict):
        return False
    inner = here.get("properties")
    return len(path) == 1 or inner is None or in_schema(inner, path[1:])


def error_classes() -> Iterator[type[errors.ManyfitError]]:
    found = [errors.ManyfitError]
    while found:
        cls = found.pop()
        yield cls
        # Another test of the same process may have a class of its own.
        found += [each for each in cls.__subclasses__() if each.__module__ == errors.__name__]


def commands() -> list[str]:
    (subparsers,) = (each for each in parser()._actions if isinstance(each, argparse._SubParsersAction))
    return sorted(subparsers.choices)


def options(command: str) -> set[str]:
    (subparsers,) = (each for each in parser()._actions if isinstance(each, argparse._SubParsersAction))
    return {option for action in subparsers.choices[command]._actions for option in action.option_strings}


def targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9][a-z0-9-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def documents() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = listed.stdout.splitlines() if listed.returncode == 0 else []
    return [ROOT / name for name in names if (ROOT / name).exists()] or sorted(ROOT.glob("*.md"))


@pytest.mark.parametrize("command", commands())
def test_every_command_is_in_the_reference(command: str) -> None:
    assert f"## manyfit {command}\n" in reference("commands")


def test_every_setting_is_in_the_reference() -> None:
    names = {
        path
        for path, schema in settings()
        if not section(schema) and not path.startswith(("storage.input", "storage.output"))
    }
    assert sorted(path for path in names if f"| `{path}` |" not in reference("settings")) == []


def test_every_reason_is_in_the_reference() -> None:
    assert [reason for reason in REASONS if f"| `{reason}` |" not in reference("reasons")] == []


def test_every_exit_code_is_in_the_reference() -> None:
    codes = {0, 130, 143} | {cls.exit_code for cls in error_classes()}
    assert [code for code in sorted(codes) if f"| {code} |" not in reference("reasons")] == []


def test_the_readme_has_the_two_commands_and_the_way_to_each_kind_of_page() -> None:
    assert len(README.splitlines()) <= 150
    wanted = ["make demo", "make test", *(f"docs/{kind}/index.md" for kind in ("tutorials", "how-to", "reference"))]
    assert [each for each in wanted if each not in README] == []


def test_every_command_that_a_document_names_is_there() -> None:
    """Nothing in the documents that is not in the program."""
    named = {
        (str(document.relative_to(ROOT)), word)
        for document in told()
        for word in re.findall(r"(?:^|[`$(]|\$ )manyfit ([a-z]+)\b", code(document), re.MULTILINE)
    }
    assert {(name, word) for name, word in named if word not in commands()} == set()


def test_every_option_that_a_document_gives_to_a_command_is_there() -> None:
    """Settings may be options, too: they have a dot in their name, and a test of their own."""
    known = {command: options(command) for command in commands()}
    given = {
        (str(document.relative_to(ROOT)), command, option)
        for document in told()
        for command, rest in re.findall(
            r"(?:^|[`$(]|\$ )manyfit ([a-z]+)\b([^\n`|;&#)]*)", code(document), re.MULTILINE
        )
        for option in re.findall(r"(?<!\S)--[a-z-]+(?![a-z._-])", rest)
    }
    assert given, "no document gives an option to a command"
    assert {each for each in given if each[2] not in known.get(each[1], set())} == set()


def test_every_setting_that_a_document_names_is_there() -> None:
    """Nothing in the documents that is not in the program; values of the chart share some names of sections."""
    chart = json.loads((ROOT / "deploy/helm/manyfit/values.schema.json").read_text(encoding="utf-8"))["properties"]
    # names below `spark` are Spark's own
    sections = {path.partition(".")[0] for path, _ in (*settings(), *settings(job_schema(ScoringSettings)))} - {"spark"}
    known = {path for path, _ in (*settings(), *settings(job_schema(ScoringSettings)))} | sections
    named = {
        (str(document.relative_to(ROOT)), path)
        for document in told()
        for path in re.findall(rf"`((?:{'|'.join(sorted(sections))})(?:\.[a-z_]+)+)[`:]", document.read_text("utf-8"))
    }
    unknown = {(name, path) for name, path in named if path not in known and not in_schema(chart, path.split("."))}
    assert {
        (name, path) for name, path in unknown if not path.endswith((".json", ".csv", ".html", ".md", ".py", ".yaml"))
    } == set()


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
    assert {str(each.relative_to(ROOT)) for each in written if hard_to_read(each)} == set()


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


# -- console blocks of tutorials and how-to guides; tests/docs runs them

LEFT_OUT = {
    "installs": "what it installs is what the tests run on",
    "needs a cluster": "`make e2e` has one",
    "needs a bucket": "tests of the stores have S3 servers of their own",
    "starts a server": "what it serves has tests of its own: tests/unit/registry/test_service_example.py",
}
"""Why a console block may be left out."""
NOT_RUN: dict[str, int] = {
    "docs/how-to/kubernetes.md": 3,
    "docs/how-to/kubernetes/air-gapped.md": 1,
    "docs/how-to/kubernetes/deployer.md": 1,
    "docs/how-to/mlflow.md": 1,
    "docs/how-to/orchestrators.md": 1,
    "docs/how-to/service.md": 2,
    "docs/tutorials/first-models.md": 1,
    "docs/tutorials/kind.md": 8,
}
"""How many console blocks of a page are not run: one more is a choice, not an accident."""


def console_pages() -> dict[str, list[Block]]:
    return {
        page.relative_to(ROOT).as_posix(): blocks(page.read_text(encoding="utf-8"))
        for kind in ("tutorials", "how-to")
        for page in sorted((ROOT / "docs" / kind).rglob("*.md"))
    }


def test_console_blocks_that_are_not_run_are_counted_and_have_a_reason() -> None:
    left_out = {
        page: [each.not_run for each in found if each.not_run is not None] for page, found in console_pages().items()
    }
    assert {page: len(reasons) for page, reasons in left_out.items() if reasons} == NOT_RUN
    assert {reason for reasons in left_out.values() for reason in reasons} <= LEFT_OUT.keys()


def test_commands_of_tutorials_and_guides_stand_in_console_blocks() -> None:
    """A block of another kind would not be run, and nobody would notice."""
    other = {
        (page, each.kind)
        for page, found in console_pages().items()
        for each in found
        if each.kind in ("sh", "bash", "shell")
        or (each.kind != "console" and each.text.lstrip().startswith(("$ ", "manyfit ")))
    }
    assert other == set()


def test_a_marker_that_a_block_is_not_run_stands_before_a_console_block() -> None:
    for page, found in console_pages().items():
        marked = [each for each in found if each.not_run is not None]
        assert (ROOT / page).read_text(encoding="utf-8").count("<!-- not run:") == len(marked), page
        assert {each.kind for each in marked} <= {"console"}, page
