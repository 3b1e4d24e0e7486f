"""One core against two on slow fits, with a folder as the store; and how much of the core time is inside the fit.

    python -m benchmarks.cores [--rounds 2] [--shape forest] [--models 150] [--no-metrics] [--json FILE]

Warm sessions of ``local[1]`` and ``local[2]`` take turns. Efficiency is the time of one core over twice that of two.
Enough models for a run's constant half second of CPU to be a small part; with ``--no-metrics`` the recipe asks
for no in-sample score, so that the model is not made to predict its own training rows.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import data
from benchmarks.contender import Contender, Round
from benchmarks.measure import machine


def measure(shape: data.Shape, rounds: int, *, metrics: bool = True) -> dict[str, Any]:
    """Both sessions, interleaved."""
    with tempfile.TemporaryDirectory(prefix="manyfit-cores-") as folder:
        source = Path(folder, "in")
        source.mkdir()
        sizes = data.upload(shape, lambda name, blob: (source / name).write_bytes(blob) and None)
        work: dict[str, Any] = {
            "bucket": "",
            "prefix": "",
            "names": sorted(sizes),
            "columns": shape.columns,
            "estimator": shape.estimator,
            "format": shape.format,
            "folder": str(source),
            "options": {"store": "folder", "target": folder},
        }
        if not metrics:
            recipe = {"features": shape.columns, "target": "y", "estimator": shape.estimator, "metrics": []}
            work["options"]["settings"] = {"recipe": recipe}
        running = {
            cores: Contender(
                f"local[{cores}]",
                "benchmarks.manyfit",
                {**work, "cores": cores},
                python=sys.executable,
                environment={},
                log=Path(folder, f"{cores}.log"),
            )
            for cores in (1, 2)
        }
        seen: dict[int, list[Round]] = {1: [], 2: []}
        try:
            for each in running.values():
                each.ready(180)
            for number in range(-1, rounds):
                for cores, each in running.items():
                    done = each.round(f"out/{cores}/{number}", 600, os.getpid())
                    print(f"round {number}, {cores} cores: {done}", file=sys.stderr, flush=True)
                    if number >= 0:
                        seen[cores].append(done)
        finally:
            for each in running.values():
                each.close()
    return summary(seen)


def summary(seen: dict[int, list[Round]]) -> dict[str, Any]:
    """Medians."""
    found: dict[str, Any] = {}
    for cores, rounds in seen.items():
        train = [float(each.detail["phases"]["train"]) for each in rounds]
        fit = [float(each.detail["fit_seconds"]) for each in rounds]
        found[f"{cores}_cores"] = {
            "wall": round(statistics.median(each.wall for each in rounds), 3),
            "train": round(statistics.median(train), 3),
            "cpu": round(statistics.median(each.cpu for each in rounds), 3),
            "fit_share_of_core_time": round(
                statistics.median(f / (cores * t) for f, t in zip(fit, train, strict=True)), 3
            ),
            "fit_share_of_cpu": round(statistics.median(f / each.cpu for f, each in zip(fit, rounds, strict=True)), 3),
        }
    one, two = found["1_cores"], found["2_cores"]
    found["efficiency_wall"] = round(one["wall"] / (2 * two["wall"]), 3)
    found["efficiency_train"] = round(one["train"] / (2 * two["train"]), 3)
    return found


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--shape", choices=list(data.SHAPES), default="forest")
    parser.add_argument("--models", type=int, default=150)
    parser.add_argument("--no-metrics", action="store_true", help="recipe.metrics: []")
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    begun = machine()
    shape = replace(data.SHAPES[given.shape], partitions=given.models)
    result = {
        "benchmark": "cores",
        "machine": begun,
        "models": given.models,
        "metrics": not given.no_metrics,
        **measure(shape, given.rounds, metrics=not given.no_metrics),
    }
    text = json.dumps(result, indent=1)
    Path(given.json).write_text(text + "\n") if given.json else print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
