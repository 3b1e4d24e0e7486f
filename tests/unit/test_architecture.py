"""The shape of the package, kept by reading its source: layers, "only here" rules, one noun per file, documented."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import job

PACKAGE = Path(job.__file__).parent
LIBRARIES = {name for name in sys.stdlib_module_names if not name.startswith("_")}

LAYERS = {
    "root": "errors outcome globs keys arrow digests",
    "config": "config",
    "store": "store",
    "reader": "reader",
    "judge": "judge",
    "fit": "fit",
    "registry": "registry",
    "plan": "plan",
    "worker": "worker",
    "engine": "engine",
    "run": "run",
    "cli": "cli",
}
"""From the bottom up: a module imports from its own layer and those above it in this list, never from below it."""

NOT_YET = {
    "plan/spark_read.py imports worker",
    "plan/table_keys.py imports worker",
}
"""Imports that the next commits turn round."""

ONLY_HERE = {
    "pyspark": ("engine/spark/",),
    "py4j": ("engine/spark/",),
    "boto3": ("store/", "cli/demo.py"),
    "botocore": ("store/", "cli/demo.py"),
    "obstore": ("store/",),
    "deltalake": ("registry/delta_log.py", "registry/index.py"),
    "moto": ("cli/embedded_s3.py",),
    "cryptography": ("registry/bundle.py", "registry/signing.py"),
    "pydantic": ("config/",),
    "pydantic_settings": ("config/resolution.py", "config/sources.py"),
    "yaml": ("config/document.py",),
    "rich": ("cli/", "run/progress.py"),
    "argparse": ("cli/",),
}
ENVIRONMENT = (
    "config/load.py",
    "cli/arguments.py",
    "cli/commands.py",
    "engine/spark/session.py",
    "cli/demo.py",
    "store/trust.py",
)
"""`config.load` is given the environment by `commands`; Spark, the demo's client and OpenSSL are told things by it."""
PRINTS = (
    "cli/main.py",
    "cli/commands.py",
    "cli/version_commands.py",
    "cli/screens.py",
    "cli/models_table.py",
    "cli/one_model.py",
    "cli/demo.py",
    "cli/embedded_s3.py",
    "config/schema.py",
)
ANY_EXCEPTION = {
    "cli/main.py": "the last resort: our bug, exit code 1",
    "fit/partition_fit.py": "a partition's failure becomes a row",
    "worker/direct.py": "a partition's failure becomes a row",
    "worker/attempt.py": "a partition's failure becomes a row",
    "worker/guarded_child.py": "a partition's failure becomes a row",
    "fit/fit_errors.py": "whatever a user's fit raises is a reason",
    "fit/linear.py": "whatever a user's fit raises is a reason",
    "fit/train.py": "whatever a user's fit raises is a reason",
    "fit/contest.py": "a live model that cannot predict leaves the key undecidable",
    "fit/scores.py": "whatever a user's metric raises is a reason",
    "fit/user_function.py": "whatever a user's module raises while it is imported",
    "fit/fit_function.py": "whatever a user's function raises is a reason",
    "fit/artifact.py": "whatever a user's class raises while it is pickled or loaded",
    "fit/targets.py": "whatever a user's module raises while it is imported",
    "engine/__init__.py": "what a start in the background raises is raised by who asks for the engine",
    "engine/spark/aside.py": "whatever it is, the thread that waits gets it",
    "engine/spark/session.py": "whatever a JVM says while it starts",
}
LONGER = {
    "config/settings.py": "one table of all settings",
}
MOST_LINES = 300


def sources() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def only_for_types(path: Path) -> set[ast.AST]:
    """Everything below ``if TYPE_CHECKING:``."""
    return {
        inner
        for node in ast.walk(tree(path))
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for child in node.body
        for inner in ast.walk(child)
    }


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """(dotted name, line) of every import that runs, at the top or inside a function."""
    skipped = only_for_types(path)
    for node in ast.walk(tree(path)):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno} imports relatively"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def noun(dotted: str) -> str | None:
    """The module or package of ours right below ``job`` that a dotted name belongs to."""
    parts = dotted.split(".")
    if parts[0] != "job" or len(parts) < 2:
        return None
    return parts[1] if (PACKAGE / f"{parts[1]}.py").exists() or (PACKAGE / parts[1]).is_dir() else None


def test_every_module_has_one_place_in_the_layers() -> None:
    placed = [name for names in LAYERS.values() for name in names.split()]
    there = {noun(f"job.{path.relative_to(PACKAGE).parts[0].removesuffix('.py')}") for path in sources()} - {
        None,
        "__init__",
    }
    assert sorted(placed) == sorted(set(placed))
    missing = there - set(placed)
    assert missing == set(), "put these modules into LAYERS, and into ARCHITECTURE.md"


