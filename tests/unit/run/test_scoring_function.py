"""Scoring by a user's function, with rows and without, on every engine that needs no Java."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from job.errors import ConfigurationError
from job.registry.index import Index
from job.run.run_files import Started
from job.run.scoring_run import ScoringRun
from job.store import open_store
from tests.support.engines import workers
from tests.support.folder_job import line
from tests.support.score_job import ScoreJob, counts

FORECAST = """
import pandas as pd
from shared import WEEKS

def forecast(model, frame, key):
    if key == "k3":
        raise ValueError("no forecast")
    x = pd.DataFrame({"x": [10.0 + week for week in range(WEEKS)]}) if frame is None else frame[["x"]].head(2)
    return pd.DataFrame({"week": range(len(x)), "prediction": model.predict(x)})
"""


@pytest.fixture
def job(tmp_path: Path) -> ScoreJob:
    made = ScoreJob(tmp_path)
    made.trained.run()
    (tmp_path / "score.py").write_text(FORECAST)
    (tmp_path / "shared.py").write_text("WEEKS = 3\n")
    made.overrides = {"score": {"function": "score.py:forecast", "code": ["shared.py"]}, "run": {"max_failed": 1}}
    return made


WITHOUT: dict[str, Any] = {"input": {"uri": None}}


@pytest.mark.parametrize("engine", ["inline", "local"])
def test_each_model_forecasts_without_rows_and_rows_written_are_counted_alone(job: ScoreJob, engine: str) -> None:
    job.data.rename(job.data.with_name("elsewhere"))
    start = {"inline": None, "local": lambda _: workers()}[engine]

    report = job.score(start, **WITHOUT, run={"max_failed": 1, "engine": engine})

    assert counts(report) == (3, 0, 0, 1)
    assert (report.totals.rows_read, report.totals.rows_written, report.totals.rows_refused) == (0, 9, 0)
    assert job.keys() == {"k0": 3, "k1": 3, "k2": 3}
    found = job.table().to_pandas().sort_values(["_key", "week"])
    assert found["prediction"].tolist() == pytest.approx([slope * x for slope in (1, 2, 3) for x in (10, 11, 12)])
    assert found["_input"].isna().all()


def test_a_failure_keeps_its_traceback(job: ScoreJob) -> None:
    report = job.score(**WITHOUT)

    assert report.failures == {"predict_error": 1}
    (kept,) = (job.out / "runs" / report.run / "failures").iterdir()
    assert 'raise ValueError("no forecast")' in kept.read_text()


def test_a_function_gets_the_rows_of_its_key_and_gives_as_many_as_it_likes(job: ScoreJob) -> None:
    report = job.score()

    assert counts(report) == (3, 0, 0, 1)
    assert (report.totals.rows_read, report.totals.rows_written) == (0, 6)
    assert job.table().to_pandas().groupby("_key")["prediction"].max().tolist() == pytest.approx([0.5, 1.0, 1.5])


def test_a_forecast_is_made_again_for_a_new_model_and_for_changed_code_alone(job: ScoreJob) -> None:
    job.trained.put("k3.csv.gz", line(4.0))
    job.score(**WITHOUT)
    job.trained.put("k1.csv.gz", line(9.0))
    job.trained.run()

    assert counts(job.score(**WITHOUT)) == (1, 2, 0, 1)
    (job.data.parent / "shared.py").write_text("WEEKS = 2\n")
    assert counts(job.score(**WITHOUT)) == (3, 0, 0, 1)
    assert counts(job.score(**WITHOUT)) == (0, 3, 0, 1)
    assert job.keys() == {"k0": 5, "k1": 8, "k2": 5}


def test_a_key_that_leaves_the_set_is_gone_and_filters_choose_among_the_keys(job: ScoreJob) -> None:
    report = job.score(input={"uri": None, "include": ["k[01]"]})
    assert counts(report) == (2, 0, 0, 0)
    job.score(**WITHOUT)
    Index(open_store(str(job.trained.out))).retire(["k0"])

    totals = job.score(**WITHOUT).totals

    assert (totals.planned, totals.gone) == (3, 1)


def test_without_input_a_method_is_refused_and_so_are_settings_of_a_method_beside_a_function(job: ScoreJob) -> None:
    with pytest.raises(ValidationError, match=r"input.uri|is required"):
        job.score(**WITHOUT, score={"function": None, "code": None})
    for name, value in {"keep": ["x"], "missing": "drop", "actual": "y", "method": "transform"}.items():
        with pytest.raises(ValidationError, match=f"{name}"):
            job.score(score={"function": "score.py:forecast", name: value})


def test_a_function_that_is_not_there_is_refused_with_what_is_there(job: ScoreJob) -> None:
    with pytest.raises(ConfigurationError, match=r"score.function: score.py:predict") as caught:
        job.score(score={"function": "score.py:predict", "code": ["shared.py"]})

    assert "forecast" in caught.value.hint


def test_an_own_function_is_planned_with_its_types_and_rows(job: ScoreJob) -> None:
    made = job.assembly(**WITHOUT)
    run = ScoringRun(made)
    run.plan(made, Started(id="plan", plan="p", at=datetime.now(UTC)), None)

    assert [name for name, _ in run.recipe.types or ()] == ["week", "prediction"]


def test_a_function_that_changes_its_model_changes_it_for_no_other_key(job: ScoreJob) -> None:
    body = "def forecast(model, frame, key):\n    model.coef_ += 1\n    return model.coef_\n"
    (job.data.parent / "score.py").write_text(body)
    version = Index(open_store(str(job.trained.out))).retire(["k1", "k2", "k3"]).version

    job.score(score={"function": "score.py:forecast", "missing_model": {"fallback": "k0"}}, models={"at": version})

    assert job.table()["prediction"].to_pylist() == pytest.approx([2.0] * 4)
