"""The versions of Spark that `uv.lock` holds: the newest, and the oldest line that is supported."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def sparks() -> list[str]:
    """Versions of pyspark in the lock, the oldest first."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    found = {str(each["version"]) for each in packages if each["name"] == "pyspark"}
    return sorted(found, key=lambda version: [int(part) for part in version.split(".")])
