"""``make bench-score``: scoring a fleet, this job beside everybody else, on the same models and rows.

    uv run python -m benchmarks.score_fleet                      2,000 keys of 400 rows, csv, models and rows on S3
    uv run python -m benchmarks.score_fleet --format parquet
    uv run python -m benchmarks.score_fleet --layout columns     the rows lie in one table with a key column
    uv run python -m benchmarks.score_fleet --store folder --only floor,set,manyfit --keys 1000

Contenders stay up between rounds, and take turns in a changing order after a warm-up round. CPU time is that of all
processes of a contender; the S3 server's is apart. The floor, ``set`` and ``manyfit`` have one process, and read
files; the others have one a core. Spark, MLflow and Ray read the server's files instead of S3, which spares them a
client. The predictions of the contenders that write files are compared with the floor's.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from benchmarks import environment, server
from benchmarks.contender import Contender, ContenderFailed, Round
from benchmarks.measure import machine, say
from benchmarks.score_peers.fleet import NAMES, NEW, OUT

FILES = 20
"""files of a table (``--layout columns``)"""
TRAINED_ON = 30
"""rows of each key that its model is fitted on"""
MLFLOW = environment.REPOSITORY / "build" / "mlflow" / "bin" / "python"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of the table."""

    title: str
    module: str
    run: dict[str, Any] = field(default_factory=dict)
    """settings ``run`` of this job"""
    remote: bool = False
    """reads from S3, and writes to it, where ``--store`` says so"""
    python: str = "own"
    """``own``, ``peers`` or ``mlflow``: the environment it runs in"""
    layouts: tuple[str, ...] = ("objects", "columns")
    counted: bool = True
    """whether its CPU time can be counted: Ray's workers come and go, and nothing keeps the time of those that ended"""


ENTRIES = {
    "floor": Entry(title="**floor**: bytes in memory, parse, `joblib.load`, predict, write", module="floor"),
    "set": Entry(title="`ModelSet.predict`, one frame in memory", module="model_set"),
    "manyfit": Entry(title="**manyfit**, one process, files", module="manyfit", run={"engine": "inline"}),
    "manyfit-all": Entry(title="**manyfit**, a process a core", module="manyfit", run={"engine": "local"}, remote=True),
    "joblib": Entry(
        title="joblib, one batch a core, boto3 where rows and models are on S3",
        module="joblib_batches",
        remote=True,
        layouts=("objects",),
    ),
    "ray": Entry(title="Ray `map_groups`", module="ray_groups", python="peers", counted=False),
    "spark": Entry(title="Spark `applyInPandas`", module="apply_in_pandas"),
    "mlflow": Entry(title="`mlflow.pyfunc.spark_udf`", module="mlflow_udf", python="mlflow"),
}


def rows_of(keys: int, rows: int) -> Iterator[tuple[str, pa.Table]]:
    """Each key with its rows: five features and ``y``, six decimals."""
    numbers = np.random.default_rng(1)
    for number in range(keys):
        values = numbers.normal(size=(rows, len(NAMES)))
        target = (values @ numbers.normal(size=len(NAMES))).round(6)
        columns = {name: values[:, at].round(6) for at, name in enumerate(NAMES)}
        yield f"k{number:06d}", pa.table({**columns, "y": target})


