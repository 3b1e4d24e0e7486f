"""How much memory does one large partition take? A whole run on one parquet file, against a run on a tiny one.

    python -m benchmarks.large [--megabytes 1000] [--estimator linear] [--folder F] [--json FILE]

The run is ``manyfit run`` with the ``inline`` engine: one process that reads, fits and publishes. What it needed beyond
the tiny run is told as a multiple of the rows' size in memory; the limit is 3.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.environment import REPOSITORY
from benchmarks.measure import end_with_parent, machine

LIMIT = 3.0
FEATURES = 4
ESTIMATORS: dict[str, dict[str, Any]] = {
    "linear": {"_target_": "sklearn.linear_model.LinearRegression"},
    "pipeline": {
        "_target_": "sklearn.pipeline.Pipeline",
        "steps": [
            ["scale", {"_target_": "sklearn.preprocessing.StandardScaler"}],
            ["fit", {"_target_": "sklearn.linear_model.SGDRegressor", "max_iter": 1, "tol": None}],
        ],
    },
}


def write(path: Path, size: int) -> int:
    """A parquet file of numbers that do not compress; returns their size in memory, in bytes."""
    rows, piece = size // (8 * (FEATURES + 1)), 1_000_000
    names = [*(f"x{number}" for number in range(1, FEATURES + 1)), "y"]
    schema = pa.schema([(name, pa.float64()) for name in names])
    random = np.random.default_rng(0)
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, rows, piece):
            X = random.normal(size=(min(piece, rows - first), FEATURES))
            y = X.sum(axis=1) + random.normal(size=len(X))
            writer.write_table(pa.table([*map(pa.array, X.T), pa.array(y)], schema=schema))
    return rows * 8 * (FEATURES + 1)


def peak(folder: Path, estimator: dict[str, Any]) -> tuple[int, float, float]:
    """Peak resident bytes, wall and CPU seconds of a run on a folder."""
    recipe = {"features": [f"x{number}" for number in range(1, FEATURES + 1)], "target": "y", "estimator": estimator}
    document = {
        "input": {"uri": str(folder / "in")},
        "recipe": recipe,
        "output": {"uri": str(folder / "out")},
        "spark": {"master": "inline"},
    }
    (folder / "job.yaml").write_text(json.dumps(document))
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "job.cli.main", "run", "-c", str(folder / "job.yaml")],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        preexec_fn=end_with_parent,
    )
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the run ended with {os.waitstatus_to_exitcode(status)}")
    return used.ru_maxrss * 1024, time.perf_counter() - begin, used.ru_utime + used.ru_stime


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--estimator", choices=list(ESTIMATORS), default="linear")
    parser.add_argument("--folder", help="where the data is made; removed afterwards")
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    found: dict[str, Any] = {}
    for name, size in (("tiny", 100_000), ("large", given.megabytes * 1_000_000)):
        with tempfile.TemporaryDirectory(prefix="manyfit-large-", dir=given.folder) as scratch:
            folder = Path(scratch)
            (folder / "in").mkdir()
            memory = write(folder / "in" / "p.parquet", size)
            file = (folder / "in" / "p.parquet").stat().st_size
            most, wall, cpu = peak(folder, ESTIMATORS[given.estimator])
        found[name] = {"memory": memory, "file": file, "peak": most, "wall": round(wall, 2), "cpu": round(cpu, 2)}
    multiple = (found["large"]["peak"] - found["tiny"]["peak"]) / found["large"]["memory"]
    result = {
        "benchmark": "large",
        "estimator": given.estimator,
        "machine": machine(),
        **found,
        "multiple": round(multiple, 3),
    }
    text = json.dumps(result, indent=1)
    Path(given.json).write_text(text + "\n") if given.json else print(text)
    return int(multiple > LIMIT)


if __name__ == "__main__":
    raise SystemExit(main())
