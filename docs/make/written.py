"""Files that a program of this folder makes: written, or with ``--check`` only compared."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path


def written(files: Mapping[str, Callable[[], str]], folder: Path, arguments: list[str], command: str) -> int:
    """Write the files that differ from what is made; with ``--check`` name them, and return 1 if there are any.

    Parameters
    ----------
    files
        For each name in ``folder`` a function that makes the text.
    folder
        A folder two levels below the repository.
    arguments
        Of the command line.
    command
        What writes them, beside ``make docs``.
    """
    stale = 0
    for name, make in files.items():
        text, path = make(), folder / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        shown = path.relative_to(folder.parents[1]).as_posix()
        if "--check" in arguments:
            print(f"{shown} is stale: run `make docs`, or {command}", file=sys.stderr)
        else:
            path.write_text(text, encoding="utf-8")
            print(f"{shown}: written")
    return 1 if stale and "--check" in arguments else 0
