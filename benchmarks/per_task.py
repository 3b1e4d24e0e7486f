"""What a Python task of Spark costs by itself: tasks that do nothing, with our worker daemon and with Spark's.

    python -m benchmarks.per_task [--tasks 64] [--json FILE]

CPU seconds per task by program, from the difference between many tasks and few in a warm session.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.measure import adopt_orphans, machine, tree_cpu_by_name

FEW = 4


def nothing(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """A task whose heap holds what a fit needs, and that does nothing with it."""
    import sklearn.linear_model  # noqa: F401

    yield from batches


def session(daemon: str, tasks: int) -> dict[str, float]:
    """In this process: CPU and wall seconds per task."""
    from benchmarks.per_task import nothing as task  # by its module: `__main__` does not reach the workers
    from job.config.settings import JobSettings
    from job.engine.spark.session import SparkEngine

    adopt_orphans()
    conf = {"spark.python.daemon.module": daemon}
    settings = {"input": {"uri": "/i"}, "recipe": {"function": "m:f"}, "output": {"uri": "/o"}}
    engine = SparkEngine(JobSettings.model_validate({**settings, "spark": {"master": "local[2,4]", "conf": conf}}))

    def run(count: int) -> tuple[dict[str, float], float]:
        before, begin = tree_cpu_by_name(os.getpid()), time.perf_counter()
        engine.session.range(0, count, 1, count).mapInPandas(task, "id long").collect()
        after = tree_cpu_by_name(os.getpid())
        return {name: after[name] - before.get(name, 0.0) for name in after}, time.perf_counter() - begin

    for _ in range(3):
        run(FEW)
    found: dict[str, list[float]] = {"python": [], "java": [], "wall": []}
    for _ in range(3):
        few, few_wall = run(FEW)
        many, many_wall = run(FEW + tasks)
        for name in ("python", "java"):
            of = [sum(v for program, v in cpu.items() if program.startswith(name)) for cpu in (few, many)]
            found[name].append((of[1] - of[0]) / tasks)
        found["wall"].append((many_wall - few_wall) / tasks)
    engine.stop()
    return {name: round(statistics.median(values), 4) for name, values in found.items()}


def main() -> int:
    """The command."""
    if sys.argv[1:2] == ["--session"]:
        print(json.dumps(session(sys.argv[2], int(sys.argv[3]))))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=64)
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    found: dict[str, Any] = {}
    for daemon in ("job.engine.spark.daemon", "pyspark.daemon"):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.per_task", "--session", daemon, str(given.tasks)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        found[daemon] = json.loads(done.stdout.strip().splitlines()[-1])
    print("| worker daemon | Python CPU s a task | JVM CPU s a task | wall s a task |\n|---|---:|---:|---:|")
    for daemon, line in found.items():
        print(f"| {daemon} | {line['python']:.3f} | {line['java']:.3f} | {line['wall']:.3f} |")
    if given.json:
        result = {"benchmark": "per_task", "tasks": given.tasks, "machine": machine(), "daemons": found}
        Path(given.json).write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
