"""The driver at a million keys: planning, a run with nothing changed, one with 1 % changed; seconds, memory, requests.

    python -m benchmarks.driver_scale [--keys 1000000] [--json FILE]

Everything of a run happens but the fits: an engine of its own has other processes write the outcomes that workers would
have written. Objects are listed from a fast server, the output is a folder. Each run is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from benchmarks.data import LINEAR
from benchmarks.listing import BUCKET, PREFIX
from benchmarks.measure import end_with_parent, machine
from benchmarks.server import free_port

RUNS = ("plan", "first", "unchanged", "changed")
_SEGMENT = 512
"""outcomes in a segment, as workers write them"""


@contextmanager
def listing(keys: int, changed: int = 0) -> Iterator[str]:
    """The listing server; its endpoint."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.listing", str(port), str(keys), str(changed)],
        stdout=subprocess.PIPE,
        preexec_fn=end_with_parent,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def document(endpoint: str, output: str) -> dict[str, Any]:
    """The job."""
    return {
        "name": "scale",
        "input": {"uri": f"s3://{BUCKET}/{PREFIX}"},
        "recipe": {"features": ["x1"], "target": "y", "estimator": LINEAR},
        "output": {"uri": output},
        "storage": {"input": {"endpoint": endpoint, "path_style": True}},
    }


class Pretending:
    """An engine whose tasks write outcomes without having fitted anything, in processes of their own."""

    def __init__(self, cores: int, marks: dict[str, int]) -> None:
        self._cores, self._marks = cores, marks

    def cores(self) -> int:
        """So many tasks are planned for."""
        return self._cores

    def number_of_tasks(self, costs: Any) -> int:
        """As on a cluster."""
        from job.plan.packing import number_of_tasks

        return number_of_tasks(costs, self._cores, local=False)

    def executors(self) -> int | None:
        """Not counted."""
        return None

    def run(self, work: Any, tasks: int, tick: Callable[[], None]) -> Any:
        """Write what workers would write."""
        from job.engine import EngineReport
        from job.worker.training import Training

        self._marks["planned"] = reset_peak()
        operation = cast(Training, work.operation)
        fingerprints = (operation.recipe, operation.environment)
        share = [str(task) for task in range(tasks)]
        command = [sys.executable, "-m", "benchmarks.driver_scale", "--pretend", work.output.uri, work.run, work.plan]
        processes = [
            subprocess.Popen(
                [*command, *fingerprints, ",".join(share[number::2])],
                preexec_fn=end_with_parent,
            )
            for number in range(min(2, tasks))
        ]
        while any(process.poll() is None for process in processes):
            time.sleep(0.5)
            tick()
        if any(process.returncode for process in processes):
            raise SystemExit("a pretended worker failed")
        self._marks["trained"] = reset_peak()
        return EngineReport()

    def stop(self) -> None:
        """Nothing."""


def pretend(uri: str, run: str, plan: str, recipe: str, environment: str, tasks: list[int]) -> None:
    """The outcomes of some tasks."""
    import numpy as np
    import pyarrow as pa

    from job import run_paths
    from job.arrow import decode, encode
    from job.outcome import SCHEMA
    from job.store import open_store

    store = open_store(uri)
    random = np.random.default_rng(int(plan, 16) % 2**32)
    for task in tasks:
        rows = decode(store.get(run_paths.task_list(run, plan, task)))
        for begin in range(0, rows.num_rows, _SEGMENT):
            part = rows.slice(begin, _SEGMENT)
            count = part.num_rows
            digests = [random.bytes(32).hex() for _ in range(count)]
            columns: dict[str, Any] = {
                "key": part["key"],
                "status": "trained",
                "digest": pa.array(digests),
                "size": 640,
                "rows": 2000,
                "metrics": pa.array([f'{{"r2": {value:.16f}}}' for value in random.random(count)]),
                "seconds": pa.array(random.random(count) / 500),
                "data": part["data"],
                "content": pa.array(digests),
                "recipe": recipe,
                "environment": environment,
                "bytes": part["bytes"],
                "source": part["key"],
                "attempt": 0,
                "task": task,
                "worker": "host-0000000000:12345",
                "peak": 250_000_000,
                "finished_at": time.time(),
                "adopted": False,
            }
            arrays = [
                value.combine_chunks().cast(field.type)
                if isinstance(value := columns.get(field.name), pa.ChunkedArray)
                else value.cast(field.type)
                if isinstance(value, pa.Array)
                else pa.repeat(pa.scalar(value, field.type), count)
                for field in SCHEMA
            ]
            name = f"t{task:05d}-a0-{uuid.uuid4().hex[:16]}-{begin // _SEGMENT:04d}-n{count}-f0.arrow"
            store.ensure(run_paths.segments(run, plan) + name, encode(pa.table(arrays, schema=SCHEMA)))


