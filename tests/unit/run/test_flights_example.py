"""The example on flights: one real table, as csv and as Delta, gives the models of pandas and scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from deltalake import write_deltalake
from sklearn.linear_model import LinearRegression

from job import ModelSet
from job.config import load
from job.engine.inline import InlineEngine
from job.run.assembly import assemble
from job.run.report import RunReport
from job.run.run import run
from tests.support.script import script

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "flights"
FEATURES = ["dep_delay", "hour", "month"]


def lay_out(folder: Path) -> int:
    return int(script(EXAMPLE / "lay_out.py").lay_out(folder))


def trained(source: Path, models: Path, *more: str) -> RunReport:
    """The example's own job.yaml, with its folders moved."""
    overrides = ["--input.uri", str(source), "--output.uri", str(models), "--run.engine", "inline"]
    overrides += ["--output.report", "short", *more]
    loaded = load.load(argv_overrides=overrides, file=str(EXAMPLE / "job.yaml"), env={})
    made = assemble(loaded.settings, loaded.base)
    return run(made, loaded.to_document(defaults=False), make_engine=lambda _: InlineEngine())


def test_flights_by_route_as_one_csv_and_as_delta_are_those_of_pandas_to_the_last_bit(tmp_path: Path) -> None:
    assert lay_out(tmp_path / "csv") == 336_776

    report = trained(tmp_path / "csv", tmp_path / "models")

    assert (report.totals.planned, report.totals.trained, report.totals.failed) == (224, 205, 0)
    frame = pd.read_csv(tmp_path / "csv" / "flights.csv", float_precision="round_trip")
    models = ModelSet.open(str(tmp_path / "models"))
    routes = 0
    for (origin, dest), rows in frame.groupby(["origin", "dest"]):
        found: Any = models.get(f"origin={origin}/dest={dest}")
        if found is None:
            continue
        rows = rows.sort_values("time_hour", kind="stable").dropna(subset="arr_delay")
        model = LinearRegression().fit(rows[FEATURES], rows["arr_delay"])
        assert (found.coef_.tolist(), found.intercept_) == (model.coef_.tolist(), model.intercept_)
        routes += 1
    assert routes == 205

    write_deltalake(str(tmp_path / "delta"), pa.Table.from_pandas(frame, preserve_index=False))
    trained(tmp_path / "delta", tmp_path / "other", "--input.format", "delta")
    others: Any = ModelSet.open(str(tmp_path / "other"))
    assert sorted(others) == sorted(models)
    route = "origin=JFK/dest=LAX"
    assert others[route].coef_.tolist() == models[route].coef_.tolist()
