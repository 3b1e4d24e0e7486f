"""``make bench-table``: one model for each key of one table, this job beside everybody else, on the same files.

    uv run python -m benchmarks.one_table                                 1,000 keys of 400 rows, parquet, scattered
    uv run python -m benchmarks.one_table --format csv --keys 5000
    uv run python -m benchmarks.one_table --sorted                        the rows of a key lie together
    uv run python -m benchmarks.one_table --only manyfit,pandas --guard 1.0
                                                      fail if the job's wall time is above pandas' (median of rounds)

Cold is from the start of a contender's process to the end of its first round; warm rounds follow, interleaved, in a
changing order. CPU time is that of the process and of all that it has started. Models are checked against each other.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from benchmarks import environment
from benchmarks.contender import Contender, ContenderFailed, Round
from benchmarks.measure import machine, say

CONTENDERS = {
    "floor": ("floor", False),
    "manyfit": ("manyfit", False),
    "manyfit-spark": ("manyfit", False),
    "pandas": ("pandas_joblib", False),
    "polars": ("polars_joblib", False),
    "duckdb": ("duckdb_joblib", False),
    "ray": ("ray_groups", True),
    "dask": ("dask_groups", True),
    "fugue": ("fugue_groups", True),
    "apply-in-pandas": ("apply_in_pandas", False),
}
"""Name to module, and whether it runs in the peers' environment."""
FEATURES = [f"x{number}" for number in range(5)]


