"""Makes Python objects of ``_target_`` documents: looks up names and checks arguments; evaluates no code in them.

The convention is Hydra's: ``{_target_: sklearn.linear_model.Ridge, alpha: 0.5}``, nested at will, with ``_args_`` for
positional arguments and ``_partial_: true`` for the callable itself. In addition, lists are accepted where scikit-learn
wants tuples (``steps``, ``transformers``, ``ngram_range`` ...), and steps may be a mapping of name to estimator.

`check` finds every mistake at once, before anything runs; `build` makes the objects, new ones with each call.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from types import ModuleType
from typing import Any

from job.fit import parameters
from job.words import first_line

ALLOWED = frozenset({"sklearn", "numpy", "scipy", "pandas"})
"""Packages that ``_target_`` may name without ``recipe.allow``."""

_SPECIAL = ("_target_", "_args_", "_partial_")
_EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")
_LONG_SET = re.compile(r"\{[^{}]{150,}\}")
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


class TargetError(ValueError):
    """One mistake in a ``_target_`` document, for a person."""


def names(node: Any) -> Iterator[str]:
    """Every ``_target_`` of a document."""
    if isinstance(node, Mapping):
        if isinstance(node.get("_target_"), str):
            yield node["_target_"]
        for value in node.values():
            yield from names(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from names(value)


@functools.lru_cache(maxsize=1024)
def resolve(name: str, allow: frozenset[str]) -> Any:
    """Return the class or function with this dotted name.

    Raises
    ------
    TargetError
        The name is not allowed, or does not exist; the message suggests a similar one.
    """
    if not _IDENTIFIER.fullmatch(name):
        raise TargetError(f"{name!r} is not a dotted name of a class or function{_by_class_name(name)}")
    if any(part.startswith("__") for part in name.split(".")):
        raise TargetError(f"{name!r} is private")
    if not _allowed(name, allow):
        root = name.split(".")[0]
        raise TargetError(f"{name!r}: the package {root!r} is not allowed here; add it to recipe.allow")
    parts = name.split(".")
    found: Any = None
    depth = 0
    for depth in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:depth])
        try:
            found = importlib.import_module(module)
            break
        except ModuleNotFoundError as error:
            if error.name is None or not (module == error.name or module.startswith(error.name + ".")):
                raise TargetError(f"{name!r}: importing {module} fails: {error}") from error
        except Exception as error:
            raise TargetError(f"{name!r}: importing {module} fails: {type(error).__name__}: {error}") from error
    if found is None:
        raise TargetError(f"{name!r}: there is no package {parts[0]!r} here; is it installed in the image?")
    for number, part in enumerate(parts[depth:], start=depth):
        try:
            found = _attribute(found, part)
        except AttributeError:
            where = ".".join(parts[:number])
            raise TargetError(f"{name!r}: {where} has no {part!r}{_nearest(found, where, part)}") from None
    if isinstance(found, ModuleType):
        raise TargetError(f"{name!r} is a module, not a class or function")
    if not callable(found):
        raise TargetError(f"{name!r} is neither a class nor a function")
    home = getattr(found, "__module__", None)
    if isinstance(home, str) and not _allowed(home, allow):  # such as sklearn.utils.os.system
        raise TargetError(f"{name!r} comes from {home!r}, which is not allowed here; add it to recipe.allow")
    return found


def _attribute(found: Any, part: str) -> Any:
    try:
        return getattr(found, part)
    except ImportError as error:  # scikit-learn's experimental estimators ask for an import that enables them
        enable = re.search(r"from sklearn\.experimental import (enable_\w+)", str(error))
        if enable is None:
            raise AttributeError(part) from error
        importlib.import_module(f"sklearn.experimental.{enable[1]}")
        return getattr(found, part)


def _allowed(name: str, allow: frozenset[str]) -> bool:
    return any(name == each or name.startswith(each + ".") for each in ALLOWED | allow)


def check(node: Any, path: str, allow: Collection[str] = ()) -> list[str]:
    """Every mistake of a document, each as ``path: what is wrong, and what may be meant``."""
    problems: list[str] = []
    _check(node, path, frozenset(allow), problems)
    return problems


def _check(node: Any, path: str, allow: frozenset[str], problems: list[str]) -> None:
    if isinstance(node, list | tuple):
        for number, value in enumerate(node):
            _check(value, f"{path}[{number}]", allow, problems)
        return
    if not isinstance(node, Mapping):
        return
    before = len(problems)
    for key, value in node.items():
        if key != "_target_":
            _check(value, path if key == "_args_" else f"{path}.{key}", allow, problems)
    if "_target_" not in node:
        wrong = [
            key for key in node if isinstance(key, str) and key.strip("_").lower() in ("target", "args", "partial")
        ]
        problems += [f"{path}.{key}: is _{key.strip('_').lower()}_ meant?" for key in wrong if key.startswith("_")]
        return
    name = node["_target_"]
    if not isinstance(name, str):
        problems.append(f"{path}._target_: {name!r} is not a dotted name of a class or function")
        return
    try:
        target = resolve(name, allow)
    except TargetError as error:
        problems.append(f"{path}._target_: {error}")
        return
    if len(problems) > before:
        return  # an argument has a mistake and cannot be built
    problems += _argument_problems(target, name, node, path)
    if name.startswith("sklearn."):
        problems += parameters.unnamed(node, path)
    if len(problems) > before:
        return
    try:
        value = build(node, allow)
        parameters.validate(value)
    except Exception as error:
        told = first_line(_LONG_SET.sub("{...}", str(error)) or type(error).__name__)
        problems.append(f"{path}: {name} does not accept this: {told}")


def _argument_problems(target: Any, name: str, node: Mapping[str, Any], path: str) -> list[str]:
    try:
        signature = inspect.signature(target)
    except (ValueError, TypeError):  # numpy's ufuncs and other C code
        return []
    given = [key for key in node if key not in _SPECIAL]
    known = [
        each.name
        for each in signature.parameters.values()
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    ]
    problems = []
    if not any(each.kind == each.VAR_KEYWORD for each in signature.parameters.values()):
        for key in given:
            if key not in known:
                close = difflib.get_close_matches(str(key), known, 1, 0.5)
                meant = f"is {close[0]!r} meant?" if close else f"it has {', '.join(known) or 'none'}"
                problems.append(f"{path}.{key}: {name} has no argument {key!r}; {meant}")
    if problems:
        return problems
    arguments = node.get("_args_", [])
    if not isinstance(arguments, list | tuple):
        return [f"{path}._args_: must be a list"]
    try:
        bind = signature.bind_partial if node.get("_partial_") else signature.bind
        bind(*arguments, **{key: node[key] for key in given})
    except TypeError as error:
        return [f"{path}: {name}: {error}"]
    return []


def build(node: Any, allow: frozenset[str] = frozenset()) -> Any:
    """Build the objects of a document; each call builds new ones.

    Parameters
    ----------
    node
        A document that `check` found no mistake in.
    allow
        Packages beyond `ALLOWED`.
    """
    if isinstance(node, Mapping):
        if "_target_" not in node:
            return {key: build(value, allow) for key, value in node.items()}
        target = resolve(node["_target_"], allow)
        arguments = [build(value, allow) for value in node.get("_args_", ())]
        options = {
            key: _argument(target, key, build(value, allow)) for key, value in node.items() if key not in _SPECIAL
        }
        if node.get("_partial_"):
            return functools.partial(target, *arguments, **options) if arguments or options else target
        return _with_grid(target(*arguments, **options))
    if isinstance(node, list | tuple):
        return [build(value, allow) for value in node]
    if isinstance(node, str) and _EXPONENT.fullmatch(node):
        return float(node)  # YAML 1.1 reads 1e-3 as text
    return node


def _argument(target: Any, name: str, value: Any) -> Any:
    """Convert lists, and mappings of name to estimator, to the tuples that scikit-learn wants."""
    if name in parameters.NAMED and isinstance(value, dict):
        return list(value.items())
    if isinstance(value, list):
        if name in parameters.NAMED and all(isinstance(each, list) for each in value):
            return [tuple(each) for each in value]
        if _wants_tuple(target, name):
            return tuple(value)
    return value


def _wants_tuple(target: Any, name: str) -> bool:
    kinds = getattr(target, "_parameter_constraints", {}).get(name)
    return (
        isinstance(kinds, list) and tuple in kinds and not any(kind is list or kind == "array-like" for kind in kinds)
    )


def _with_grid(value: Any) -> Any:
    """Convert the candidates of a search to tuples where the parameter wants them (such as ``ngram_range``)."""
    for attribute in ("param_grid", "param_distributions"):
        grid = getattr(value, attribute, None)
        inner = getattr(value, "estimator", None)
        if inner is None or not hasattr(inner, "get_params"):
            continue
        for each in grid if isinstance(grid, list) else [grid]:
            if isinstance(each, dict):
                for name, candidates in each.items():
                    if isinstance(candidates, list) and any(isinstance(one, list) for one in candidates):
                        owner, leaf = _owner(inner, name)
                        if _wants_tuple(type(owner), leaf):
                            each[name] = [tuple(one) if isinstance(one, list) else one for one in candidates]
    return value


def _owner(estimator: Any, name: str) -> tuple[Any, str]:
    path, _, leaf = name.rpartition("__")
    owner = estimator.get_params(deep=True).get(path) if path else estimator
    return owner, leaf


def _nearest(found: Any, where: str, part: str) -> str:
    known = [each for each in dir(found) if not each.startswith("_")]
    known += [each for each in getattr(found, "__all__", []) if isinstance(each, str)]
    close = difflib.get_close_matches(part, known, 1, 0.6)
    if close:
        return f"; is {where}.{close[0]} meant?"
    return _by_class_name(part)


def _by_class_name(name: str) -> str:
    """A hint with the full name of scikit-learn's class of this or a similar name, or an empty text."""
    from sklearn.utils import all_estimators  # imports most of scikit-learn, so only after a mistake

    public = {each: _public(kind) for each, kind in all_estimators()}
    leaf = name.rpartition(".")[2]
    close = [leaf] if leaf in public else difflib.get_close_matches(leaf, public, 1, 0.75)
    return f"; is {public[close[0]]} meant?" if close else ""


def _public(kind: Callable[..., Any]) -> str:
    parts = [each for each in kind.__module__.split(".") if not each.startswith("_")]
    return ".".join([*parts, kind.__name__])
