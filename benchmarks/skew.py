"""Skew: sizes after Zipf(1.1), our packing against hash grouping, simulated from costs per byte and measured.

    python -m benchmarks.skew [--keys 10000] [--json FILE]

Makespan over the best possible one, max(total / cores, largest). Hash grouping is Spark's: a key's partition is its
Murmur3 hash modulo the number of shuffle partitions, partitions go to cores as they become free.
"""

from __future__ import annotations

import argparse
import heapq
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import machine
from job.plan.packing import number_of_tasks, pack

_MASK = 0xFFFFFFFF


def murmur3(text: str, seed: int = 42) -> int:
    """Spark's hash of a string, signed."""
    data = text.encode()
    value = seed
    whole = len(data) // 4 * 4
    words = [int.from_bytes(data[at : at + 4], "little") for at in range(0, whole, 4)]
    words += [byte - 256 if byte > 127 else byte for byte in data[whole:]]
    for word in words:
        mixed = (word * 0xCC9E2D51) & _MASK
        mixed = ((mixed << 15) | (mixed >> 17)) & _MASK
        value ^= (mixed * 0x1B873593) & _MASK
        value = ((value << 13) | (value >> 19)) & _MASK
        value = (value * 5 + 0xE6546B64) & _MASK
    value ^= len(data)
    value = ((value ^ (value >> 16)) * 0x85EBCA6B) & _MASK
    value = ((value ^ (value >> 13)) * 0xC2B2AE35) & _MASK
    value ^= value >> 16
    return value - (1 << 32) if value > 0x7FFFFFFF else value


def makespan(loads: Sequence[float], cores: int) -> float:
    """Tasks in their order, each to the core that is free first."""
    free = [0.0] * cores
    for load in loads:
        heapq.heapreplace(free, free[0] + load)
    return max(free)


def loads(costs: np.ndarray, assigned: np.ndarray, tasks: int) -> list[float]:
    """The cost of each task."""
    found: list[float] = np.bincount(assigned, weights=costs, minlength=tasks).tolist()
    return found


def simulate(keys: int, cores: int, exponent: float, per_task: float) -> dict[str, Any]:
    """Our packing and hash grouping, on one set of costs."""
    costs = 2.0 / np.arange(1, keys + 1) ** exponent * keys / 200 + 0.004
    costs = np.random.default_rng(3).permutation(costs)
    best = max(costs.sum() / cores, costs.max())
    tasks = number_of_tasks(costs, cores, local=False)
    ours = [load + per_task for load in loads(costs, pack(costs, tasks), tasks)]
    hashes = np.array([murmur3(f"p{number:06d}") for number in range(keys)])
    found: dict[str, Any] = {"cores": cores, "keys": keys, "tasks": tasks, "ours": makespan(ours, cores) / best}
    for name, partitions in (("hash_200", 200), ("hash_1_per_core", cores), ("hash_4_per_core", 4 * cores)):
        grouped = [load + per_task for load in loads(costs, np.mod(hashes, partitions), partitions)]
        found[name] = makespan(grouped, cores) / best
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in found.items()}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--exponent", type=float, default=1.1)
    parser.add_argument("--per-task", type=float, default=0.13, help="seconds that a Spark task costs by itself")
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    lines = [simulate(given.keys, cores, given.exponent, given.per_task) for cores in (2, 8, 32, 128)]
    print("| cores | Spark tasks | this job | hash, 200 partitions | hash, 1 a core | hash, 4 a core |")
    print("|---:|---:|---:|---:|---:|---:|")
    for line in lines:
        cells = [line[name] for name in ("cores", "tasks", "ours", "hash_200", "hash_1_per_core", "hash_4_per_core")]
        print("| " + " | ".join(map(str, cells)) + " |")
    if given.json:
        result = {"benchmark": "skew", "exponent": given.exponent, "machine": machine(), "lines": lines}
        Path(given.json).write_text(json.dumps(result, indent=1) + "\n")
    return 0 if all(line["ours"] <= 1.10 for line in lines) else 1


if __name__ == "__main__":
    raise SystemExit(main())
