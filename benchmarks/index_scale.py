"""How long the published table takes at a million keys: release, open, lookup, rollback; and the memory of each.

Run as ``python -m benchmarks.index_scale [--keys 1000000] [--uri FOLDER_OR_S3] [--endpoint URL]``. Each step runs in a
process of its own, so that its peak memory is its own; the JSON on standard output says which machine it was.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa

from job.config.settings import StorageSide
from job.registry.index import CHANGES, PUT, Index
from job.registry.model_set import ModelSet
from job.store import open_store

LIMITS = {
    "release_all_new": (15.0, 2048),
    "release_all_changed": (15.0, 2048),
    "release_1_percent": (15.0, 2048),
    "open": (1.0, None),
    "model_set": (2.0, None),
    "lookup": (1.0, None),
    "rollback": (1.0, None),
}
"""Seconds and MiB that each step may take (issue 6, item 3)."""


def main() -> int:
    """Run every step, print JSON, and end with 1 if a limit was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--uri", help="default a temporary folder")
    parser.add_argument("--endpoint", help="of an S3-compatible server")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        print(json.dumps(STEPS[given.step](_index(given), given.keys)))
        return 0
    temporary = None if given.uri else tempfile.mkdtemp(prefix="manyfit-index-")
    results: dict[str, Any] = {}
    try:
        for name in STEPS:
            command = [sys.executable, "-m", "benchmarks.index_scale", "--step", name, "--keys", str(given.keys)]
            command += ["--uri", given.uri or str(temporary)]
            command += ["--endpoint", given.endpoint] if given.endpoint else []
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found = json.loads(done.stdout)
            seconds, mib = LIMITS.get(name, (None, None))
            within = (seconds is None or found["seconds"] <= seconds) and (mib is None or found["peak_mib"] <= mib)
            results[name] = {**found, "limit_seconds": seconds, "limit_mib": mib, "within": within}
            print(
                f"{name:<20} {found['seconds']:7.2f} s {found['cpu']:7.2f} s CPU {found['peak_mib']:6} MiB",
                file=sys.stderr,
            )
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
    packages = {name: version(name) for name in ("deltalake", "pyarrow", "obstore")}
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0], **packages}
    print(json.dumps({"benchmark": "index_scale", "keys": given.keys, "machine": machine, "steps": results}, indent=1))
    return 0 if all(each["within"] for each in results.values()) else 1


def _index(given: argparse.Namespace) -> Index:
    return Index(open_store(given.uri, StorageSide(endpoint=given.endpoint)))


def _timed(work: Any, **extra: Any) -> dict[str, Any]:
    before = _peak()
    begin, used = time.perf_counter(), time.process_time()
    work()
    seconds, cpu = time.perf_counter() - begin, time.process_time() - used
    return {"seconds": round(seconds, 3), "cpu": round(cpu, 3), "peak_mib": _peak(), "before_mib": before, **extra}


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def rows(keys: int, day: int, step: int = 1) -> pa.Table:
    """Rows as a run makes them, with texts of realistic lengths."""
    random = np.random.default_rng(day)
    numbers = np.arange(0, keys, step)
    count = len(numbers)
    moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)
    key = pa.array([f"store={number // 100:05d}/item={number % 100:03d}" for number in numbers.tolist()])
    score = np.char.add(np.char.add('{"r2": ', random.random(count).round(6).astype("U8")), "}")
    columns: dict[str, Any] = {
        "key": key,
        "state": "live",
        "digest": _hex(random, count),
        "size": random.integers(600, 900, count),
        "rows": random.integers(100, 2000, count),
        "metrics": pa.array(score),
        "seconds": random.random(count),
        "data": _hex(random, count),
        "content": _hex(random, count),
        "recipe": "a" * 64,
        "environment": "b" * 64,
        "versions": json.dumps({"python": "3.12.1", "numpy": "2.2.0", "scikit-learn": "1.6.0", "joblib": "1.4.2"}),
        "source": key,
        "bytes": random.integers(10_000, 90_000, count),
        "run": f"run-{day}",
        "trained_at": moment,
        "listed_at": moment,
        "action": PUT,
    }
    arrays = []
    for field in CHANGES:
        value = columns.get(field.name)
        if value is None or isinstance(value, str | datetime):
            arrays.append(pa.repeat(pa.scalar(value, field.type), count))
        else:
            arrays.append(pa.array(value, field.type) if isinstance(value, np.ndarray) else value)
    return pa.table(arrays, schema=CHANGES)


def _hex(random: np.random.Generator, count: int) -> pa.Array:
    letters = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
    text = letters[random.integers(0, 16, (count, 64), dtype=np.uint8)]
    offsets = np.arange(0, 64 * count + 1, 64, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text.tobytes()))


def _release(index: Index, table: pa.Table, day: int) -> dict[str, Any]:
    return _timed(lambda: index.release(table, run=f"run-{day}", complete=True), rows=table.num_rows)


STEPS = {
    "release_all_new": lambda index, keys: _release(index, rows(keys, 1), 1),
    "release_all_changed": lambda index, keys: _release(index, rows(keys, 2), 2),
    "release_1_percent": lambda index, keys: _release(index, rows(keys, 3, 100), 3),
    "open": lambda index, keys: _timed(lambda: index.read(columns=["key", "state", "digest"])),
    "planning_columns": lambda index, keys: _timed(
        lambda: index.read(
            columns=["key", "state", "digest", "data", "content", "recipe", "environment", "seconds", "gone_since"],
            encoded=["state", "recipe", "environment"],
        )
    ),
    "model_set": lambda index, keys: _timed(lambda: len(ModelSet.open(index.store.uri, storage=index.store.settings))),
    "lookup": lambda index, keys: _timed(lambda: index.read(keys=["store=00077/item=007"])),
    "rollback": lambda index, keys: _timed(lambda: index.rollback(2)),
    "differing": lambda index, keys: _timed(lambda: index.differing(1)),
    "history": lambda index, keys: _timed(lambda: index.history()),
}
"""In the order in which they build on each other."""


if __name__ == "__main__":
    raise SystemExit(main())
