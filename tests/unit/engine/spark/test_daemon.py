"""The warm daemon: which of Spark's zip files it leaves out, and that it has one thread when it forks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyspark
import pytest

from job.engine.spark import daemon
from tests.support.skips import DOES_NOT_APPLY

ALLOCATOR = "jemalloc_bg_thd"
"""Arrow's memory allocator keeps a thread, which it stops before a fork and starts again after it."""


def zips(home: Path) -> list[str]:
    lib = home / "python" / "lib"
    return [str(lib / "pyspark.zip"), str(lib / "py4j-0.10.9.9-src.zip")]


@pytest.mark.parametrize("release", [f"Spark {pyspark.__version__} built for Hadoop", None])
def test_sparks_zip_files_are_left_out_where_the_same_version_is_installed(tmp_path: Path, release: str | None) -> None:
    home = tmp_path if release else tmp_path / "site-packages" / "pyspark"
    home.mkdir(parents=True, exist_ok=True)
    if release:
        (home / "RELEASE").write_text(release)
    assert daemon.prune(["/code", *zips(home), "/code/own.zip"]) == ["/code", "/code/own.zip"]


@pytest.mark.parametrize("release", ["Spark 3.5.1 built for Hadoop", None])
def test_the_path_stays_as_it_is_where_another_version_is_installed(tmp_path: Path, release: str | None) -> None:
    if release:
        (tmp_path / "RELEASE").write_text(release)
    path = ["/code", *zips(tmp_path)]
    assert daemon.prune(path) == path


def test_what_the_daemon_imports_leaves_it_one_thread_to_fork_from() -> None:
    if sys.platform != "linux":
        pytest.skip(f"{DOES_NOT_APPLY}threads are counted by Linux's /proc")
    code = (
        "import os; from job.engine.spark import daemon; daemon.warm();"
        "print(*[open(f'/proc/self/task/{each}/comm').read().strip() for each in os.listdir('/proc/self/task')])"
    )
    # As Spark starts it (job.engine.spark.session).
    alone = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **alone}, capture_output=True, text=True, check=True
    )
    assert len([each for each in done.stdout.split() if each != ALLOCATOR]) == 1, done.stdout
