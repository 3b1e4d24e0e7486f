"""Tables of odd shapes on the local engine: CPU, memory, and what a second run costs.

    uv run python -m benchmarks.table_shapes                      every shape
    uv run python -m benchmarks.table_shapes --shapes half,zipf
    uv run python -m benchmarks.table_shapes --scale 0.01         that it runs

CPU seconds are those of the driver and its workers, which are up before. Each shape has workers of its own; the peak is
the largest that one of them grew to. Models of shape ``zipf`` are compared with those of scikit-learn on the same rows.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import write_deltalake
from sklearn.linear_model import LinearRegression

from benchmarks.manyfit import Kept
from benchmarks.measure import adopt_orphans, machine, tree_cpu
from job import ModelSet
from job import engine as engines
from job.config.settings import JobSettings
from job.run.assembly import assemble
from job.run.report import RunReport
from job.run.run import run

FEATURES = [f"x{number}" for number in range(5)]
ROW_GROUP = 100_000


@dataclass(frozen=True, kw_only=True)
class Line:
    """One run."""

    what: str
    rows: int
    trained: int
    wall: float
    cpu: float
    driver_cpu: float
    peak_mb: float
    """resident megabytes of the largest worker"""


class Place:
    """A table in a folder, and runs on it with one engine.

    Parameters
    ----------
    folder
        Of this shape.
    form
        Format of the table.
    """

    def __init__(self, folder: Path, form: str = "parquet") -> None:
        self.data, self.out = folder / "data", folder / "out"
        self.data.mkdir(parents=True)
        self._document: dict[str, dict[str, object]] = {
            "input": {"uri": str(self.data), "layout": "columns", "key": "k", "format": form},
            "recipe": {
                "features": FEATURES,
                "target": "y",
                "estimator": {"_target_": "sklearn.linear_model.LinearRegression"},
            },
            "output": {"uri": str(self.out), "report": "short"},
            "run": {"engine": "local"},
        }
        self._settings = JobSettings.model_validate(self._document)
        self._engine = engines.make(self._settings)
        self._warm(folder)

    def _warm(self, folder: Path) -> None:
        """A small run to another place: the workers have imported everything."""
        pq.write_table(table(scattered(20, 20)), self.data / "warm.parquet")
        own = {"input": {**self._document["input"], "format": "parquet"}, "output": {"uri": str(folder / "warm")}}
        document = {**self._document, **own}
        run(assemble(JobSettings.model_validate(document)), document, make_engine=lambda _: Kept(self._engine))
        (self.data / "warm.parquet").unlink()

    def write(self, table: pa.Table, files: int = 8) -> None:
        """As parquet, in files of the same size."""
        for part in range(files):
            begin, end = (table.num_rows * each // files for each in (part, part + 1))
            name = self.data / f"p{part:02d}.parquet"
            pq.write_table(table.slice(begin, end - begin), name, row_group_size=ROW_GROUP)

    def run(self, what: str, rows: int) -> Line:
        """One whole run, from planning to release."""
        wall, cpu, own = time.perf_counter(), tree_cpu(os.getpid()), time.process_time()
        done: RunReport = run(assemble(self._settings), self._document, make_engine=lambda _: Kept(self._engine))
        line = Line(
            what=what,
            rows=rows,
            trained=done.totals.trained,
            wall=round(time.perf_counter() - wall, 2),
            cpu=round(tree_cpu(os.getpid()) - cpu, 2),
            driver_cpu=round(time.process_time() - own, 2),
            peak_mb=round(done.peak / 1e6),
        )
        print(line, file=sys.stderr, flush=True)
        assert done.totals.failed == 0, done.failures
        return line

    def close(self) -> None:
        """End the workers."""
        self._engine.stop()


def table(number: np.ndarray, seed: int = 0, columns: int = 5) -> pa.Table:
    """Rows of the keys with these numbers, in this order."""
    chance = np.random.default_rng(seed)
    found = {"k": number}
    target = number + chance.normal(size=len(number))
    for at in range(columns):
        found[f"x{at}"] = chance.random(len(number), np.float32)
        if at < len(FEATURES):
            target = target + (at + 1) * found[f"x{at}"]
    return pa.table({**found, "y": target})


def scattered(keys: int, rows: int, seed: int = 0) -> np.ndarray:
    """Numbers of keys, each so many times, in random order."""
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(keys), rows))


def many(place: Place, scale: float) -> Iterator[Line]:
    """100,000 keys of 50 rows, then a run that finds nothing changed."""
    keys = int(100_000 * scale)
    place.write(table(scattered(keys, 50)))
    yield place.run(f"{keys:,} keys × 50 rows, scattered", keys * 50)
    yield place.run("the same again, nothing changed", keys * 50)


def wide(place: Place, scale: float) -> Iterator[Line]:
    """1,000 columns of which 5 are needed; then the table without the others."""
    rows = max(20, int(400 * scale))
    place.write(table(scattered(100, rows), columns=1000))
    yield place.run(f"100 keys × {rows} rows, 5 of 1,000 columns needed", 100 * rows)
    place.write(table(scattered(100, rows, 1), seed=1))
    yield place.run("the same keys and rows with 5 columns", 100 * rows)


def zipf(place: Place, scale: float) -> Iterator[Line]:
    """Sizes of keys after Zipf(1.1)."""
    keys, total = int(5000 * scale) or 1, int(2_000_000 * scale)
    share = 1 / np.arange(1, keys + 1) ** 1.1
    sizes = np.maximum(10, (share / share.sum() * total).astype(int))
    number = np.random.default_rng(0).permutation(np.repeat(np.arange(keys), sizes))
    rows = table(number)
    place.write(rows)
    yield place.run(f"{keys:,} keys, sizes after Zipf(1.1): {sizes.max():,} to {sizes.min()} rows", int(sizes.sum()))
    models = ModelSet.open(str(place.out))
    for key in range(0, keys, max(1, keys // 50)):
        own = rows.filter(pc.equal(rows["k"], key)).to_pandas()
        wanted = LinearRegression().fit(own[FEATURES], own["y"])
        assert np.array_equal(models[f"k={key}"].coef_, wanted.coef_), "the same rows in the same order"


def half(place: Place, scale: float) -> Iterator[Line]:
    """One key with half of the rows of a large table, beside the same rows in keys of the same size."""
    rows = int(6_000_000 * scale)
    number = np.random.default_rng(0).integers(1, 1001, rows)
    place.write(table(np.where(np.arange(rows) % 2 == 0, 0, number)))
    yield place.run(f"1,001 keys, one of them with {rows // 2:,} of {rows:,} rows", rows)


def even(place: Place, scale: float) -> Iterator[Line]:
    """As many rows as `half`, in keys of the same size."""
    rows = int(6_000_000 * scale)
    place.write(table(np.random.default_rng(0).integers(0, 1001, rows)))
    yield place.run(f"1,001 keys of about the same size, {rows:,} rows", rows)


def append(place: Place, scale: float, *, clustered: bool) -> Iterator[Line]:
    """A Delta table; then an append of rows of 1 % of the keys, and a run that finds nothing changed."""
    keys = int(20_000 * scale)
    number = np.repeat(np.arange(keys), 50) if clustered else scattered(keys, 50)
    kind = "clustered" if clustered else "scattered"
    rows = table(number)
    for part in range(8):
        begin, end = (len(number) * each // 8 for each in (part, part + 1))
        write_deltalake(str(place.data), rows.slice(begin, end - begin), mode="append")
    yield place.run(f"Delta, {kind}: {keys:,} keys × 50 rows", len(number))
    some = max(1, keys // 100)
    touched = (
        np.arange(keys // 2, keys // 2 + some) if clustered else np.random.default_rng(1).choice(keys, some, False)
    )
    write_deltalake(str(place.data), table(np.repeat(touched, 5), seed=1), mode="append")
    yield place.run(f"Delta, {kind}: after an append to 1 % of the keys", len(touched) * 5)
    yield place.run(f"Delta, {kind}: nothing changed", len(number))


SHAPES: dict[str, tuple[Callable[[Place, float], Iterator[Line]], str]] = {
    "many": (many, "parquet"),
    "wide": (wide, "parquet"),
    "zipf": (zipf, "parquet"),
    "half": (half, "parquet"),
    "even": (even, "parquet"),
    "append-clustered": (lambda place, scale: append(place, scale, clustered=True), "delta"),
    "append-scattered": (lambda place, scale: append(place, scale, clustered=False), "delta"),
}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", metavar="NAMES", help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of keys or rows")
    parser.add_argument("--json", metavar="FILE", help="write everything that was measured")
    arguments = parser.parse_args()
    adopt_orphans()
    begun, lines = machine(), []
    for name in arguments.shapes.split(",") if arguments.shapes else SHAPES:
        shape, form = SHAPES[name]
        with tempfile.TemporaryDirectory(prefix="manyfit-bench-") as folder:
            place = Place(Path(folder), form)
            try:
                lines += list(shape(place, arguments.scale))
            finally:
                place.close()
    print("| run | rows | trained | wall, s | CPU, s | driver's, s | largest worker, MB |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for line in lines:
        print(
            f"| {line.what} | {line.rows:,} | {line.trained:,} | {line.wall:.1f} | {line.cpu:.1f} | "
            f"{line.driver_cpu:.1f} | {line.peak_mb or ''} |"
        )
    if arguments.json:
        told = {
            "machine": begun,
            "command": " ".join(sys.argv[1:]),
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        told["lines"] = [line.__dict__ for line in lines]
        Path(arguments.json).write_text(json.dumps(told, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