def test_imports_never_go_up_the_layers() -> None:
    rank = {name: number for number, names in enumerate(LAYERS.values()) for name in names.split()}
    wrong = []
    for path in sources():
        own = noun(f"job.{path.relative_to(PACKAGE).parts[0].removesuffix('.py')}")
        if own is None or own == "__init__":
            continue
        for dotted, _ in imports(path):
            other = noun(dotted)
            if other is not None and rank.get(other, 0) > rank.get(own, 99):
                wrong.append(f"{name_of(path)} imports {other}")
    assert set(wrong) == NOT_YET


@pytest.mark.parametrize("library", sorted(ONLY_HERE))
def test_a_library_is_imported_only_where_it_belongs(library: str) -> None:
    allowed = ONLY_HERE[library]
    wrong = [
        f"{name_of(path)}:{line}"
        for path in sources()
        for dotted, line in imports(path)
        if dotted.split(".")[0] == library and not name_of(path).startswith(allowed)
    ]
    assert wrong == []


def test_the_environment_is_read_only_by_the_configuration() -> None:
    wrong = [
        f"{name_of(path)}:{node.lineno}"
        for path in sources()
        if name_of(path) not in ENVIRONMENT
        for node in ast.walk(tree(path))
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "putenv", "environb"))
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == "os"
            and {each.name for each in node.names} & {"environ", "getenv"}
        )
    ]
    assert wrong == []


def test_only_commands_print() -> None:
    wrong = [
        f"{name_of(path)}:{node.lineno}"
        for path in sources()
        if name_of(path) not in PRINTS
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert wrong == []


def test_any_exception_is_caught_only_where_users_code_runs() -> None:
    def broad(handler: ast.ExceptHandler) -> bool:
        caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        return any(
            each is None or (isinstance(each, ast.Name) and each.id in ("Exception", "BaseException"))
            for each in caught
        )

    def passes_on(handler: ast.ExceptHandler) -> bool:
        """Cleans up and raises the same again."""
        return isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None

    wrong = [
        f"{name_of(path)}:{node.lineno}"
        for path in sources()
        if name_of(path) not in ANY_EXCEPTION
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler) and broad(node) and not passes_on(node)
    ]
    assert wrong == []


def test_no_module_is_named_like_one_of_pythons() -> None:
    assert [name_of(path) for path in sources() if path.stem in LIBRARIES] == []


def test_no_module_is_called_utils() -> None:
    assert [name_of(path) for path in sources() if path.stem in ("utils", "util", "helpers", "common", "misc")] == []


def test_a_file_is_one_noun_and_not_longer_than_300_lines() -> None:
    long = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert {name: lines for name, lines in long.items() if lines > MOST_LINES and name not in LONGER} == {}


def test_what_is_public_is_documented() -> None:
    def undocumented(path: Path) -> Iterator[str]:
        if ast.get_docstring(tree(path)) is None:
            yield name_of(path)
        owners: list[ast.Module | ast.ClassDef] = [tree(path)]
        owners += [node for node in tree(path).body if isinstance(node, ast.ClassDef)]
        for owner in owners:
            if isinstance(owner, ast.ClassDef) and owner.name.startswith("_"):
                continue
            for node in owner.body:
                if not isinstance(node, ast.ClassDef | ast.FunctionDef) or node.name.startswith("_"):
                    continue
                if ast.get_docstring(node) is None and not (isinstance(node, ast.FunctionDef) and node.decorator_list):
                    yield f"{name_of(path)}:{node.lineno} {node.name}"

    assert [each for path in sources() for each in undocumented(path)] == []


def test_commands_that_need_no_spark_import_none() -> None:
    program = (
        "import sys\nimport job.cli.main, job.cli.commands, job.cli.screens, job.config.load, job.run.run\nfrom job import ModelSet\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'pyspark', 'py4j', 'moto', 'matplotlib', 'cryptography'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_tests_run_against_what_they_say() -> None:
    """`make test` sets TESTED_WHEEL: then the package is the installed wheel, in Spark's workers too, and not this folder."""
    repository = Path(__file__).parents[2]
    if os.environ.get("TESTED_WHEEL"):
        assert "site-packages" in PACKAGE.parts
        found = subprocess.run(
            [sys.executable, "-c", "import job; print(job.__file__)"], capture_output=True, text=True, check=True
        )
        assert Path(found.stdout.strip()).parent == PACKAGE
        assert {name_of(path) for path in sources()} == {
            path.relative_to(repository / "job").as_posix() for path in (repository / "job").rglob("*.py")
        }
    else:
        assert repository / "job" == PACKAGE
