"""A small job on a laptop, from a cold start: the local engine beside the ten lines of joblib that a user would write.

uv run python -m benchmarks.laptop             142 countries (examples/gapminder), 5 rounds in turns
uv run python -m benchmarks.laptop --parts     where the start goes: imports of the driver and of the workers
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.environment import REPOSITORY
from benchmarks.measure import end_with_parent, machine, tree_cpu

SCRIPT = """
import sys, joblib, pandas as pd
from pathlib import Path
from sklearn.linear_model import LinearRegression

def fit(path, out):
    frame = pd.read_csv(path)
    joblib.dump(LinearRegression().fit(frame[["year"]], frame["lifeExp"]), out / f"{path.name}.joblib")

if __name__ == "__main__":
    source, out = map(Path, sys.argv[1:])
    out.mkdir(parents=True)
    joblib.Parallel(n_jobs=-1)(joblib.delayed(fit)(path, out) for path in sorted(source.glob("*.csv.gz")))
"""
"""The ten lines: they read, fit and write, and record nothing."""

LAY_OUT = [sys.executable, "examples/gapminder/lay_out.py"]
OURS, THEIRS = "manyfit run, local engine", "ten lines of joblib and pandas"
PARTS = {
    "an empty Python": "pass",
    "pandas and scikit-learn alone": "import pandas, sklearn.linear_model",
    "the command line": "import job.cli.main",
    "what plan and run need": "import job.cli.main, job.cli.commands, job.run.run, job.run.assembly",
    "the workers' imports": "from job.worker.warm import warm; warm()",
}


def one(command: list[str], output: Path, scratch: Path) -> dict[str, float]:
    """One cold start: seconds to the first model and to the end, and CPU seconds of all its processes."""
    begin, before = time.perf_counter(), tree_cpu(os.getpid())
    with (scratch / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            cwd=REPOSITORY,
            preexec_fn=end_with_parent,
            env={**os.environ, "PYTHONPATH": "."},
        )
        first, spent, looked = None, 0.0, begin
        while process.poll() is None:
            if first is None and output.exists() and next(output.rglob("*.joblib"), None) is not None:
                first = time.perf_counter() - begin
            if time.perf_counter() - looked > 0.05:  # workers that are killed at the end are in nobody's account
                spent, looked = max(spent, tree_cpu(os.getpid()) - before), time.perf_counter()
            time.sleep(0.005)
        code = process.wait()
    if code or first is None:
        raise SystemExit(f"{command} ended with {code}: {(scratch / 'log').read_text()[-2000:]}")
    return {"first": first, "end": time.perf_counter() - begin, "cpu": max(spent, tree_cpu(os.getpid()) - before)}


def rounds(number: int) -> dict[str, list[dict[str, float]]]:
    """Both in turns, each from nothing."""
    found: dict[str, list[dict[str, float]]] = {OURS: [], THEIRS: []}
    with tempfile.TemporaryDirectory(prefix="manyfit-laptop-") as folder:
        scratch = Path(folder)
        source, output, script = scratch / "in", scratch / "out", scratch / "ten_lines.py"
        subprocess.run([*LAY_OUT, str(source)], check=True, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
        script.write_text(SCRIPT)
        document = {
            "name": "laptop",
            "input": {"uri": str(source), "match": "*.csv.gz"},
            "recipe": {
                "features": ["year"],
                "target": "lifeExp",
                "estimator": {"_target_": "sklearn.linear_model.LinearRegression"},
            },
            "output": {"uri": str(output)},
            "run": {"engine": "local"},
        }
        (scratch / "job.json").write_text(json.dumps(document))
        commands = {
            OURS: [sys.executable, "-m", "job.cli.main", "run", "-c", str(scratch / "job.json")],
            THEIRS: [sys.executable, str(script), str(source), str(output)],
        }
        for turn in range(number + 1):
            for name in (OURS, THEIRS) if turn % 2 else (THEIRS, OURS):
                done = one(commands[name], output, scratch)
                shutil.rmtree(output)
                if turn:  # the first reads from the disk what the others find in memory
                    found[name].append(done)
    return found


def parts(number: int) -> dict[str, dict[str, float]]:
    """Wall and CPU seconds of each part, each in a fresh process, the quickest of several."""
    found = {}
    for name, code in PARTS.items():
        walls, cpus = [], []
        for _ in range(number):
            begin, before = time.perf_counter(), tree_cpu(os.getpid())
            subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)
            walls.append(time.perf_counter() - begin)
            cpus.append(tree_cpu(os.getpid()) - before)
        found[name] = {"wall": min(walls), "cpu": min(cpus)}
    return found


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parts", action="store_true", help="only where the start goes")
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    result: dict[str, object] = {"machine": machine()}
    if arguments.parts:
        result["parts"] = found = parts(arguments.rounds)
        print("| imports | wall s | CPU s |\n|---|---:|---:|")
        for name, part in found.items():
            print(f"| {name} | {part['wall']:.2f} | {part['cpu']:.2f} |")
    else:
        result["rounds"] = every = rounds(arguments.rounds)
        print("| way | first model s | all 142 s | CPU s |\n|---|---:|---:|---:|")
        for name, turns in every.items():
            middle = {clock: statistics.median(turn[clock] for turn in turns) for clock in ("first", "end", "cpu")}
            print(f"| {name} | {middle['first']:.2f} | {middle['end']:.2f} | {middle['cpu']:.2f} |")
        late = statistics.median(a["first"] - b["first"] for a, b in zip(every[OURS], every[THEIRS], strict=True))
        print(f"\nfirst model after that of the ten lines, side by side, median: {late:+.2f} s")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
