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

PACKAGES: dict[str, set[str]] = {
    "root": set(),
    "config": {"root"},
    "store": {"config", "root"},
    "reader": {"config", "root"},
    "judge": set(),
    "fit": {"config", "judge", "reader", "root"},
    "score": {"fit", "judge", "reader", "root"},
    "registry": {"config", "fit", "reader", "root", "score", "store"},
    "plan": {"config", "reader", "root", "store"},
    "worker": {"fit", "plan", "reader", "root", "score", "store"},
    "engine": {"config", "plan", "reader", "root", "store", "worker"},
    "page": {"registry", "root", "store"},
    "run": {
        "config",
        "engine",
        "fit",
        "judge",
        "page",
        "plan",
        "reader",
        "registry",
        "root",
        "score",
        "store",
        "worker",
    },
    "cli": {"config", "engine", "fit", "page", "plan", "registry", "root", "run", "store"},
}
"""The packages from the bottom up, and what each may import: only packages above it here. The modules right in ``job/`` are
the root; ``job/__init__.py`` is the public face and hands out what others have."""

ONLY_HERE = {
    "pyspark": ("engine/spark/",),
    "boto3": ("store/", "cli/demo.py"),
    "botocore": ("store/",),
    "obstore": ("store/",),
    "deltalake": ("registry/", "plan/delta_files.py"),
    "moto": ("cli/embedded_s3.py",),
    "cryptography": ("registry/bundle.py", "registry/signing.py"),
    "pydantic": ("config/",),
    "pydantic_settings": ("config/resolution.py", "config/sources.py"),
    "yaml": ("config/document.py",),
    "rich": ("cli/", "run/progress.py"),
    "argparse": ("cli/",),
    "vl_convert": ("page/svg.py",),
    "jinja2": ("page/render.py",),
    "prometheus_client": ("run/metrics.py",),
    "mlflow": ("registry/mlflow_registry.py",),
}
ENVIRONMENT = (
    "cli/arguments.py",
    "cli/commands.py",
    "cli/to_mlflow.py",
    "engine/__init__.py",
    "engine/local_worker.py",
    "engine/spark/session.py",
    "engine/spark/exchange.py",
    "cli/demo.py",
    "store/trust.py",
    "store/proxy.py",
    "fit/contained.py",
    "run/after_release.py",
)
"""`config.load` is given the environment as an argument; the choice of an engine looks there for Spark; Spark, workers, the
demo's client, OpenSSL and `output.after_release` are told things by it. What a recipe's own code
changes in it is set back (`fit.contained`)."""
PRINTS = (
    "cli/main.py",
    "cli/commands.py",
    "cli/version_commands.py",
    "cli/forget.py",
    "cli/to_mlflow.py",
    "cli/screens.py",
    "cli/models_table.py",
    "cli/fleet_page.py",
    "cli/watch.py",
    "cli/told.py",
    "cli/embedded_s3.py",
    "config/schema.py",
)
ANY_EXCEPTION = {
    "cli/main.py": "the last resort: our bug, exit code 1",
    "fit/partition_fit.py": "a partition's failure becomes a row",
    "worker/attempt.py": "a partition's failure becomes a row",
    "fit/evaluation.py": "whatever a user's fit raises is a fold without scores",
    "fit/linear.py": "whatever a user's fit raises is a reason",
    "fit/train.py": "whatever a user's fit raises is a reason",
    "fit/contest.py": "a live model that cannot predict leaves the key undecidable",
    "fit/scores.py": "whatever a user's metric raises is a reason",
    "fit/user_function.py": "whatever a user's module raises while it is imported",
    "fit/fit_function.py": "whatever a user's function raises is a reason",
    "fit/artifact.py": "whatever a user's class raises while it is pickled or loaded",
    "fit/targets.py": "whatever a user's module raises while it is imported",
    "score/apply.py": "whatever a model raises is a reason",
    "score/forecast.py": "whatever a user's function raises is a reason",
    "worker/scoring.py": "a key's failure becomes a row",
    "run/run_files.py": "a page that cannot be drawn must not end a run that has published",
    "engine/base.py": "what a start in the background raises is raised by who asks for the engine",
    "engine/aside.py": "whatever it is, the thread that waits gets it",
    "engine/local_worker.py": "whatever a task raises is raised by the driver",
    "engine/spark/session.py": "whatever a JVM says while it starts",
}
LONGER = {
    "config/settings.py": "one table of all settings",
}
MOST_LINES = 350


