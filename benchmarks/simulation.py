"""Beyond this machine: a simulation from measured costs, up to 128 cores and 10 million models, and where it ends.

    python -m benchmarks.simulation [--fit-ms 0.7] [--json FILE]

Every cost is a figure that another benchmark measured (`COSTS` says which). Simulated are our packing, Spark's one
thread of scheduling, a task's fixed cost and its spread, the driver's serial phases, and the store's request limit: S3
takes 3,500 writes a second for each partitioned prefix. Not simulated: a network that is full, a store that throttles
while it splits its prefixes, executors that are lost, pods that have yet to start, a driver's disk.
"""

from __future__ import annotations

import argparse
import heapq
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import machine
from job.plan.packing import number_of_tasks, pack


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Seconds, measured on this project's machine; the module's help says what they leave out."""

    fit: float = 0.0007
    """of scikit-learn's fit, per model (benchmarks.table, fit_seconds)"""
    around: float = 0.0020
    """of a core around the fit: read, parse, check, pack, put, record (benchmarks.table, CPU of the workers)"""
    request: float = 0.020
    """of waiting per object read from S3; overlapped, up to 32 reads ahead (assumed, not measured)"""
    ahead: int = 32
    """reads under way at once in a worker"""
    task: float = 0.13
    """of a core per Spark task (docs/decisions/0004-warm-daemon.md)"""
    dispatch: float = 0.0015
    """of the driver's scheduler per task, one after the other"""
    spread: float = 0.10
    """relative standard deviation of a task's speed: neighbours, clocks"""
    list_key: float = 1.8e-5
    """of the driver per key: list, select, compare (benchmarks.driver_scale)"""
    publish_key: float = 1.5e-5
    """of the driver per key: collect, settle, merge, report (benchmarks.driver_scale and index_scale)"""
    start: float = 8.0
    """of a session"""
    puts: float = 3_500.0
    """writes per second and prefix (AWS's documentation)"""


def simulate(models: int, cores: int, costs: Costs, prefixes: int) -> dict[str, Any]:
    """One run from nothing."""
    random = np.random.default_rng(11)
    each = costs.fit + costs.around + max(0.0, costs.request / costs.ahead - costs.fit - costs.around)
    # Groups of a hundred keys are packed as one: a simulation of ten million needs no list of ten million.
    size = max(1, models // 100_000)
    work = each * size * random.lognormal(0.0, 0.5, models // size)
    work *= each * models / work.sum()
    tasks = number_of_tasks(work, cores, local=False)
    load = np.bincount(pack(work, tasks), weights=work, minlength=tasks)
    load = load * np.maximum(0.5, random.normal(1.0, costs.spread, tasks)) + costs.task
    free = [0.0] * cores
    for number, seconds in enumerate(load.tolist()):
        heapq.heapreplace(free, max(free[0], number * costs.dispatch) + seconds)
    fitted = max(free)
    limited = models / (costs.puts * prefixes)
    train = max(fitted, limited)
    serial = models * (costs.list_key + costs.publish_key)
    ideal = models * each / cores
    return {
        "models": models,
        "cores": cores,
        "tasks": tasks,
        "train_seconds": round(train, 1),
        "serial_seconds": round(serial, 1),
        "total_seconds": round(train + serial + costs.start, 1),
        "models_per_second": round(models / (train + serial + costs.start)),
        "efficiency_of_training": round(ideal / train, 3),
        "bound_by": "cores" if fitted >= limited else f"{costs.puts:,.0f} writes/s on {prefixes} prefix(es)",
    }


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit-ms", type=float, default=0.7, help="milliseconds of one fit")
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    costs = Costs(fit=given.fit_ms / 1e3)
    lines = [
        simulate(models, cores, costs, prefixes)
        for models, cores, prefixes in (
            (100_000, 2, 1),
            (100_000, 8, 1),
            (1_000_000, 8, 1),
            (1_000_000, 32, 1),
            (1_000_000, 128, 1),
            (1_000_000, 128, 16),
            (10_000_000, 128, 16),
        )
    ]
    print("| models | cores | S3 prefixes | training s | driver s | all s | models/s | efficiency | bound by |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---|")
    prefixes = (1, 1, 1, 1, 1, 16, 16)
    for line, number in zip(lines, prefixes, strict=True):
        print(
            f"| {line['models']:,} | {line['cores']} | {number} | {line['train_seconds']:,.0f} | "
            f"{line['serial_seconds']:,.0f} | {line['total_seconds']:,.0f} | {line['models_per_second']:,} | "
            f"{line['efficiency_of_training']:.2f} | {line['bound_by']} |"
        )
    if given.json:
        result = {"benchmark": "simulation", "costs": asdict(costs), "machine": machine(), "lines": lines}
        Path(given.json).write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
