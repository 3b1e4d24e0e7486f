"""The examples in the repository, as README tells them: real data, on real Spark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from job import ModelSet
from job.config import load
from job.run.assembly import assemble
from job.run.report import RunReport
from job.run.run import run
from tests.support.script import script
from tests.support.spark_jobs import SharedEngine

pytestmark = pytest.mark.spark

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def trained(name: str, folder: Path) -> RunReport:
    """The example's own job.yaml, with its folders moved."""
    overrides = [
        "--input.uri",
        str(folder / "data"),
        "--output.uri",
        str(folder / "models"),
        "--spark.master",
        "local[2,4]",
    ]
    loaded = load.load(argv_overrides=overrides, file=str(EXAMPLES / name / "job.yaml"), env={})
    made = assemble(loaded.settings, loaded.base)
    return run(made, loaded.to_document(defaults=False), make_engine=lambda each: SharedEngine(each.settings))


def test_gapminder_gives_142_models_and_the_countries_that_a_line_fits_worst(spark: Any, tmp_path: Path) -> None:
    assert script(EXAMPLES / "gapminder/lay_out.py").lay_out(tmp_path / "data") == 142

    report = trained("gapminder", tmp_path)

    assert (report.totals.trained, report.totals.failed) == (142, 0)
    table = script(EXAMPLES / "gapminder/plot.py").plot(
        str(tmp_path / "models"), tmp_path / "data", tmp_path / "worst.png"
    )
    assert list(table.index) == ["Rwanda", "Botswana", "Zimbabwe", "Zambia", "Swaziland", "Lesotho"]
    assert table["r2"].round(3).tolist() == [0.017, 0.034, 0.056, 0.060, 0.068, 0.085]
    assert (tmp_path / "worst.png").read_bytes().startswith(b"\x89PNG")
    rows = pd.read_csv(tmp_path / "data" / "Oman.csv.gz")
    model = ModelSet.open(str(tmp_path / "models"))["Oman"]
    assert model.coef_[0] == pytest.approx(rows["year"].cov(rows["lifeExp"]) / rows["year"].var())


def test_one_text_pipeline_for_each_category_judges_reviews_it_has_not_seen(spark: Any, tmp_path: Path) -> None:
    script(EXAMPLES / "reviews/lay_out.py").lay_out(tmp_path / "data")

    report = trained("reviews", tmp_path)

    assert report.totals.trained == 5
    models = ModelSet.open(str(tmp_path / "models"))
    assert (models.metrics()["accuracy"] > 0.9).all()
    # the same word praises a knife and damns a toy
    sharp = pd.Series(["it was really sharp and the delivery was quick"])
    assert bool(models["kitchen"].predict(sharp)[0]) is True
    assert bool(models["toys"].predict(sharp)[0]) is False
