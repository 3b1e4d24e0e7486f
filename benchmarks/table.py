"""``make bench``: one table in one go, this job beside everybody else, on the same objects and the same S3 server.

    uv run python -m benchmarks.table                 the default data set, 5 interleaved rounds after a warm-up
    uv run python -m benchmarks.table --quick         3 rounds, the nearest peers
    uv run python -m benchmarks.table --shape forest  another data set (see benchmarks/data.py)
    uv run python -m benchmarks.table --only manyfit-short --guard 1.6
                                                      fail if the job's CPU time is above 1.6 times the floor's, thrice;
                                                      with manyfit-twice, too, if a doubled job is not above it

Contenders stay up between rounds (a warm session, cluster or pool), take turns in a changing order, and are measured by
wall time and by the CPU time of their own processes; the server's is apart. The figures are medians.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import check, data, environment, server
from benchmarks.contender import Contender, ContenderFailed, Round
from benchmarks.entries import DOUBLED, ENTRIES, FLOOR, WATCHED, Entry
from benchmarks.latency import delayed
from benchmarks.measure import machine, say

ATTEMPTS = 3
"""Measurements until the guard is believed: a job that is slow is so each time."""


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure; the result is plain data."""
    shape = data.SHAPES[arguments.shape]
    entries = _chosen(arguments, shape)
    cores = arguments.cores or len(os.sched_getaffinity(0))
    scratch = Path(arguments.scratch or tempfile.mkdtemp(prefix="manyfit-bench-"))
    begun = machine()
    with server.serve(scratch / "server") as here, delayed(here, arguments.latency / 1000) as there:
        os.environ.update(here.environment())
        client = server.client(here)
        prefix = f"in/{shape.name}/"
        say(f"{here.kind}: {shape.partitions} objects, {shape.note}")
        sizes = data.upload(
            shape, lambda name, blob: client.put_object(Bucket=server.BUCKET, Key=prefix + name, Body=blob)
        )
        work = {
            "bucket": server.BUCKET,
            "prefix": prefix,
            "names": sorted(sizes),
            "columns": shape.columns,
            "estimator": shape.estimator,
            "format": shape.format,
            "cores": cores,
            "folder": str(here.folder / prefix) if here.folder else None,
        }
        running, failures = _start(entries, work, there, scratch)
        try:
            rounds: dict[str, list[Round]] = {name: [] for name in running}
            order = list(running)
            for number in range(-1, arguments.rounds):
                random.Random(number).shuffle(order)
                for name in list(order):
                    output = f"out/{name}/r{number}/"
                    try:
                        # What is idle must not take turns with what is measured: a peer's housekeeping dies down first.
                        time.sleep(0.2)
                        done = running[name].round(output, arguments.timeout, here.pid)
                    except ContenderFailed as error:
                        failures[name] = str(error)
                        say(str(error))
                        running.pop(name).close()
                        order.remove(name)
                        continue
                    kind = "warm-up" if number < 0 else f"round {number + 1}"
                    say(f"{kind}: {name}: {done.wall:.2f} s wall, {done.cpu:.2f} s CPU, server {done.server_cpu:.2f}")
                    if number >= 0:
                        rounds[name].append(done)
        finally:
            for each in running.values():
                each.close()
        expected = check.reference(shape)
        checks = {
            entry.name: check.compare(here, f"out/{entry.name}/r0/", shape, expected)
            for entry in entries
            if entry.uploads and rounds.get(entry.name)
        }
    lines = {entry.name: _line(entry, rounds.get(entry.name, []), shape, cores) for entry in entries}
    floor = lines.get(FLOOR, {})
    for name in (WATCHED, DOUBLED):
        if paired := _paired(rounds.get(name, []), rounds.get(FLOOR, [])):
            lines[name]["cpu_to_floor_paired"] = paired
    for name, line in lines.items():
        if "wall" in line and "wall" in floor:
            line["wall_to_floor"] = round(line["wall"] / floor["wall"], 3)
            line["cpu_to_floor"] = round(line["cpu"] / floor["cpu"], 3)
        line["check"] = checks.get(name)
        if name in failures:
            line["failed"] = failures[name]
    return {
        "shape": {**shape.as_dict(), "bytes": sum(sizes.values())},
        "cores": cores,
        "server": here.kind,
        "latency_ms": arguments.latency,
        "machine": {**begun, "load_after": [round(each, 2) for each in os.getloadavg()]},
        "command": "uv run python -m benchmarks.table " + " ".join(sys.argv[1:]),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "lines": lines,
    }


def _chosen(arguments: argparse.Namespace, shape: data.Shape) -> list[Entry]:
    names = set(arguments.only.split(",")) | {FLOOR} if arguments.only else None
    found = [
        entry
        for entry in ENTRIES
        if (entry.name in names if names else entry.name != DOUBLED and (entry.quick or not arguments.quick))
        and shape.format in entry.formats
    ]
    unknown = (names or set()) - {entry.name for entry in ENTRIES}
    if unknown:
        raise SystemExit(f"no such contender: {', '.join(unknown)}; there are {', '.join(e.name for e in ENTRIES)}")
    return found


