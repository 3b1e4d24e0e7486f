"""Files that are sent with a recipe, and imported or read on executors, which need no files of their own.

``__file__`` of such a module is the path of its file, with the data files of ``recipe.code`` beside it. These are the
original files, if they are unchanged since the recipe was made; else copies in a temporary folder of this process.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import linecache
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

SHIPPED = "_manyfit_file_"
"""Prefix of the names of modules that are made from the text of a file. A model must not refer to such a module."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One Python file that is sent with the recipe."""

    module: str
    """the name of the module"""
    path: str
    """the path as in the settings, for tracebacks"""
    text: str
    """its content"""
    package: bool = False
    """whether it is an ``__init__.py``"""
    home: str = ""
    """the path of the file when the recipe was made; empty for a folder without ``__init__.py``"""


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """A file other than Python that is sent with the recipe."""

    home: str
    """the path of the file when the recipe was made"""
    data: bytes
    """its content"""


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports modules from the texts that were sent with the recipe."""

    def __init__(self) -> None:
        self.sources: dict[str, Source] = {}
        self.files: dict[str, str] = {}
        """the path of each file in this process, by its home"""

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
        module.__file__ = self.files.get(source.home, source.path)
        linecache.cache[source.path] = (len(source.text), None, source.text.splitlines(keepends=True), source.path)
        exec(self.get_code(module.__name__), module.__dict__)  # the user's own code, as `import` would


_FINDER = _Finder()


_COPIES: list[tempfile.TemporaryDirectory[str]] = []
"""Temporary folders, removed when the process ends."""


def ship(sources: Sequence[Source], files: Sequence[DataFile] = ()) -> None:
    """Make the modules importable. They replace modules of the same name from an earlier recipe."""
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
    _FINDER.files |= _places(sources, files)
    for source in sources:
        if _FINDER.sources.get(source.module) != source:
            sys.modules.pop(source.module, None)
            _FINDER.sources[source.module] = source


def _places(sources: Sequence[Source], files: Sequence[DataFile]) -> dict[str, str]:
    """The path of each file in this process, by its home. Files keep their relative places, to find each other."""
    homes = {each.home: each.text.encode() for each in sources if each.home} | {each.home: each.data for each in files}
    if all(_is_there(home, data) for home, data in homes.items()):
        return {home: home for home in homes}
    copy = tempfile.TemporaryDirectory(prefix="manyfit-code-", ignore_cleanup_errors=True)
    _COPIES.append(copy)
    common = os.path.commonpath([os.path.dirname(home) for home in homes])
    places = {home: os.path.join(copy.name, os.path.relpath(home, common)) for home in homes}
    for home, place in places.items():
        os.makedirs(os.path.dirname(place), exist_ok=True)
        Path(place).write_bytes(homes[home])
    return places


def _is_there(home: str, data: bytes) -> bool:
    try:
        # Reading Python files as text has changed \r\n to \n.
        return Path(home).read_bytes().replace(b"\r\n", b"\n") == data.replace(b"\r\n", b"\n")
    except OSError:
        return False


def is_shipped(module: str) -> bool:
    """Whether a module was sent with a recipe. A model must not refer to such a module."""
    return module.startswith(SHIPPED) or module in _FINDER.sources
