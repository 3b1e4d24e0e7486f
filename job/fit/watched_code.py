"""Finds the code that a recipe's fit runs, and watches it by content, or by the version of its distribution.

Code of the user's own is known by its content: a module that no distribution owns, one that a distribution was
installed from a folder for (``pip install -e``, ``pip install ./package``, a wheel file), and whatever such code
imports in turn, helpers of helpers. A distribution from a registry is known by its version, and so are those that it
requires. Imports are read from the source; names that are worked out while the code runs cannot be, so all Python files
beside such code are watched. What is not watched is told by `Watched.unwatched`.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from job.fit.installed import version

CORE = {"sklearn": "scikit-learn", "numpy": "numpy", "scipy": "scipy", "pandas": "pandas", "joblib": "joblib"}
"""Packages whose distribution is known without looking for it."""

_IMPORTERS = frozenset({"import_module", "__import__", "run_module", "run_path", "spec_from_file_location"})
_LARGEST = 16 * 2**20
"""Bytes of a data file in a package from which on it is known by its size alone."""
_MOST_BESIDE = 500
_REQUIRED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class Code:
    """One Python file."""

    text: str
    """its content"""
    path: Path | None = None
    """where it lies; None if it is unknown"""


@dataclass(frozen=True, kw_only=True)
class Watched:
    """The code that a recipe runs."""

    packages: dict[str, str]
    """top-level packages known by their content: the digest of each"""
    versions: dict[str, str]
    """distributions known by their version"""
    unwatched: tuple[str, ...]
    """what may decide a model and is not watched, for a person"""


def watched(roots: Iterable[str], sources: Sequence[Code], covered: Iterable[Path] = ()) -> Watched:
    """Find all code that these packages and files run.

    Parameters
    ----------
    roots
        Top-level packages that the recipe imports.
    sources
        The files of a function, which the recipe knows by their content already.
    covered
        Further files that the recipe knows by their content.
    """
    packages: dict[str, str] = {}
    versions: dict[str, str] = {}
    notes: list[str] = []
    own = {each.path.resolve() for each in sources if each.path} | {each.resolve() for each in covered}
    folders = {each.path.parent for each in sources if each.path}
    computed = [each for each in sources if _imports_by_name(each.text)]
    given = set(roots)
    wanted = [*given, *(root for each in sources for root in _named(each.text))]
    notes += [note for each in sources for note in _files_named(each, own)]
    beside = False
    seen: set[str] = set()
    while wanted or (computed and not beside):
        if not wanted:
            # A module whose name is worked out may be any that lies where the user's other modules lie.
            beside = True
            found = sorted({root for folder in folders for root in _modules_in(folder, own)} - seen)
            if len(found) > _MOST_BESIDE:
                notes.append(f"{len(found)} modules beside the recipe's code, which imports by names worked out later")
                found = []
            wanted += found
            continue
        root = wanted.pop()
        if root in seen or root == "job" or (root in sys.stdlib_module_names and root not in given):
            continue
        seen.add(root)
        owners = owners_by_version(root)
        if owners:
            for name in owners:
                versions[name] = version(name)
                if root not in CORE:
                    versions |= {each: version(each) for each in required(name)}
            continue
        files = package_files(root)
        packages[root] = package_digest(root)
        for name, path in files:
            if name.endswith(".py"):
                code = Code(text=path.read_text("utf-8", "replace"), path=path)
                wanted += [*imported(code.text), *_named(code.text)]
                computed += [code] if _imports_by_name(code.text) else []
                notes += _files_named(code, own | {each for _, each in files})
        folders |= _folders(root)
    return Watched(packages=packages, versions=versions, unwatched=tuple(dict.fromkeys(notes)))


def owners_by_version(root: str) -> tuple[str, ...]:
    """The distributions whose version says what is in a top-level package; none if only its content can say it."""
    if root in CORE:
        return (CORE[root],)
    names = tuple(sorted(set(_distributions().get(root, ()))))
    return names if names and all(_from_a_registry(name, root) for name in names) else ()


def _distributions() -> dict[str, list[str]]:
    return _distributions_on(tuple(sys.path))


@lru_cache(maxsize=4)
def _distributions_on(path: tuple[str, ...]) -> dict[str, list[str]]:
    """By top-level package; it takes a tenth of a second to find them."""
    return dict(importlib.metadata.packages_distributions())


def _from_a_registry(name: str, root: str) -> bool:
    """Whether the package is where the distribution was unpacked, and that came from a registry: versions are kept."""
    found = importlib.metadata.distribution(name)
    if found.read_text("direct_url.json"):
        return False  # from a folder, a repository or a file: its content may change under one version
    home = Path(str(found.locate_file(""))).absolute()
    return all(
        each.absolute().is_relative_to(home) or each.resolve().is_relative_to(home.resolve()) for each in _places(root)
    )


def required(name: str) -> tuple[str, ...]:
    """The installed distributions that a distribution requires by itself, without its extras."""
    found = set()
    for line in importlib.metadata.requires(name) or ():
        match = _REQUIRED.match(line)
        if match and "extra ==" not in line and match[0].lower() not in ("manyfit", *CORE.values()):
            try:
                found.add(importlib.metadata.distribution(match[0]).metadata["Name"])
            except importlib.metadata.PackageNotFoundError:
                continue  # for another platform
    return tuple(sorted(found))


def _places(root: str) -> list[Path]:
    """The folders, or the file, that a top-level package is imported from."""
    try:
        spec = importlib.util.find_spec(root)
    except (ImportError, ValueError, AttributeError):
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations:
        return sorted(map(Path, spec.submodule_search_locations))
    return [Path(spec.origin)] if spec.origin and Path(spec.origin).is_file() else []


def _folders(root: str) -> set[Path]:
    return {each.parent for each in _places(root)}


def package_files(root: str) -> list[tuple[str, Path]]:
    """The files of an importable top-level package, in a fixed order: Python first, then what lies beside it."""
    code: list[tuple[str, Path]] = []
    data: list[tuple[str, Path]] = []
    for place in _places(root):
        if place.is_file():
            code.append((f"{root}.py", place))
            continue
        for each in sorted(place.rglob("*")):
            parts = each.relative_to(place).parts
            if not each.is_file():
                continue
            if each.suffix == ".py":
                code.append((f"{root}/{'/'.join(parts)}", each))
            elif not any(part.startswith(".") or part == "__pycache__" for part in parts):
                data.append((f"{root}/{'/'.join(parts)}", each))
    return code + data


def package_digest(root: str) -> str:
    """SHA-256 over all files of a top-level package."""
    total = hashlib.sha256()
    for name, path in package_files(root):
        size = path.stat().st_size
        large = size > _LARGEST and not name.endswith(".py")
        content = f"{size} bytes" if large else hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{name}\0{content}\n".encode("utf-8", "surrogatepass"))
    return total.hexdigest()


def imported(text: str) -> set[str]:
    """The top-level packages that a Python file imports by statements, without those of Python itself."""
    found: set[str] = set()
    for node in _nodes(text):
        if isinstance(node, ast.Import):
            found |= {each.name.split(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names)


def _nodes(text: str) -> Iterator[ast.AST]:
    try:
        yield from ast.walk(ast.parse(text))
    except (SyntaxError, ValueError):
        return  # importing it says so better


def _importing(text: str) -> Iterator[ast.expr | None]:
    """What calls that import by name are given first."""
    for node in _nodes(text):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", None))
            if name in _IMPORTERS or (name == "exec" and isinstance(node.func, ast.Name)):
                yield node.args[0] if node.args else None


def _named(text: str) -> list[str]:
    """The top-level packages that a file imports by a name that is written in it."""
    names = []
    for given in _importing(text):
        if isinstance(given, ast.JoinedStr) and given.values:
            given = given.values[0]  # f"plugins.{name}"
            if isinstance(given, ast.Constant) and "." not in str(given.value):
                continue
        if isinstance(given, ast.Constant) and isinstance(given.value, str):
            root = given.value.split(".")[0]
            if root.isidentifier() and _places(root):
                names.append(root)
    return names


def _imports_by_name(text: str) -> bool:
    """Whether a file imports something whose name is not simply written there."""
    return any(not isinstance(each, ast.Constant) or "/" in str(each.value) for each in _importing(text))


def _modules_in(folder: Path, own: set[Path]) -> Iterator[str]:
    """The top-level modules and packages that lie in a folder, but for files that are known already."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for each in entries:
        if each.suffix == ".py" and each.stem.isidentifier() and each.resolve() not in own and each.stem != "setup":
            if each in _places(each.stem):
                yield each.stem
        elif (each / "__init__.py").is_file() and each.name.isidentifier() and each in _places(each.name):
            yield each.name


def _files_named(code: Code, known: set[Path]) -> Iterator[str]:
    """A line for each data file that the code names and that nobody watches."""
    if code.path is None:
        return
    resolved = {each.resolve() for each in known}
    for node in _nodes(code.text):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and 1 < len(node.value) < 200:
            name = node.value
            if "." not in name or "\n" in name or "\0" in name:
                continue
            for folder in (code.path.parent, Path.cwd()):
                path = folder / name
                if path.is_file() and path.resolve() not in resolved:
                    yield f"{name}, which {code.path.name} names: list it in recipe.code"
                    break