def encoded(table: pa.Table, form: str) -> bytes:
    """A file of rows."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink) if form == "parquet" else pcsv.write_csv(table, sink)
    return bytes(sink.getvalue().to_pybytes())


def lay_out(given: argparse.Namespace, folder: Path, here: server.Server | None) -> list[str]:
    """Data sets for training (a local folder) and for scoring, and the models; returns the names of the new files."""
    (folder / "train").mkdir(parents=True)
    if here is None:
        (folder / NEW).mkdir()
        (folder / "models").mkdir()
    client = None if here is None else server.client(here)
    names: list[str] = []

    def put(name: str, data: bytes) -> None:
        if client is None:
            (folder / NEW / name).write_bytes(data)
        else:
            client.put_object(Bucket=server.BUCKET, Key=NEW + name, Body=data)

    with ThreadPoolExecutor(8) as pool:
        if given.layout == "objects":
            for key, table in rows_of(given.keys, given.rows):
                name = f"{key}.{given.format}"
                names.append(name)
                pool.submit(put, name, encoded(table, given.format))
                (folder / "train" / name).write_bytes(encoded(table.slice(0, TRAINED_ON), given.format))
        else:
            tables = [
                table.append_column("key", pa.array([key] * given.rows))
                for key, table in rows_of(given.keys, given.rows)
            ]
            few = pa.concat_tables([each.slice(0, TRAINED_ON) for each in tables])
            (folder / "train" / f"rows.{given.format}").write_bytes(encoded(few, given.format))
            whole = pa.concat_tables(tables).combine_chunks()
            whole = whole.take(pa.array(np.random.default_rng(2).permutation(whole.num_rows)))
            for part in range(FILES):
                begin, end = (whole.num_rows * each // FILES for each in (part, part + 1))
                names.append(f"part-{part:03d}.{given.format}")
                pool.submit(put, names[-1], encoded(whole.slice(begin, end - begin), given.format))
    _train(given, folder, here)
    return names


def _train(given: argparse.Namespace, folder: Path, here: server.Server | None) -> None:
    document: dict[str, Any] = {
        "input": {"uri": str(folder / "train")},
        "recipe": {
            "features": NAMES,
            "target": "y",
            "estimator": {"_target_": "sklearn.linear_model.LinearRegression"},
        },
        "output": {
            "uri": str(folder / "models") if here is None else f"s3://{server.BUCKET}/models",
            "report": "short",
        },
        "run": {"engine": "inline"},
    }
    if given.layout == "columns":
        document["input"] |= {"layout": "columns", "key": ["key"]}
    if here is not None:
        document["storage"] = {"output": {"endpoint": here.endpoint, "path_style": True}}
    command = [sys.executable, "-m", "job.cli.main", "run", "--document", json.dumps(document)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=environment.REPOSITORY)
    if done.returncode:
        raise SystemExit(f"the models cannot be trained: {done.stderr[-2000:]}")


@contextmanager
def _served(given: argparse.Namespace) -> Iterator[server.Server | None]:
    if given.store == "folder":
        yield None
        return
    with server.serve() as here:
        if here.folder is None:
            raise SystemExit("versitygw cannot be built here (it needs Go): give --store folder")
        os.environ.update(here.environment())
        yield here


def _python(entry: Entry) -> str:
    if entry.python == "peers":
        return environment.peers_python()
    if entry.python == "mlflow" and not MLFLOW.exists():
        raise RuntimeError("its environment is not there: make build/mlflow/.ready")
    return str(MLFLOW) if entry.python == "mlflow" else sys.executable


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Measure; the result is plain data."""
    cores = given.cores or len(os.sched_getaffinity(0))
    begun = machine()
    lines: dict[str, dict[str, Any]] = {}
    rounds: dict[str, list[Round]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="manyfit-bench-", ignore_cleanup_errors=True) as scratch,
        _served(given) as here,
    ):
        own = Path(scratch) / "data"
        names = lay_out(given, own, here)
        folder = own if here is None else here.folder
        say(f"{given.keys:,} models are trained")
        running: dict[str, Contender] = {}
        try:
            for name in given.only:
                entry = ENTRIES[name]
                store = given.store if entry.remote else "folder"
                options = {"layout": given.layout, "store": store, "run": {**entry.run}}
                if entry.run.get("engine") == "local":
                    options["run"]["workers"] = cores
                work = {
                    "bucket": server.BUCKET,
                    "prefix": NEW,
                    "names": names,
                    "columns": NAMES,
                    "estimator": {},
                    "format": given.format,
                    "cores": cores,
                    "folder": str(folder),
                    "options": options,
                }
                lines[name] = {"title": entry.title, "processes": 1 if name in ("floor", "set", "manyfit") else cores}
                if given.layout not in entry.layouts:
                    lines[name]["failed"] = "the rows of a key lie in many files"
                    continue
                try:
                    running[name] = _start(name, entry, work, here, Path(scratch))
                    rounds[name] = []
                except (ContenderFailed, RuntimeError) as error:
                    lines[name]["failed"] = str(error)
                    say(f"{name} is left out: {error}")
            _rounds(given, running, rounds, lines, here)
        finally:
            for each in running.values():
                each.close()
        _compare(given, Path(str(folder)), rounds, lines)
    for name, found in rounds.items():
        if found:
            lines[name] |= _figures(given, found, lines[name]["processes"])
            if not ENTRIES[name].counted:
                del lines[name]["cpu_ms_a_key"], lines[name]["server_cpu_ms_a_key"]
    floor = lines.get("floor", {})
    for line in lines.values():
        if "cpu_ms_a_key" in line and "cpu_ms_a_key" in floor:
            line["times_the_floor"] = round(line["cpu_ms_a_key"] / floor["cpu_ms_a_key"], 2)
    return {
        "benchmark": "score_fleet",
        **{name: getattr(given, name) for name in ("keys", "rows", "format", "layout", "store", "rounds")},
        "cores": cores,
        "machine": {**begun, "load_after": [round(each, 2) for each in os.getloadavg()]},
        "command": "uv run python -m benchmarks.score_fleet " + " ".join(sys.argv[1:]),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "lines": lines,
    }


