"""Python files that travel with a recipe as text and are imported from it: executors need no file."""

from __future__ import annotations

import importlib.abc
import importlib.util
import linecache
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

SHIPPED = "_manyfit_file_"
"""Start of the name of a module that is made from a file's text; a model must not refer to one."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One Python file that travels with the recipe."""

    module: str
    """the name it is imported by"""
    path: str
    """as the user wrote it, for tracebacks"""
    text: str
    """its content"""
    package: bool = False
    """whether it is an ``__init__.py``"""


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports modules from texts that travelled with the recipe."""

    def __init__(self) -> None:
        self.sources: dict[str, Source] = {}

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> Any:
        source = self.sources.get(fullname)
        if source is None:
            return None
        return importlib.util.spec_from_loader(fullname, self, origin=source.path, is_package=source.package)

    def get_source(self, fullname: str) -> str:
        return self.sources[fullname].text

    def is_package(self, fullname: str) -> bool:
        return self.sources[fullname].package

    def get_code(self, fullname: str) -> Any:
        source = self.sources[fullname]
        return compile(source.text, source.path, "exec")

    def exec_module(self, module: ModuleType) -> None:
        source = self.sources[module.__name__]
        module.__file__ = source.path
        linecache.cache[source.path] = (len(source.text), None, source.text.splitlines(keepends=True), source.path)
        exec(self.get_code(module.__name__), module.__dict__)  # the user's own code, as `import` would


_FINDER = _Finder()


def ship(sources: Sequence[Source]) -> None:
    """Make the modules importable; those of an earlier recipe with other texts are forgotten."""
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
    for source in sources:
        if _FINDER.sources.get(source.module) != source:
            sys.modules.pop(source.module, None)
            _FINDER.sources[source.module] = source


def is_shipped(module: str) -> bool:
    """Whether a module exists only because a recipe brought it along: a model must not refer to it."""
    return module.startswith(SHIPPED) or module in _FINDER.sources