def lay_out(folder: Path, *, keys: int, rows: int, files: int, form: str, clustered: bool) -> None:
    """Write the table: ``store`` a text, ``item`` a number, five features and ``y``."""
    random_numbers = np.random.default_rng(0)
    number = np.repeat(np.arange(keys), rows)
    if not clustered:
        random_numbers.shuffle(number)
    features = random_numbers.normal(size=(len(number), len(FEATURES)))
    stores = pa.array([f"s{each:05d}" for each in range(keys // 10 + 1)])
    table = pa.table(
        {
            "store": stores.take(pa.array(number // 10)),
            "item": number % 10,
            **{name: features[:, at] for at, name in enumerate(FEATURES)},
            "y": features @ np.arange(1, 6) + number + random_numbers.normal(size=len(number)),
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    for part in range(files):
        begin, end = (len(number) * each // files for each in (part, part + 1))
        piece = table.slice(begin, end - begin)
        if form == "parquet":
            pq.write_table(piece, folder / f"part-{part:03d}.parquet", row_group_size=100_000)
        else:
            pcsv.write_csv(piece, folder / f"part-{part:03d}.csv")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure; the result is plain data."""
    if arguments.scratch:
        return _run(arguments, Path(arguments.scratch))
    with tempfile.TemporaryDirectory(prefix="manyfit-bench-", ignore_cleanup_errors=True) as folder:
        return _run(arguments, Path(folder))


def _run(arguments: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    data = scratch / "data"
    lay_out(
        data,
        keys=arguments.keys,
        rows=arguments.rows,
        files=arguments.files,
        form=arguments.format,
        clustered=arguments.sorted,
    )
    cores = arguments.cores or len(os.sched_getaffinity(0))
    work = {
        "bucket": "",
        "prefix": "",
        "names": sorted(path.name for path in data.iterdir()),
        "columns": FEATURES,
        "estimator": {"_target_": "sklearn.linear_model.LinearRegression"},
        "format": arguments.format,
        "cores": cores,
        "folder": str(data),
    }
    begun = machine()
    names = arguments.only.split(",") if arguments.only else list(CONTENDERS)
    lines: dict[str, dict[str, Any]] = {}
    running: dict[str, Contender] = {}
    rounds: dict[str, list[Round]] = {}
    try:
        for name in names:
            try:
                running[name], lines[name] = _start(name, work, scratch, arguments.timeout)
                rounds[name] = []
            except (ContenderFailed, RuntimeError) as error:
                lines[name] = {"failed": str(error)}
            say(f"{name}: {lines[name]}")
        order = list(running)
        for number in range(arguments.rounds):
            random.Random(number).shuffle(order)
            for name in list(order):
                try:
                    done = running[name].round(str(scratch / name / f"r{number}"), arguments.timeout, os.getpid())
                except ContenderFailed as error:
                    lines[name]["failed"] = str(error)
                    running.pop(name).close()
                    order.remove(name)
                    continue
                say(f"round {number + 1}: {name}: {done.wall:.2f} s wall, {done.cpu:.2f} s CPU")
                rounds[name].append(done)
    finally:
        for each in running.values():
            each.close()
    for name, found in rounds.items():
        if found:
            lines[name] |= {
                "wall": round(statistics.median(each.wall for each in found), 2),
                "cpu": round(statistics.median(each.cpu for each in found), 2),
                "models": found[-1].models,
                "detail": found[-1].detail,
            }
    return {
        "keys": arguments.keys,
        "rows": arguments.rows,
        "format": arguments.format,
        "sorted": arguments.sorted,
        "cores": cores,
        "machine": {**begun, "load_after": [round(each, 2) for each in os.getloadavg()]},
        "command": "uv run python -m benchmarks.one_table " + " ".join(sys.argv[1:]),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "differences": _compare(scratch),
        "lines": lines,
    }


def _start(name: str, work: dict[str, Any], scratch: Path, timeout: float) -> tuple[Contender, dict[str, Any]]:
    module, peers = CONTENDERS[name]
    options: dict[str, Any] = {}
    if module == "manyfit":
        engine: dict[str, Any] = {"run": {"engine": "local", "workers": work["cores"]}}
        if name == "manyfit-spark":
            engine = {"run": {"engine": "spark"}, "spark": {"master": f"local[{work['cores']},4]"}}
        options = {"settings": engine}
    python = environment.peers_python() if peers else sys.executable
    begin = time.perf_counter()
    each = Contender(
        name,
        f"benchmarks.table_peers.{module}",
        {**work, "options": options},
        python=python,
        environment={},
        log=scratch / f"{name}.log",
    )
    try:
        each.ready(timeout)
        done = each.round(str(scratch / name / "cold"), timeout, os.getpid())
    except BaseException:
        each.close()
        raise
    return each, {"cold": round(time.perf_counter() - begin, 2), "cold_models": done.models}


def _compare(scratch: Path) -> dict[str, float]:
    """The largest difference of coefficients from those of pandas and joblib, for whoever wrote files of that kind."""
    wanted = {
        path.name: joblib.load(path).coef_ for path in sorted((scratch / "pandas" / "cold").glob("*.joblib"))[:200]
    }
    found = {}
    for name, (module, _) in CONTENDERS.items():
        folder = scratch / name / "cold"
        if module in ("manyfit", "floor") or not folder.is_dir() or not wanted:
            continue
        here = [np.abs(joblib.load(folder / each).coef_ - coefficients).max() for each, coefficients in wanted.items()]
        found[name] = float(max(here))
    if wanted and (scratch / "manyfit" / "cold").is_dir():
        from job import ModelSet

        models: Any = ModelSet.open(str(scratch / "manyfit" / "cold"))
        keys = {name: "store={}/item={}".format(*name.removesuffix(".joblib").split("-")) for name in wanted}
        found["manyfit"] = float(max(np.abs(models[keys[name]].coef_ - wanted[name]).max() for name in wanted))
    return found


def markdown(result: dict[str, Any]) -> str:
    """The table for docs/explanation/benchmarks-tables.md."""
    kind = f"{'sorted by key' if result['sorted'] else 'keys in random order'}, {result['format']}"
    out = [
        f"{result['keys']:,} keys of {result['rows']:,} rows, {kind}, {result['cores']} cores "
        f"({result['machine']['processor']}), {result['at'][:10]}, load {result['machine']['load_after'][0]}.",
        "",
        "| way | cold, s | warm wall, s | CPU, s | × floor, CPU | × manyfit, wall | × manyfit, cold |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    floor, ours = (result["lines"].get(name, {}) for name in ("floor", "manyfit"))

    def ratio(line: dict[str, Any], other: dict[str, Any], what: str) -> str:
        return f"{line[what] / other[what]:.2f}" if line.get(what) and other.get(what) else ""

    for name, line in sorted(result["lines"].items(), key=lambda each: each[1].get("wall", 1e9)):
        if "wall" not in line:
            out.append(f"| {name} | left out: {line.get('failed', 'no round')[:80]} ||||||")
            continue
        cells = [
            name,
            f"{line['cold']:.1f}",
            f"{line['wall']:.2f}",
            f"{line['cpu']:.2f}",
            ratio(line, floor, "cpu"),
            ratio(line, ours, "wall"),
            ratio(line, ours, "cold"),
        ]
        out.append(f"| {' | '.join(cells)} |")
    return "\n".join(out) + "\n"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=400, help="of each key")
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--format", choices=("parquet", "csv"), default="parquet")
    parser.add_argument("--sorted", action="store_true", help="the rows of a key lie together")
    parser.add_argument("--rounds", type=int, default=3, help="warm rounds")
    parser.add_argument("--only", metavar="NAMES", help=f"of {', '.join(CONTENDERS)}")
    parser.add_argument("--cores", type=int, help="default: as many as this process may use")
    parser.add_argument("--timeout", type=float, default=600, help="seconds for one round")
    parser.add_argument("--guard", type=float, metavar="RATIO", help="exit 1 if our wall is above this × pandas'")
    parser.add_argument("--json", metavar="FILE", help="write everything that was measured")
    parser.add_argument("--scratch", metavar="FOLDER", help="logs and data stay here")
    arguments = parser.parse_args()
    result = run(arguments)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(result, indent=1) + "\n")
    print(markdown(result))
    lines = result["lines"]
    wrong = [name for name, line in lines.items() if line.get("models", arguments.keys) != arguments.keys]
    if wrong or any(each > 1e-6 for each in result["differences"].values()):
        say(f"not every model is there, or not as it should be: {wrong} {result['differences']}")
        return 1
    if arguments.guard:
        ratio = lines.get("manyfit", {}).get("wall", float("inf")) / lines.get("pandas", {}).get("wall", 1e-9)
        say(f"manyfit takes {ratio:.2f} times the wall time of pandas and joblib; the guard is {arguments.guard}")
        return int(not ratio <= arguments.guard)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