def sources() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """(dotted name, line) of every import: at the top, inside functions, and for types alone."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno} imports relatively"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def module_of(path: Path) -> str:
    """``job.store.base`` of ``store/base.py``."""
    dotted = ".".join(("job", *path.relative_to(PACKAGE).with_suffix("").parts))
    return dotted.removesuffix(".__init__")


@cache
def modules() -> dict[str, Path]:
    return {module_of(path): path for path in sources()}


def imported(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports."""
    for dotted, _ in imports(path):
        name = dotted
        while name and name not in modules():
            name = name.rpartition(".")[0]
        if name and name not in ("job", module_of(path)):
            yield name


def package_of(module: str) -> str:
    """The package right below ``job`` that a module belongs to."""
    first = module.split(".")[1] if "." in module else ""
    return first if (PACKAGE / first).is_dir() and first else "root"


def edges() -> set[tuple[str, str]]:
    """(package, package that it imports)."""
    found = set()
    for module, path in modules().items():
        if module != "job":
            found |= {(package_of(module), package_of(other)) for other in imported(path)}
    return {(one, other) for one, other in found if one != other}


def test_every_package_has_one_place() -> None:
    there = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert there | {"root"} == set(PACKAGES)


def test_packages_import_only_what_lies_above_them() -> None:
    order = list(PACKAGES)
    upwards = {
        (one, other) for one, allowed in PACKAGES.items() for other in allowed if order.index(other) >= order.index(one)
    }
    assert upwards == set()


def test_packages_import_what_they_may_and_each_permission_is_used() -> None:
    assert edges() == {(one, other) for one, allowed in PACKAGES.items() for other in allowed}


def test_no_circle_of_imports() -> None:
    graph = {module: set(imported(path)) for module, path in modules().items() if module != "job"}
    while graph:
        free = {module for module, needed in graph.items() if not needed & graph.keys()}
        assert free, f"a circle among {sorted(graph)}"
        graph = {module: needed for module, needed in graph.items() if module not in free}


def test_the_root_is_small() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 8, "a module belongs to a package"


@pytest.mark.parametrize("library", sorted(ONLY_HERE))
def test_a_library_is_imported_only_where_it_belongs(library: str) -> None:
    allowed = ONLY_HERE[library]
    users = {name_of(path) for path in sources() for dotted, _ in imports(path) if dotted.split(".")[0] == library}
    assert {name for name in users if not name.startswith(allowed)} == set()
    assert [each for each in allowed if not any(name.startswith(each) for name in users)] == [], "nothing uses this"


def test_the_environment_is_read_only_by_the_configuration() -> None:
    def reads(node: ast.AST) -> bool:
        if isinstance(node, ast.Attribute):
            return node.attr in ("environ", "getenv", "putenv", "environb")
        names = (
            {each.name for each in node.names} if isinstance(node, ast.ImportFrom) and node.module == "os" else set()
        )
        return bool(names & {"environ", "getenv"})

    assert {name_of(path) for path in sources() if any(map(reads, ast.walk(tree(path))))} == set(ENVIRONMENT)


def test_only_commands_print() -> None:
    def prints(node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"

    assert {name_of(path) for path in sources() if any(map(prints, ast.walk(tree(path))))} == set(PRINTS)


def test_any_exception_is_caught_only_where_users_code_runs() -> None:
    def broad(node: ast.AST) -> bool:
        """Catches whatever comes, and does more than to clean up and raise the same again."""
        if not isinstance(node, ast.ExceptHandler):
            return False
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        every = any(
            each is None or (isinstance(each, ast.Name) and each.id in ("Exception", "BaseException"))
            for each in caught
        )
        return every and not (isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None)

    assert {name_of(path) for path in sources() if any(map(broad, ast.walk(tree(path))))} == set(ANY_EXCEPTION)


def test_no_module_is_named_like_one_of_pythons() -> None:
    assert [name_of(path) for path in sources() if path.stem in LIBRARIES] == []


def test_no_module_is_called_utils() -> None:
    assert [name_of(path) for path in sources() if path.stem in ("utils", "util", "helpers", "common", "misc")] == []


def test_a_file_is_one_noun_and_not_longer_than_350_lines() -> None:
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
