"""Does a worker grow? Resident memory of one worker over many models, task after task in one process.

    python -m benchmarks.worker_memory [--models 100000] [--rows 100] [--json FILE]

The objects are made on the fly and the models are thrown away, so that only what the worker itself keeps is seen. The
slope is fitted on the second half, after every cache is warm.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa

from benchmarks import data
from benchmarks.measure import machine, resident
from job import run_paths
from job.arrow import decode, encode
from job.config.settings import JobSettings
from job.outcome import SCHEMA
from job.run.assembly import assemble
from job.store.base import Reserve
from job.worker.direct import work_on
from job.worker.training import Training
from job.worker.work import TASK_SCHEMA, Work

_OBJECTS = 64


class _Input:
    """Any name is one of a few objects."""

    def __init__(self, blobs: list[bytes]) -> None:
        self._blobs = blobs

    def get(self, name: str, *, if_match: str | None = None) -> bytes:
        return self._blobs[int(name[1:9]) % len(self._blobs)]


class _Output:
    """Takes task lists for a while, and everything else for nothing; counts outcomes."""

    def __init__(self) -> None:
        self.lists: dict[str, bytes] = {}
        self.trained = 0

    def get(self, name: str) -> bytes:
        return self.lists.pop(name)

    def ensure(self, name: str, value: bytes) -> bool:
        if "/segments/" in name:
            rows = decode(value)
            assert rows.schema == SCHEMA
            self.trained += rows["status"].to_pylist().count("trained")
        return True

    create = ensure

    def reserve(self, size: int) -> Reserve:
        """Nothing fills up here."""
        return Reserve()


def _task(work: Work, output: _Output, number: int, size: int) -> None:
    keys = [f"p{number * size + at:08d}" for at in range(size)]
    rows = [
        {"key": key, "data": "d" * 64, "bytes": 1000, "objects": [{"name": f"{key}.csv.gz", "etag": None}]}
        for key in keys
    ]
    table = pa.Table.from_pylist(rows, schema=TASK_SCHEMA)
    output.lists[run_paths.task_list(work.run, work.plan, number)] = encode(table)
    work_on(work, number, 0, expendable=False)


def measure(models: int, rows: int, estimator: dict[str, Any]) -> dict[str, Any]:
    """Train, and look at the process after each task."""
    shape = data.Shape(name="small", partitions=_OBJECTS, rows=rows)
    blobs = [blob for _, blob in data.objects(shape)]
    settings = JobSettings.model_validate(
        {
            "input": {"uri": "/nowhere/in"},
            "recipe": {"features": shape.columns, "target": "y", "estimator": estimator},
            "output": {"uri": "/nowhere/out"},
        }
    )
    output = _Output()
    assembly = assemble(settings)
    work = Work(
        run="bench",
        plan="0" * 12,
        input=cast(Any, _Input(blobs)),
        output=cast(Any, output),
        operation=Training(
            fitting=assembly.fitting,
            recipe=assembly.fingerprints.recipe,
            environment=assembly.fingerprints.environment,
        ),
        hive=False,
        timeout=None,
        memory=None,
    )
    size = min(2_000, max(100, models // 20))
    seen: list[tuple[int, int]] = []
    begin, cpu = time.perf_counter(), time.process_time()
    for number in range(models // size):
        _task(work, output, number, size)
        gc.collect()
        seen.append(((number + 1) * size, resident(os.getpid())))
    seconds, used = time.perf_counter() - begin, time.process_time() - cpu
    half = seen[len(seen) // 2 :]
    slope = float(np.polyfit([count for count, _ in half], [size for _, size in half], 1)[0])
    return {
        "models": output.trained,
        "rows": rows,
        "bytes_per_model": round(slope, 1),
        "resident_mib": {"first_task": seen[0][1] >> 20, "half": half[0][1] >> 20, "end": seen[-1][1] >> 20},
        "seconds": round(seconds, 1),
        "cpu_ms_per_model": round(used / max(1, output.trained) * 1e3, 3),
    }


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    result = {"benchmark": "worker_memory", "machine": machine(), **measure(given.models, given.rows, data.LINEAR)}
    text = json.dumps(result, indent=1)
    Path(given.json).write_text(text + "\n") if given.json else print(text)
    return 0 if result["bytes_per_model"] < 1000 else 1


if __name__ == "__main__":
    raise SystemExit(main())
