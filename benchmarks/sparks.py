"""Two versions of Spark side by side: a session with a first job, and the demo, in turns.

    make test-spark-oldest ARGS=--collect-only    # makes the environment with the oldest Spark
    python -m benchmarks.sparks [--rounds 5] [--json FILE]

Every part is a process of its own. Its CPU seconds count all that it started: the JVM and Spark's Python workers.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import environment
from benchmarks.cold import SESSION
from benchmarks.measure import adopt_orphans, machine, tree_cpu

PARTS = {
    "a session and a first job, archive of classes made": ["-c", SESSION],
    "the demo": ["-m", "job.cli.main", "demo"],
}


def once(python: str, arguments: list[str], cache: str) -> dict[str, float]:
    """Wall and CPU seconds of one process."""
    begin, before = time.perf_counter(), tree_cpu(os.getpid())
    subprocess.run(
        [python, *arguments],
        check=True,
        cwd=environment.REPOSITORY,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "XDG_CACHE_HOME": cache},
    )
    return {"wall": time.perf_counter() - begin, "cpu": tree_cpu(os.getpid()) - before}


def version(python: str) -> str:
    """The Spark of an interpreter."""
    code = "from importlib.metadata import version; print(version('pyspark'))"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def compared(pythons: dict[str, str], rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Medians of each part for each Spark, measured in turns."""
    found: dict[str, dict[str, list[dict[str, float]]]] = {part: {name: [] for name in pythons} for part in PARTS}
    with tempfile.TemporaryDirectory(prefix="manyfit-sparks-") as cache:
        for python in pythons.values():
            for _ in range(2):  # the second one makes the archive of classes
                once(python, ["-c", SESSION], cache)
        for number in range(rounds):
            for part, arguments in PARTS.items():
                # The first in one round is the last in the next one.
                for name in pythons if number % 2 else reversed(pythons):
                    found[part][name].append(once(pythons[name], arguments, cache))
                    print(f"round {number + 1}, {part}, {name}: {found[part][name][-1]}", file=sys.stderr, flush=True)
    return {
        part: {
            name: {what: round(statistics.median(each[what] for each in lines), 2) for what in ("wall", "cpu")}
            for name, lines in by_name.items()
        }
        for part, by_name in found.items()
    }


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--oldest", default=str(environment.REPOSITORY / ".venv-spark-oldest/bin/python"))
    parser.add_argument("--newest", default=sys.executable)
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    adopt_orphans()
    pythons = {version(python): python for python in (given.oldest, given.newest)}
    if len(pythons) < 2:
        raise SystemExit(f"both environments have Spark {next(iter(pythons))}")
    found = compared(pythons, given.rounds)
    oldest, newest = pythons
    print("| part | Spark | wall s | CPU s |\n|---|---|---:|---:|")
    for part, lines in found.items():
        for name, line in lines.items():
            print(f"| {part} | {name} | {line['wall']:.2f} | {line['cpu']:.2f} |")
        ratio = {what: lines[newest][what] / lines[oldest][what] for what in ("wall", "cpu")}
        print(f"| | ratio | {ratio['wall']:.2f} | {ratio['cpu']:.2f} |")
    if given.json:
        result: dict[str, Any] = {"benchmark": "sparks", "rounds": given.rounds, "machine": machine(), "parts": found}
        Path(given.json).write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