def _start(
    entries: list[Entry], work: dict[str, Any], here: server.Server, scratch: Path
) -> tuple[dict[str, Contender], dict[str, str]]:
    running: dict[str, Contender] = {}
    failures: dict[str, str] = {}
    for entry in entries:
        try:
            python = environment.peers_python() if entry.peers else sys.executable
            each = Contender(
                entry.name,
                entry.module,
                {**work, "options": entry.options},
                python=python,
                environment=here.environment(),
                log=scratch / f"{entry.name}.log",
            )
            try:
                say(f"{entry.name}: up after {each.ready(300):.1f} s")
                running[entry.name] = each
            except BaseException:
                each.close()
                raise
        except (ContenderFailed, RuntimeError) as error:
            failures[entry.name] = str(error)
            say(f"{entry.name} is left out: {error}")
    return running, failures


def _paired(ours: list[Round], floor: list[Round]) -> float | None:
    """The median of each round's own ratio: of a machine that is slow for a minute both had their share."""
    if not ours or len(ours) != len(floor):
        return None
    return round(statistics.median(one.cpu / other.cpu for one, other in zip(ours, floor, strict=True)), 3)


def _line(entry: Entry, rounds: list[Round], shape: data.Shape, cores: int) -> dict[str, Any]:
    line: dict[str, Any] = {"title": entry.title, "options": entry.options}
    if rounds:
        wall = statistics.median(each.wall for each in rounds)
        line |= {
            "wall": round(wall, 3),
            "cpu": round(statistics.median(each.cpu for each in rounds), 3),
            "server_cpu": round(statistics.median(each.server_cpu for each in rounds), 3),
            "models_per_second": round(shape.partitions / wall, 1),
            "models_per_second_and_core": round(shape.partitions / wall / cores, 1),
            "rounds": [{**vars(each), "wall": round(each.wall, 3), "cpu": round(each.cpu, 3)} for each in rounds],
        }
        wrong = {each.models for each in rounds} - {shape.partitions}
        if wrong:
            line["wrong_number_of_models"] = sorted(wrong)
    return line


def markdown(result: dict[str, Any]) -> str:
    """The table for docs/explanation/benchmarks.md."""
    host, shape = result["machine"], result["shape"]
    away = f", {result['latency_ms']:g} ms away" if result["latency_ms"] else ""
    out = [
        f"{shape['note']} ({shape['partitions']} objects, {shape['bytes'] / 1e6:.0f} MB), "
        f"{result['cores']} cores ({host['processor']}), {result['server']} on loopback{away}, {result['at'][:10]}.",
        "",
        "| way | models/s | wall s | × floor, wall | CPU s, own | × floor, CPU | CPU s, server | largest difference |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines = [line for line in result["lines"].values() if "wall" in line]
    for line in sorted(lines, key=lambda line: float(line["wall"])):
        found = line.get("check")
        fair = "" if not found else f"{found['largest_difference']:.1g} ({found['bit_equal']} bit-equal)"
        if found and found["missing"]:
            fair += f", {found['missing']} missing"
        cells = [
            line["title"],
            f"{line['models_per_second']:.0f}",
            f"{line['wall']:.2f}",
            f"{line.get('wall_to_floor', 0):.2f}",
            f"{line['cpu']:.2f}",
            f"{line.get('cpu_to_floor', 0):.2f}",
            f"{line['server_cpu']:.2f}",
            fair,
        ]
        out.append(f"| {' | '.join(cells)} |")
    for line in result["lines"].values():
        if "failed" in line:
            out.append(f"| {line['title']} | left out: {line['failed'].split(' (log')[0]} |||||||")
    return "\n".join(out) + "\n"


def _wrong(line: dict[str, Any]) -> bool:
    return bool((line.get("check") or {}).get("missing") or line.get("wrong_number_of_models"))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=list(data.SHAPES), default="default")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--quick", action="store_true", help="3 rounds, the nearest peers")
    parser.add_argument("--only", metavar="NAMES", help="these contenders, with commas; the floor is always there")
    parser.add_argument("--cores", type=int, help="default: as many as this process may use")
    parser.add_argument("--latency", type=float, default=0, metavar="MS", help="a store this far away")
    parser.add_argument("--timeout", type=float, default=600, help="seconds for one round")
    parser.add_argument("--guard", type=float, metavar="RATIO", help="exit 1 if our CPU is above this × the floor's")
    parser.add_argument("--json", metavar="FILE", help="write everything that was measured")
    parser.add_argument("--scratch", metavar="FOLDER", help="logs and data stay here")
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (3 if arguments.quick else 5)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    result = run(arguments)
    for _ in range(ATTEMPTS - 1):
        if not arguments.guard or _holds(result, arguments.guard):
            break
        say("measured again: what else this machine does may have been the reason")
        result = run(arguments)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(result, indent=1) + "\n")
    print(markdown(result))
    wrong = [name for name, line in result["lines"].items() if _wrong(line)]
    if wrong:
        say(f"not every model is there: {', '.join(wrong)}")
        return 1
    return int(bool(arguments.guard) and not _holds(result, arguments.guard))


def _holds(result: dict[str, Any], guard: float) -> bool:
    """Whether this job is at or below the guard, and one that does everything twice, if it was measured, above it."""
    lines = result["lines"]
    found = lines.get(WATCHED, {}).get("cpu_to_floor_paired", float("inf"))
    say(f"manyfit takes {found} times the floor's CPU time; the guard is {guard}")
    if DOUBLED not in lines:
        return found <= guard
    twice = lines[DOUBLED].get("cpu_to_floor_paired", 0)
    say(f"with each key done twice it takes {twice} times, which the guard {'notices' if twice > guard else 'MISSES'}")
    return found <= guard < twice


if __name__ == "__main__":
    raise SystemExit(main())
