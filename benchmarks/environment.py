"""The peers' own environment: Ray, Dask and Fugue are installed for the benchmark only, as locked, with our versions.

uv run python -m benchmarks.environment      lock peers.in to peers.lock anew
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
WANTED, LOCK = (REPOSITORY / "benchmarks" / name for name in ("peers.in", "peers.lock"))
SHARED = ("pyspark", "pandas", "pyarrow", "numpy", "scikit-learn", "scipy", "joblib", "boto3", "obstore")
"""Packages that the peers have as this project has them locked, so that everybody computes with the same."""
FOLLOWING = ("botocore", "s3transfer", "py4j")
"""Packages whose versions follow from those of `SHARED`."""


def cache() -> Path:
    """Where expensive things that depend only on pins are kept."""
    from tests.support import built

    return built.cache()


def peers_python() -> str:
    """The interpreter that has the peers, made at the first call.

    Raises
    ------
    RuntimeError
        The packages cannot be installed; the text says why.
    """
    ours = _ours()
    key = hashlib.sha256("\n".join([LOCK.read_text(), *ours, sys.version]).encode()).hexdigest()[:16]
    folder = cache() / "bench" / f"peers-{key}"
    python = folder / "bin" / "python"
    if python.exists():
        return str(python)
    uv = _uv()
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".peers-", dir=folder.parent))
    try:
        _call([uv, "venv", "-q", "--clear", "--relocatable", "--python", sys.executable, str(unfinished)])
        # All is pinned. Without --no-deps uv asks each package for its dependencies; where the index allows no caching
        # it then downloads and builds pyspark, which has no wheel, twice: 3 GB in its cache each time.
        pinned = [*ours, *_pinned(FOLLOWING)]
        python_there = str(unfinished / "bin" / "python")
        _call([uv, "pip", "install", "-q", "--no-deps", "--python", python_there, "-r", str(LOCK), *pinned])
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return str(python)


def lock() -> None:
    """Write the lock file: every package of the peers but those that follow from our own versions."""
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch) / "peers.in"
        wanted.write_text("\n".join([WANTED.read_text(), *_ours()]))
        left_out = [option for name in (*SHARED, *FOLLOWING) for option in ("--no-emit-package", name)]
        plain = ["--quiet", "--no-annotate", "--no-header", "--python", sys.executable, "--output-file", str(LOCK)]
        _call([_uv(), "pip", "compile", str(wanted), *plain, *left_out])


def _ours() -> list[str]:
    return _pinned(SHARED)


def _pinned(names: Iterable[str]) -> list[str]:
    return [f"{name}=={version(name)}" for name in names]


def _uv() -> str:
    own = REPOSITORY / ".tools" / "uv" / "bin" / "uv"  # where make puts it
    found = shutil.which("uv") or (str(own) if own.exists() else None)
    if found is None:
        raise RuntimeError("uv is not there to install the peers with")
    return found


def _call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the peers cannot be installed: {done.stderr.strip().splitlines()[-1:]}")


if __name__ == "__main__":
    lock()
