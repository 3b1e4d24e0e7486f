"""The peers' own environment: Ray, Dask and Fugue are installed for the benchmark only, with our versions."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PEERS = (
    "ray[data]==2.60.0",
    "aiohttp==3.14.5",  # ray.data reads csv through fsspec, which wants it
    "dask[dataframe]==2026.8.0",
    "distributed==2026.8.0",
    "fugue==0.9.7",
)
SHARED = ("pyspark", "pandas", "pyarrow", "numpy", "scikit-learn", "scipy", "joblib", "boto3", "obstore")


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
    from importlib.metadata import version

    wanted = [*PEERS, *(f"{name}=={version(name)}" for name in SHARED)]
    key = hashlib.sha256("\n".join([*wanted, sys.version]).encode()).hexdigest()[:16]
    folder = cache() / "bench" / f"peers-{key}"
    python = folder / "bin" / "python"
    if python.exists():
        return str(python)
    own = REPOSITORY / ".tools" / "uv" / "bin" / "uv"  # where make puts it
    uv = shutil.which("uv") or (str(own) if own.exists() else None)
    if uv is None:
        raise RuntimeError("uv is not there to install the peers with")
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".peers-", dir=folder.parent))
    try:
        for command in (
            [uv, "venv", "-q", "--clear", "--relocatable", "--python", sys.executable, str(unfinished)],
            [uv, "pip", "install", "-q", "--python", str(unfinished / "bin" / "python"), *wanted],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"the peers cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return str(python)