def _start(name: str, entry: Entry, work: dict[str, Any], here: server.Server | None, scratch: Path) -> Contender:
    each = Contender(
        name,
        f"benchmarks.score_peers.{entry.module}",
        work,
        python=_python(entry),
        environment={} if here is None else here.environment(),
        log=scratch / f"{name}.log",
    )
    try:
        say(f"{name}: up after {each.ready(300):.1f} s")
    except BaseException:
        each.close()
        raise
    return each


def _rounds(
    given: argparse.Namespace,
    running: dict[str, Contender],
    rounds: dict[str, list[Round]],
    lines: dict[str, dict[str, Any]],
    here: server.Server | None,
) -> None:
    order = list(running)
    for number in range(-1, given.rounds):
        random.Random(number).shuffle(order)
        for name in list(order):
            try:
                time.sleep(0.2)
                output = f"{OUT}{name}-r{number}" if number >= 0 else f"{OUT}{name}-warm-up"
                done = running[name].round(output, given.timeout, here.pid if here else os.getpid())
            except ContenderFailed as error:
                log = Path(str(error).partition("(log: ")[2].rstrip(")"))
                last = log.read_text(errors="replace").strip().splitlines()[-1:] if log.is_file() else []
                lines[name]["failed"] = f"{str(error).partition(' (log')[0]} {' '.join(last)}"
                say(lines[name]["failed"])
                running.pop(name).close()
                order.remove(name)
                continue
            say(f"round {number + 1}: {name}: {done.wall:.2f} s wall, {done.cpu:.2f} s CPU")
            if done.models != given.keys * given.rows:
                lines[name]["wrong_number_of_rows"] = done.models
            if number >= 0:
                rounds[name].append(done)


def _figures(given: argparse.Namespace, found: list[Round], processes: int) -> dict[str, Any]:
    wall = statistics.median(each.wall for each in found)
    return {
        # The least: what else a busy machine does only adds to the CPU time.
        "cpu_ms_a_key": round(1000 * min(each.cpu for each in found) / given.keys, 3),
        "server_cpu_ms_a_key": round(1000 * min(each.server_cpu for each in found) / given.keys, 3),
        "wall": round(wall, 3),
        "keys_per_second_and_core": round(given.keys / wall / processes, 1),
        "rounds": [{"wall": round(each.wall, 3), "cpu": round(each.cpu, 3)} for each in found],
    }


