"""The Go modules that hold the originals of what is kept here: the operator's CRDs, Kubernetes' types and its fixtures."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from tests.chart.rendering import ROOT
from tests.support.script import script


def refresh() -> ModuleType:
    """deploy/helm/schemas/refresh.py, which names the modules and their versions."""
    return script(ROOT / "deploy/helm/schemas/refresh.py")


def module(version: str) -> Path:
    """The folder of a module, downloaded if need be: a check that waits for somebody else's download checks nothing."""
    if not shutil.which("go"):
        pytest.skip("Go is not there")
    try:
        found: Path = refresh().module(version)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the Go module {version} cannot be downloaded: {error.stdout.strip()[-300:]}")
    return found
