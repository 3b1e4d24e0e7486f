"""Each program of benchmarks/ is started small: that it runs and prints figures, not what they are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SCORERS = "floor,set,manyfit,manyfit-all,joblib,spark"
SMALL = {
    "gate": [],
    "score_fleet": ["--keys", "8", "--rows", "20", "--rounds", "1", "--store", "folder", "--only", SCORERS],
    "score_unchanged": ["--keys", "400"],
    "replacing": ["--keys", "60", "--rows", "20"],
    "one_table": ["--keys", "20", "--rows", "20", "--files", "2", "--rounds", "1", "--only", "manyfit"],
    "table_shapes": ["--scale", "0.005"],
    "driver_scale": ["--keys", "300", "--cores", "2"],
    "index_scale": ["--keys", "400"],
    "laptop": ["--rounds", "1", "--parts"],
    "simulation": [],
    "skew": ["--keys", "300"],
    "worker_memory": ["--models", "300", "--rows", "20"],
    "cold": ["--parts", "--rounds", "1"],
    "large": ["--megabytes", "2"],
    "per_task": ["--tasks", "4"],
    "cores": ["--rounds", "1", "--models", "6", "--shape", "wide"],
}
"""Programs that need nothing but Python and Java, with arguments that make them small."""
ELSEWHERE = {
    "table": "run by `make bench-guard`; needs an S3 server that Go builds",
    "scale": "runs the others",
    "sparks": "needs the environment of the oldest Spark; `make test-spark-oldest` makes it",
    "contender": "a process of `table`",
    "latency": "a process of `table`",
    "environment": "locks the packages of the peers",
    "mlflow_bridge": "needs the environment of `make mlflow`",
    "listing": "needs a server of its own: a part of `scale`",
}


def programs() -> set[str]:
    found = (REPOSITORY / "benchmarks").glob("*.py")
    return {path.stem for path in found if '__name__ == "__main__"' in path.read_text(encoding="utf-8")}


def test_every_program_is_started_here_or_says_where() -> None:
    assert programs() == SMALL.keys() | ELSEWHERE.keys()


@pytest.mark.bench
@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_program_runs_and_prints_figures(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *SMALL[name]],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=600,
    )

    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    assert re.search(r"\d", done.stdout)