def _compare(
    given: argparse.Namespace, folder: Path, rounds: dict[str, list[Round]], lines: dict[str, dict[str, Any]]
) -> None:
    """Compare predictions, sorted by the key and the features: all must be equal to the last bit."""
    wanted: pa.Table | None = None
    for name, found in rounds.items():
        here = folder / f"{OUT}{name}-r0"
        if not found or not here.is_dir():
            continue
        files = sorted(
            here.rglob("predictions/parts/**/*.parquet") if name.startswith("manyfit") else here.rglob("*.parquet")
        )
        key = "_key" if name.startswith("manyfit") or name == "joblib" else "key"
        tables = [pq.read_table(each, columns=[key, *NAMES[:2], "prediction"]) for each in files]
        keys = [
            pa.array([text.removeprefix("key=") for text in each[key].cast(pa.string()).to_pylist()]) for each in tables
        ]
        whole = pa.concat_tables(
            pa.table(
                [names, *(each[name] for name in (*NAMES[:2], "prediction"))], names=["key", "a", "b", "prediction"]
            )
            for names, each in zip(keys, tables, strict=True)
        )
        whole = whole.sort_by([("key", "ascending"), ("a", "ascending"), ("b", "ascending")])
        if wanted is None:
            wanted = whole
        elif whole["key"].equals(wanted["key"]):
            apart = np.abs(whole["prediction"].to_numpy() - wanted["prediction"].to_numpy())
            lines[name]["largest_difference"] = float(apart.max())
        else:
            lines[name]["wrong_number_of_rows"] = whole.num_rows


def markdown(result: dict[str, Any]) -> str:
    """The table for docs/explanation/benchmarks-scoring.md."""
    out = [
        f"{result['keys']:,} keys of {result['rows']:,} rows, {result['format']}, layout {result['layout']}, "
        f"{'S3 on loopback' if result['store'] == 's3' else 'a folder'}, {result['cores']} cores "
        f"({result['machine']['processor']}), {result['at'][:10]}, load {result['machine']['load_after'][0]}.",
        "",
        "| way | processes | CPU ms a key | × floor | server's CPU ms a key | wall s | keys/s and core |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for line in sorted(result["lines"].values(), key=lambda each: float(each.get("wall", 1e9))):
        if "wall" not in line:
            out.append(f"| {line['title']} | left out: {line.get('failed', 'no round')[:100]} ||||||")
            continue
        cells = [
            line["title"],
            f"{line['processes']}",
            f"{line['cpu_ms_a_key']:.2f}" if "cpu_ms_a_key" in line else "not counted",
            f"{line['times_the_floor']:.2f}" if "times_the_floor" in line else "",
            f"{line['server_cpu_ms_a_key']:.2f}" if line.get("server_cpu_ms_a_key") else "",
            f"{line['wall']:.2f}",
            f"{line['keys_per_second_and_core']:.0f}",
        ]
        out.append(f"| {' | '.join(cells)} |")
    return "\n".join(out) + "\n"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=2000)
    parser.add_argument("--rows", type=int, default=400, help="of each key")
    parser.add_argument("--format", choices=("csv", "parquet"), default="csv")
    parser.add_argument("--layout", choices=("objects", "columns"), default="objects")
    parser.add_argument("--store", choices=("s3", "folder"), default="s3")
    parser.add_argument("--rounds", type=int, default=3, help="after a warm-up round")
    parser.add_argument("--only", metavar="NAMES", help=f"of {', '.join(ENTRIES)}")
    parser.add_argument("--cores", type=int, help="default: as many as this process may use")
    parser.add_argument("--timeout", type=float, default=600, help="seconds for one round")
    parser.add_argument("--guard", type=float, metavar="RATIO", help="exit 1 if our CPU is above this × the floor's")
    parser.add_argument("--json", metavar="FILE", help="write everything that was measured")
    given = parser.parse_args()
    given.only = given.only.split(",") if given.only else list(ENTRIES)
    if unknown := [name for name in given.only if name not in ENTRIES]:
        parser.error(f"no such contender: {', '.join(unknown)}; there are {', '.join(ENTRIES)}")
    result = run(given)
    if given.json:
        Path(given.json).write_text(json.dumps(result, indent=1) + "\n")
    print(markdown(result))
    wrong = [name for name, line in result["lines"].items() if "wrong_number_of_rows" in line]
    wrong += [name for name, line in result["lines"].items() if line.get("largest_difference", 0) > 1e-9]
    if wrong:
        say(f"not every row has its prediction: {', '.join(wrong)}")
        return 1
    if given.guard:
        ratio = result["lines"].get("manyfit", {}).get("times_the_floor", float("inf"))
        say(f"manyfit takes {ratio} times the floor's CPU time; the guard is {given.guard}")
        return int(not ratio <= given.guard)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
