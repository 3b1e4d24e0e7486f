"""Programs that tests use and do not build themselves: helm, promtool and versitygw.

Where ``tests/e2e/cluster/tools.py`` puts what it builds is said in one place, `tests/e2e/cluster/place.py`, which is loaded here
by its path because the cluster's programs are no package (they run with the system's Python).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.support.script import script

CLUSTER = Path(__file__).resolve().parents[1] / "e2e/cluster"


def cache(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder in which tools and images are kept."""
    found: Path = script(CLUSTER / "place.py").cache(environ)
    return found


def find_helm(environ: Mapping[str, str] = os.environ) -> str | None:
    """``$HELM``, the one on the path, or the one that ``make tools`` built."""
    return _found("helm", environ)


def find_promtool(environ: Mapping[str, str] = os.environ) -> str | None:
    """``$PROMTOOL``, the one on the path, or the one that ``make tools`` built."""
    return _found("promtool", environ)


def _found(name: str, environ: Mapping[str, str]) -> str | None:
    built = cache(environ) / "bin" / name
    on_path = shutil.which(name, path=environ.get("PATH"))
    return environ.get(name.upper()) or on_path or (str(built) if built.exists() else None)


def find_versitygw(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The versitygw that was built last."""
    found = sorted(cache(environ).glob("tools/versitygw-*/versitygw"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None
