"""The example on real data: a line for each of 142 countries to 2002, held against 2007, equal to plain scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from sklearn.linear_model import LinearRegression

from job.config import load
from job.config.score_settings import ScoringSettings
from job.config.settings import JobSettings
from job.engine.inline import InlineEngine
from job.run.assembly import assemble
from job.run.run import run
from job.run.score_assembly import assemble_scoring
from job.run.scoring_run import ScoringRun
from tests.support.score_job import counts
from tests.support.script import script

EXAMPLE = Path(__file__).parents[3] / "examples" / "scoring"


def test_every_country_is_scored_once_as_plain_scikit_learn_would_and_its_error_is_known(tmp_path: Path) -> None:
    lay_out: Any = script(EXAMPLE / "lay_out.py")
    assert lay_out.lay_out(tmp_path / "data") == 142
    short = ["--output.report", "short"]
    folders = [*short, "--output.uri", str(tmp_path / "models"), "--input.uri", str(tmp_path / "data/known")]
    job = load.load(file=str(EXAMPLE / "job.yaml"), env={}, argv_overrides=folders)
    assert isinstance(job.settings, JobSettings)
    run(assemble(job.settings, job.base), job.to_document(defaults=False), make_engine=lambda _: InlineEngine())
    folders = [*short, "--output.uri", str(tmp_path / "out"), "--input.uri", str(tmp_path / "data/new")]
    folders += ["--models.uri", str(tmp_path / "models")]
    scoring = load.load(file=str(EXAMPLE / "score.yaml"), env={}, argv_overrides=folders, kind=ScoringSettings)
    assert isinstance(scoring.settings, ScoringSettings)
    made = assemble_scoring(scoring.settings)

    report = run(
        made, scoring.to_document(defaults=False), purpose=ScoringRun(made), make_engine=lambda _: InlineEngine()
    )

    assert counts(report) == (142, 0, 0, 0)
    found = rows(tmp_path / "out/predictions").set_index("country")
    errors = rows(tmp_path / "out/errors").set_index("key")
    data = lay_out.frame()
    assert len(found) == 142
    for country, part in data.groupby("country"):
        known, new = part[part["year"] <= 2002], part[part["year"] > 2002]
        line = LinearRegression().fit(known[["year"]], known["lifeExp"])
        assert found.loc[country, "prediction"] == line.predict(new[["year"]])[0]
        off = abs(new["lifeExp"].item() - found.loc[country, "prediction"])
        assert errors.loc[country, "mae"] == pytest.approx(off)


def rows(table: Path) -> pd.DataFrame:
    return pd.concat([pq.read_table(each).to_pandas() for each in DeltaTable(str(table)).file_uris()])
