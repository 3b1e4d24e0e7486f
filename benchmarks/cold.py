"""How soon is the first model there? From the command to the first uploaded model, and to the end, nothing warm.

uv run python -m benchmarks.cold               this job and the nearest peers, 3 rounds
uv run python -m benchmarks.cold --parts       where this job's start goes: imports, JVM, first worker
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

from benchmarks import data, environment, manyfit, server
from benchmarks.contender import ONE_THREAD, Contender
from benchmarks.entries import ENTRIES
from benchmarks.measure import end_with_parent, machine, tree_cpu
from benchmarks.workload import Workload

PEERS = ("ray-obstore", "joblib-obstore", "dask-obstore", "apply")


def _first(folder: Path, stop: Any) -> float | None:
    """The time at which the first model file is there; None if ``stop`` says so first."""
    while not stop():
        if folder.exists() and next(folder.rglob("*.joblib"), None) is not None:
            return time.perf_counter()
        time.sleep(0.01)
    return time.perf_counter() if folder.exists() and next(folder.rglob("*.joblib"), None) else None


def ours(here: server.Server, work: Workload, output: str, scratch: Path) -> dict[str, float]:
    """``manyfit run`` as a user starts it."""
    assert here.folder is not None
    config = scratch / "job.yaml"
    config.write_text(json.dumps(manyfit.document(work, output)))
    begin = time.perf_counter()
    with (scratch / "cold.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "job.cli.main", "run", "-c", str(config)],
            stdout=log,
            stderr=log,
            cwd=environment.REPOSITORY,
            env={**os.environ, **here.environment()},
            preexec_fn=end_with_parent,
        )
        first = _first(here.folder / output / "models", lambda: process.poll() is not None)
        code = process.wait(300)
    if code or first is None:
        raise SystemExit(f"manyfit run ended with {code}: {(scratch / 'cold.log').read_text()[-2000:]}")
    return {"first": first - begin, "end": time.perf_counter() - begin}


def peer(here: server.Server, name: str, work: dict[str, Any], output: str, scratch: Path) -> dict[str, float]:
    """A peer's process from its start, as a script would do it."""
    assert here.folder is not None
    entry = next(each for each in ENTRIES if each.name == name)
    folder = here.folder / output
    begin = time.perf_counter()
    contender = Contender(
        name,
        entry.module,
        {**work, "options": entry.options},
        python=environment.peers_python() if entry.peers else sys.executable,
        environment=here.environment(),
        log=scratch / f"cold-{name}.log",
    )
    try:
        contender.ready(120)
        contender._ask({"round": output})
        first = _first(folder, lambda: time.perf_counter() - begin > 300)
        contender._answer(300)
        assert first is not None
        return {"first": first - begin, "end": time.perf_counter() - begin}
    finally:
        contender.close()


PARTS = {
    "import of the command line": "import job.cli.main",
    "and of what plan and run need": "import job.cli.main, job.cli.commands, job.run.run",
    "scikit-learn alone, of that": "import sklearn.linear_model",
    "the worker daemon's imports": "import job.engine.spark.daemon as d; d.warm()",
}
SESSION = (
    "import job.engine.spark.session as s; from job.config.settings import JobSettings as J; "
    "from pyspark.sql.functions import col; "
    "e = s.SparkEngine(J.model_validate({'input': {'uri': '/i'}, 'recipe': {'function': 'm:f'}, "
    "'output': {'uri': '/o'}, 'spark': {'master': 'local[2,4]'}})); "
    "e.action(lambda: e.session.range(0, 2, 1, 2).select(col('id') + 1).collect()); e.stop()"
)
"""A session and a first job without Python workers; the archive of classes is made by the second such session."""


def parts(rounds: int) -> dict[str, dict[str, float]]:
    """Wall and CPU seconds of each part, each in a fresh process."""
    found = {name: _part(code, rounds) for name, code in PARTS.items()}
    with tempfile.TemporaryDirectory(prefix="manyfit-cold-") as folder:
        found["a Spark session and a first job, no archive of classes"] = _part(SESSION, rounds, cache=os.devnull)
        _part(SESSION, 2, cache=folder)
        found["the same with the archive"] = _part(SESSION, rounds, cache=folder)
    return found


def _part(code: str, rounds: int, cache: str | None = None) -> dict[str, float]:
    walls, cpus = [], []
    given = {**os.environ, "XDG_CACHE_HOME": cache} if cache else dict(os.environ)
    for _ in range(rounds):
        begin, before = time.perf_counter(), tree_cpu(os.getpid())
        subprocess.run(
            [sys.executable, "-c", code], check=True, cwd=environment.REPOSITORY, capture_output=True, env=given
        )
        walls.append(time.perf_counter() - begin)
        cpus.append(tree_cpu(os.getpid()) - before)
    return {"wall": round(statistics.median(walls), 2), "cpu": round(statistics.median(cpus), 2)}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parts", action="store_true", help="only where this job's start goes")
    parser.add_argument("--only", help="these peers, with commas; `none` for this job alone")
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    result: dict[str, Any] = {"machine": machine(), "parts": parts(arguments.rounds)}
    print("| part of the start | wall s | CPU s |\n|---|---:|---:|")
    for name, part in result["parts"].items():
        print(f"| {name} | {part['wall']:.2f} | {part['cpu']:.2f} |")
    if not arguments.parts:
        result["cold"] = cold(arguments)
        print("\n| way | first model s | all 400 models s |\n|---|---:|---:|")
        for name, line in sorted(result["cold"].items(), key=lambda item: float(item[1]["first"])):
            print(f"| {name} | {line['first']:.1f} | {line['end']:.1f} |")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(result, indent=1) + "\n")
    return 0


def cold(arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Medians of interleaved cold starts."""
    shape = data.SHAPES["default"]
    names = [name for name in (arguments.only.split(",") if arguments.only else PEERS) if name != "none"]
    scratch = Path(tempfile.mkdtemp(prefix="manyfit-bench-"))
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in ("manyfit", *names)}
    with server.serve(scratch / "server") as here:
        os.environ.update(here.environment())
        client = server.client(here)
        sizes = data.upload(
            shape, lambda name, blob: client.put_object(Bucket=server.BUCKET, Key="in/" + name, Body=blob)
        )
        if here.folder is None:
            raise SystemExit("this benchmark watches the server's files; moto keeps none")
        work: dict[str, Any] = {
            "bucket": server.BUCKET,
            "prefix": "in/",
            "names": sorted(sizes),
            "columns": shape.columns,
            "estimator": shape.estimator,
            "format": shape.format,
            "cores": len(os.sched_getaffinity(0)),
            "folder": str(here.folder / "in"),
        }
        os.environ.update(ONE_THREAD)
        for number in range(arguments.rounds):
            for name in rounds:
                output = f"cold/{name}/{number}/"
                if name == "manyfit":
                    rounds[name].append(ours(here, Workload(**work), output, scratch))
                else:
                    rounds[name].append(peer(here, name, work, output, scratch))
                print(name, rounds[name][-1], file=sys.stderr, flush=True)
    return {
        name: {what: round(statistics.median(each[what] for each in done), 2) for what in ("first", "end")}
        for name, done in rounds.items()
    }


if __name__ == "__main__":
    raise SystemExit(main())
