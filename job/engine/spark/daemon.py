"""A warm worker daemon for PySpark: ``spark.python.daemon.module=job.engine.spark.daemon``.

Spark forks its Python workers from a daemon, and every Python task costs about 0.6 s of CPU before the user's code
runs (measured; docs/decisions/0004-warm-daemon.md). Three quarters of it go into reading the directory of
``pyspark.zip`` again (``importlib.invalidate_caches``), one quarter into a full garbage collection of a heap with
all of scikit-learn. This module removes Spark's zip files from ``sys.path`` if the same version is installed, imports
once what every task needs, and freezes the heap. If the versions differ, the zip files stay.
"""

from __future__ import annotations

import sys
from pathlib import Path


def _same_version_installed(zips: list[str]) -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        installed = version("pyspark")
    except PackageNotFoundError:
        return False
    for entry in zips:
        home = Path(entry).parents[2]
        # The zip of the installed distribution itself is fine; that of a Spark home must have the same version.
        if "site-packages" in home.parts or "dist-packages" in home.parts:
            continue
        release = home / "RELEASE"
        if not (release.is_file() and installed in release.read_text()):
            return False
    return True


def _is_spark_zip(entry: str) -> bool:
    name = Path(entry).name
    return name == "pyspark.zip" or (name.startswith("py4j-") and name.endswith(".zip"))


def prune(path: list[str]) -> list[str]:
    """``sys.path`` without Spark's zip files; the unchanged list if no pyspark, or another version, is installed."""
    zips = [entry for entry in path if _is_spark_zip(entry)]
    if not zips or not _same_version_installed(zips):
        return path
    return [entry for entry in path if entry not in zips]


def warm() -> None:
    """Import the modules that every task and Spark's Python worker need."""
    import pyspark.worker  # noqa: F401

    from job.worker import warm

    warm.warm()


def main() -> None:
    """Do the imports, then run Spark's own daemon."""
    before = list(sys.path)
    sys.path[:] = prune(sys.path)
    if sys.path != before:
        for entry in list(sys.path_importer_cache):
            if _is_spark_zip(entry.rstrip("/")) or ".zip/" in entry:
                del sys.path_importer_cache[entry]
    from pyspark import daemon

    warm()
    daemon.manager()  # type: ignore[no-untyped-call,unused-ignore]


if __name__ == "__main__":
    main()
