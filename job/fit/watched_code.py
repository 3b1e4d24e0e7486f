"""Finds the code that a recipe's fit runs, and watches it by content, or by the version of its distribution.

The user's own code is watched by its content: modules that belong to no distribution, distributions that were installed
from a folder or a file (``pip install -e``, ``pip install ./package``, a wheel file), and the code that these import,
at any depth. A distribution from a registry, and those that it requires, are watched by version. Imports are read from
the source. If code computes the names of its imports, all Python files beside it are watched. `Watched.unwatched` tells
what is not watched.
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
"""Packages whose distribution need not be looked up."""

_IMPORTERS = frozenset({"import_module", "__import__", "run_module", "run_path", "spec_from_file_location"})
_LARGEST = 16 * 2**20
"""Larger data files in a package, in bytes, are watched only by their size."""
_MOST_BESIDE = 500
_REQUIRED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class Code:
    """One Python file."""

    text: str
    """its content"""
    path: Path | None = None
    """path of the file; None if it is unknown"""


@dataclass(frozen=True, kw_only=True)
class Watched:
    """The code that a recipe runs."""

    packages: dict[str, str]
    """digests of the top-level packages that are watched by content, by name"""
    versions: dict[str, str]
    """versions of the distributions that are watched by version, by name"""
    unwatched: tuple[str, ...]
    """for a person: code and files that may influence a model, but are not watched"""


def watched(roots: Iterable[str], sources: Sequence[Code], covered: Iterable[Path] = ()) -> Watched:
    """Find all code that these packages and files run.

    Parameters
    ----------
    roots
        Top-level packages that the recipe imports.
    sources
        The Python files of a function, whose content is already in the digest of the function.
    covered
        Further files whose content is already in that digest.
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
            # If the code computes a module's name, it may be any module in the folders of the user's code.
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
    """The distributions of a top-level package whose version identifies its content; none if it must be digested."""
    if root in CORE:
        return (CORE[root],)
    names = tuple(sorted(set(_distributions().get(root, ()))))
    return names if names and all(_from_a_registry(name, root) for name in names) else ()


def _distributions() -> dict[str, list[str]]:
    return _distributions_on(tuple(sys.path))


@lru_cache(maxsize=4)
def _distributions_on(path: tuple[str, ...]) -> dict[str, list[str]]:
    """The distributions by top-level package. Cached, because finding them takes a tenth of a second."""
    return dict(importlib.metadata.packages_distributions())


def _from_a_registry(name: str, root: str) -> bool:
    """Whether the package lies in its distribution's folder and came from a registry, where versions do not change."""
    found = importlib.metadata.distribution(name)
    if found.read_text("direct_url.json"):
        return False  # from a folder, a repository or a file: its content may change under one version
    home = Path(str(found.locate_file(""))).absolute()
    return all(
        each.absolute().is_relative_to(home) or each.resolve().is_relative_to(home.resolve()) for each in _places(root)
    )


def required(name: str) -> tuple[str, ...]:
    """The installed distributions that a distribution requires, without those of its extras."""
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
    """The files of an importable top-level package, in a fixed order: Python files, then data files."""
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
    """SHA-256 over all files of a top-level package, hex."""
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
        return  # the import gives a better error


def _importing(text: str) -> Iterator[ast.expr | None]:
    """The first argument of each call that imports by name, such as ``import_module``; None if it has none."""
    for node in _nodes(text):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", None))
            if name in _IMPORTERS or (name == "exec" and isinstance(node.func, ast.Name)):
                yield node.args[0] if node.args else None


def _named(text: str) -> list[str]:
    """The top-level packages that a file imports by a call with a literal name."""
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
    """Whether a file has a call that imports a computed name, or a path."""
    return any(not isinstance(each, ast.Constant) or "/" in str(each.value) for each in _importing(text))


def _modules_in(folder: Path, own: set[Path]) -> Iterator[str]:
    """The top-level modules and packages in a folder, except the files in ``own``."""
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
    """A line for each existing data file that the code names and that is not in ``known``."""
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