def reset_peak() -> int:
    """Peak resident MiB since the last call."""
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5")
    return int(peak.split()[1]) // 1024


def one(kind: str, endpoint: str, output: str, cores: int) -> dict[str, Any]:
    """One command, in this process."""
    from job.config.settings import JobSettings
    from job.run.assembly import assemble
    from job.run.planning import finished_outcomes, make_plan
    from job.run.run import run

    assembly = assemble(JobSettings.model_validate(document(endpoint, output)))
    marks: dict[str, int] = {"imports": reset_peak()}
    before = counts(endpoint)
    begin, cpu = time.perf_counter(), time.process_time()
    if kind == "plan":
        from datetime import UTC, datetime

        made = make_plan(assembly, finished_outcomes(assembly, datetime.now(UTC)), None)
        found: dict[str, Any] = {"planned": made.planned}
    else:
        plain = document(endpoint, output)
        engine = Pretending(cores, marks)
        done = run(
            assembly,
            plain,
            on_plan=lambda plan, name: marks.update(plan=reset_peak()),
            make_engine=lambda assembly: engine,
        )
        found = {"planned": done.totals.planned, "trained": done.totals.trained, "phases": done.phases}
    found |= {"seconds": round(time.perf_counter() - begin, 2), "cpu": round(time.process_time() - cpu, 2)}
    marks["end"] = reset_peak()
    after = counts(endpoint)
    found |= {"peak_mib": marks, "requests": {name: after[name] - before.get(name, 0) for name in after}}
    return found


def counts(endpoint: str) -> dict[str, int]:
    """Requests that the listing server has seen."""
    with urllib.request.urlopen(f"{endpoint}/counts") as answer:
        found: dict[str, int] = json.load(answer)
    found.pop("counts")
    return found


def step(program: str, *arguments: str) -> str:
    """Run one step of a program of this package in a process of its own, without S3 credentials of anyone.

    Returns
    -------
    str
        The last line that it printed.
    """
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_REGION": "us-east-1"}
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{program}", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        check=False,
        preexec_fn=end_with_parent,
    )
    if done.returncode:
        raise SystemExit(f"{program} {' '.join(arguments)} ended with {done.returncode}")
    return (done.stdout.strip().splitlines() or [""])[-1]


def measure(keys: int, cores: int) -> dict[str, Any]:
    """All runs, one after the other."""
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="manyfit-scale-") as folder:
        (Path(folder) / "out").mkdir()
        for kind in RUNS:
            with listing(keys, 100 if kind == "changed" else 0) as endpoint:
                line = step("driver_scale", "--one", kind, endpoint, f"{folder}/out", str(cores))
            results[kind] = json.loads(line)
            print(f"{keys:,} keys, {kind}: {results[kind]}", file=sys.stderr, flush=True)
    return results


def main() -> int:
    """The command."""
    if sys.argv[1:2] == ["--pretend"]:
        uri, run, plan, recipe, environment, tasks = sys.argv[2:]
        pretend(uri, run, plan, recipe, environment, [int(task) for task in tasks.split(",")])
        return 0
    if sys.argv[1:2] == ["--one"]:
        kind, endpoint, output, cores = sys.argv[2:]
        print(json.dumps(one(kind, endpoint, output, int(cores))))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--cores", type=int, default=128, help="of the cluster that is pretended")
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    result = {"benchmark": "driver_scale", "keys": given.keys, "machine": machine()}
    result["runs"] = measure(given.keys, given.cores)
    text = json.dumps(result, indent=1)
    Path(given.json).write_text(text + "\n") if given.json else print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
