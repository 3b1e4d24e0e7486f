"""A run whose fits are backtested against a baseline: what stands in the table, in the summary and on the screen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from job.cli import models_table, one_model
from job.judge import intervals
from job.registry.index import Index
from job.registry.model_set import ModelSet
from job.run.report import RunReport, lines
from tests.support.folder_job import Job

RECIPE = {
    "features": ["n"],
    "baseline": {"_target_": "sklearn.dummy.DummyRegressor"},
    "metrics": ["neg_mean_absolute_error"],
    "validation": {"method": "backtest", "column": "day", "windows": 3, "horizon": "7d", "intervals": [80]},
}


def sales(slope: float, seed: int, rows: int = 60) -> bytes:
    rng = np.random.default_rng(seed)
    n = np.arange(rows)
    frame = pd.DataFrame(
        {"day": pd.date_range("2024-01-01", periods=rows), "n": n, "y": slope * n + rng.normal(size=rows)}
    )
    return frame.to_csv(index=False).encode()


@pytest.fixture
def done(tmp_path: Path) -> tuple[Job, RunReport]:
    """Three keys with a trend, which a line follows, and two without, which it does not help."""
    job = Job(tmp_path)
    for number in range(5):
        job.put(f"store={number}.csv", sales(1.0 if number < 3 else 0.0, number))
    return job, job.run(recipe=RECIPE)


def test_the_table_has_class_skill_windows_steps_and_residuals(done: tuple[Job, RunReport]) -> None:
    job, report = done
    rows = {each["key"]: each for each in Index(ModelSet.open(str(job.out))._store).read().to_pylist()}
    one = rows["store=1"]
    assert one["estimator"] == "sklearn.linear_model.LinearRegression"
    assert 0.8 < one["skill"] < 1
    assert one["until"] == "2024-02-29T00:00:00"
    assert [each["rows"] for each in json.loads(one["windows"])] == [7, 7, 7]
    assert json.loads(one["horizons"])["n"] == [3] * 7
    assert 0.5 < intervals.widths(one["residuals"], 80, count=1)[0] < 4
    assert one["gate"] is None
    assert one["challenger"] is None
    assert report.totals.trained == 5


def test_the_summary_names_how_many_are_no_better_than_the_baseline(done: tuple[Job, RunReport]) -> None:
    job, report = done
    skills = models_table.read(ModelSet.open(str(job.out))._store, at=None)["skill"]
    assert report.skilled == 5
    assert report.unskilled == (skills <= 0).sum()
    assert 0 < report.unskilled < 3
    said = "\n".join(lines(report))
    assert f"{report.unskilled} of 5 models do no better than the baseline" in said
    inside, rows = report.coverage["80"]
    assert rows == 5 * 7
    assert f"intervals of 80 % held {inside / rows:.1%} of 35 rows" in said
    recorded = RunReport.from_json((job.out / "runs" / report.run / "result.json").read_bytes())
    assert recorded.skilled == 5


def test_models_are_sorted_and_chosen_by_skill(done: tuple[Job, RunReport], capsys: pytest.CaptureFixture[str]) -> None:
    rows = models_table.read(ModelSet.open(str(done[0].out))._store, at=None)
    chosen = models_table.choose(rows, sort="-skill")
    assert set(chosen["key"][:3]) == {"store=0", "store=1", "store=2"}
    assert len(models_table.choose(rows, where=["skill<=0"])) == done[1].unskilled
    models_table.write(chosen, limit=None, form="text")
    header = capsys.readouterr().out.splitlines()[0].split()
    assert header == ["key", "state", "rows", "size", "neg_mean_absolute_error", "skill", "trained_at"]
    models_table.write(chosen, limit=1, form="json")
    shown = json.loads(capsys.readouterr().out)
    assert [each["rows"] for each in shown["windows"]] == [7, 7, 7]


def test_one_model_is_shown_with_its_windows_and_steps(
    done: tuple[Job, RunReport], capsys: pytest.CaptureFixture[str]
) -> None:
    found = one_model.document(ModelSet.open(str(done[0].out)), "store=1")
    assert found["estimator"] == "LinearRegression"
    one_model.text(found)
    said = capsys.readouterr().out
    assert "2024-02-09T00:00:00 to 2024-02-15T00:00:00: 7 rows by 39; neg_mean_absolute_error" in said
    assert "mae" in said
    assert "± " in said
    assert "skill" in said


def test_an_unchanged_input_is_not_fitted_again(done: tuple[Job, RunReport]) -> None:
    assert done[0].run(recipe=RECIPE).totals.unchanged == 5
