"""What replacing the predictions of a few keys costs, beside a full run, and how that depends on the keys of a part.

    python -m benchmarks.replacing [--keys 2000] [--rows 400] [--share 0.01] [--parts 16,32,64] [--json FILE]

CPU seconds of runs in one process, beyond those of a run that finds nothing changed: of changed keys at random, and of
changed keys that are neighbours. Fails where a model of an unchanged key is loaded, or a row is lost or doubled.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from benchmarks.measure import machine
from job.config.score_settings import ScoringSettings
from job.config.settings import JobSettings
from job.engine.inline import InlineEngine
from job.registry.predictions import Predictions
from job.run.assembly import assemble
from job.run.run import run
from job.run.score_assembly import assemble_scoring
from job.run.scoring_run import ScoringRun
from job.score import generation
from job.worker.scoring import Scoring

TRAINED_ON = 30
"""rows of each key that its model is fitted on"""
WARM = 10_000
"""Fleets of more keys are scored without a warm-up: beside them, imports do not count."""
FEATURES = [f"x{number}" for number in range(5)]


def body(rows: int, seed: int) -> bytes:
    values = np.random.default_rng(seed).normal(size=(rows, len(FEATURES) + 1)).round(6)
    sink = pa.BufferOutputStream()
    pcsv.write_csv(pa.table({name: values[:, at] for at, name in enumerate([*FEATURES, "y"])}), sink)
    return gzip.compress(sink.getvalue(), 1)


class Fleet:
    """Models, rows, and predictions that are replaced."""

    def __init__(self, root: Path, keys: int, rows: int) -> None:
        self.root, self.rows = root, rows
        self.names = [f"k{number:07d}" for number in range(keys)]
        for folder in ("in", "new"):
            (root / folder).mkdir()
        for number, name in enumerate(self.names):
            (root / "in" / f"{name}.csv.gz").write_bytes(body(min(rows, TRAINED_ON), number))
            (root / "new" / f"{name}.csv.gz").write_bytes(body(rows, number))
        estimator = {"_target_": "sklearn.linear_model.Ridge"}
        document: dict[str, Any] = {
            "input": {"uri": str(root / "in")},
            "recipe": {"estimator": estimator, "features": FEATURES, "target": "y"},
            "output": {"uri": str(root / "models"), "report": "short"},
            "run": {"engine": "inline"},
        }
        run(assemble(JobSettings.model_validate(document)), document, make_engine=lambda _: InlineEngine())

    def change(self, names: Sequence[str], seed: int) -> None:
        for name in names:
            (self.root / "new" / f"{name}.csv.gz").write_bytes(body(self.rows, seed))

    def score(self, output: str, expected: int) -> tuple[float, float]:
        """CPU seconds, and those of them beyond the planning by the clock."""
        document: dict[str, Any] = {
            "models": {"uri": str(self.root / "models")},
            "input": {"uri": str(self.root / "new")},
            "output": {"uri": str(self.root / output), "mode": "replace"},
            "run": {"engine": "inline"},
        }
        made = assemble_scoring(ScoringSettings.model_validate(document))
        loaded: list[str] = []
        scored = Scoring.run

        def noted(self: Scoring, key: str, *given: Any, **more: Any) -> Any:
            loaded.append(key)
            return scored(self, key, *given, **more)

        Scoring.run = noted  # type: ignore[method-assign]
        begin = time.process_time()
        try:
            report = run(made, document, purpose=ScoringRun(made), make_engine=lambda _: InlineEngine())
        finally:
            Scoring.run = scored  # type: ignore[method-assign]
        spent = time.process_time() - begin
        assert report.totals.scored == len(set(loaded)) == expected, report.totals
        files = [
            pq.read_metadata(self.root / output / "predictions" / name) for name in Predictions(made.output).files()
        ]
        assert sum(each.num_rows for each in files) == len(self.names) * self.rows
        return spent, report.seconds - report.phases["prepare"] - report.phases["plan"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=2000)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--share", type=float, default=0.01)
    parser.add_argument("--parts", default="32")
    parser.add_argument("--json", metavar="FILE")
    chosen = parser.parse_args()
    logging.disable(logging.WARNING)
    print(f"{chosen.keys:,} keys of {chosen.rows} rows; CPU s beyond a run that finds nothing changed")
    print(f"{'keys/part':>9} {'full':>8} {'random':>8} {'share':>7} {'neighbours':>11} {'share':>7}  by the clock")
    begun, found = machine(), []
    few = max(1, round(chosen.keys * chosen.share))
    for keys in map(int, chosen.parts.split(",")):
        generation.MOST_KEYS = keys
        with tempfile.TemporaryDirectory() as folder:
            fleet = Fleet(Path(folder), chosen.keys, chosen.rows)
            if chosen.keys <= WARM:
                fleet.score("warm", chosen.keys)
            full, full_wall = fleet.score("out", chosen.keys)
            idle, idle_wall = fleet.score("out", 0)
            picked = np.random.default_rng(1).choice(fleet.names, few, replace=False).tolist()
            fleet.change(picked, 90_001)
            random, random_wall = fleet.score("out", few)
            middle = chosen.keys // 3
            fleet.change(fleet.names[middle : middle + few], 90_002)
            near, near_wall = fleet.score("out", few)
        whole = full - idle
        shares = [(each - idle) / whole for each in (random, near)]
        walls = [(each - idle_wall) / (full_wall - idle_wall) for each in (random_wall, near_wall)]
        found.append(
            {
                "keys_of_a_part": keys,
                "full_cpu": round(whole, 3),
                "unchanged_cpu": round(idle, 3),
                "random_cpu": round(random - idle, 3),
                "neighbours_cpu": round(near - idle, 3),
                "random_share": round(shares[0], 4),
                "neighbours_share": round(shares[1], 4),
                "random_share_by_the_clock": round(walls[0], 4),
                "neighbours_share_by_the_clock": round(walls[1], 4),
            }
        )
        print(
            f"{keys:>9} {whole:>8.2f} {random - idle:>8.3f} {shares[0]:>7.1%} {near - idle:>11.3f} {shares[1]:>7.1%}"
            f"  {walls[0]:.1%}, {walls[1]:.1%}",
            flush=True,
        )
    if chosen.json:
        about = {"benchmark": "replacing", "keys": chosen.keys, "rows": chosen.rows, "machine": begun}
        Path(chosen.json).write_text(json.dumps({**about, "runs": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
