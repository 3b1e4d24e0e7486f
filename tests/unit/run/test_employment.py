"""The example on real data: monthly employment of US industries, backtested, gated, and told of honestly."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from deltalake import DeltaTable

from job import ModelSet
from job.cli import compare_table, models_table
from job.config import load
from job.config.score_settings import ScoringSettings
from job.engine.inline import InlineEngine
from job.judge import intervals
from job.run.assembly import assemble
from job.run.report import RunReport, lines
from job.run.run import run
from job.run.score_assembly import assemble_scoring
from job.run.scoring_run import ScoringRun
from job.store import open_store
from tests.support.script import script

EXAMPLE = Path(__file__).parents[3] / "examples" / "employment"
SOME = 24
"""industries of the 148: enough to see everything, and few enough for a unit test"""


@pytest.fixture(scope="module")
def example() -> ModuleType:
    return script(EXAMPLE / "lay_out.py")


def trained(folder: Path, *more: str) -> RunReport:
    """The example's own job.yaml, with its folders moved, and some industries."""
    overrides = ["--input.uri", str(folder / "data"), "--output.uri", str(folder / "models")]
    overrides += ["--input.limit", str(SOME), "--output.report", "short", *more]
    loaded = load.load(argv_overrides=overrides, file=str(EXAMPLE / "job.yaml"), env={})
    made = assemble(loaded.settings, loaded.base)
    return run(made, loaded.to_document(defaults=False), make_engine=lambda _: InlineEngine())


def scored(folder: Path) -> tuple[RunReport, pd.DataFrame]:
    """The example's own score.yaml, with the models of 2016."""
    overrides = ["--models.uri", str(folder / "models"), "--models.at", "2"]
    overrides += ["--input.uri", str(folder / "next"), "--output.uri", str(folder / "predictions")]
    overrides += ["--output.report", "short"]
    loaded = load.load(file=str(EXAMPLE / "score.yaml"), env={}, argv_overrides=overrides, kind=ScoringSettings)
    assert isinstance(loaded.settings, ScoringSettings)
    made = assemble_scoring(loaded.settings, loaded.base)
    document = loaded.to_document(defaults=False)
    report = run(made, document, purpose=ScoringRun(made), make_engine=lambda _: InlineEngine())
    return report, DeltaTable(str(folder / "predictions" / "predictions")).to_pandas()


@pytest.fixture(scope="module")
def three_years(example: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[RunReport]]:
    """A naive recipe in 2014; the example's two years later; and the naive one again, two years after that."""
    folder = tmp_path_factory.mktemp("employment")
    naive = ("--recipe.estimator", '{"_target_": "sklearn.dummy.DummyRegressor"}')
    reports = []
    for until, recipe in (("2014-09", naive), ("2016-09", ()), ("2018-09", naive)):
        assert example.lay_out(folder / "data", until) == 148
        reports.append(trained(folder, *recipe))
    return folder, reports


def test_a_naive_recipe_is_replaced_and_does_not_come_back(three_years: tuple[Path, list[RunReport]]) -> None:
    folder, (first, second, third) = three_years
    assert first.gate == {"first": SOME, "promoted": 0, "kept": 0, "undecidable": 0}
    # Of two years of months that resemble each other, not each industry's say enough.
    assert (second.gate["promoted"], second.gate["kept"]) == (15, 9)
    assert (third.gate["promoted"], third.gate["kept"]) == (1, 23)
    kinds = [type(model).__name__ for model in ModelSet.open(str(folder / "models")).values()]
    assert kinds.count("LinearRegression") == 15  # a mean of the year 2014 is followed by another mean
    assert third.exit_code == 0


def test_two_years_of_months_have_judged(three_years: tuple[Path, list[RunReport]]) -> None:
    folder, _ = three_years
    rows = models_table.read(open_store(str(folder / "models")), at=2)
    promoted = rows["gate"] == "promoted"
    assert (rows["gate_rows"] == 24).all()
    assert (rows.loc[promoted, "gate_p"] <= 0.05).all()
    assert (rows.loc[promoted, "gate_challenger"] > rows.loc[promoted, "gate_champion"]).all()
    assert (rows["challenger"].notna() == ~promoted).all()


def test_who_is_no_better_than_the_year_before_is_named(three_years: tuple[Path, list[RunReport]]) -> None:
    folder, (_, second, _) = three_years
    rows = models_table.read(open_store(str(folder / "models")), at=2)
    kept = rows[rows["gate"] == "kept"]
    challengers = [json.loads(each)["skill"] for each in kept["challenger_row"]]
    live = rows.loc[rows["gate"] == "promoted", "skill"]
    assert second.unskilled == (live <= 0).sum() + sum(each <= 0 for each in challengers) == 9
    assert any("do no better than the baseline" in each for each in lines(second))


def test_intervals_hold_about_what_they_say_of_the_next_two_years(
    three_years: tuple[Path, list[RunReport]], example: ModuleType
) -> None:
    """The published models of 2016 and what happened until 2018, with the widths of each step."""
    folder, (_, second, _) = three_years
    # Employment is no exchangeable series: what is measured says so, and so does the summary.
    assert second.coverage["80"] == (179, 288)
    assert "intervals of 80 % held 62.2% of 288 rows in the newest windows" in lines(second)
    models = ModelSet.open(str(folder / "models"), at=2)
    held: list[Any] = []
    for key, model in models.items():
        data = pd.read_csv(folder / "data" / f"{key}.csv.gz", parse_dates=["month"])
        new = data[data["month"] > "2016-09-01"][:12]
        names = list(getattr(model, "feature_names_in_", [])) or [
            each for each in new if each not in ("month", "employed")
        ]
        off = np.abs(new["employed"] - model.predict(new[names]))
        held += (off <= intervals.widths(json.dumps(models.info(key)["residuals"]), 80, np.arange(1, 13))).tolist()
    assert len(held) == SOME * 12
    assert np.mean(held) == pytest.approx(0.861, abs=0.02)

    assert example.lay_out(folder / "next", "2017-09", "2016-09") == 148
    report, table = scored(folder)
    assert (report.totals.scored, report.totals.skipped) == (SOME, 148 - SOME)  # the others have no model
    assert report.coverage["80"] == (sum(held), SOME * 12)
    assert ((table["employed"] >= table["lo_80"]) & (table["employed"] <= table["hi_80"])).sum() == sum(held)
    assert (table["hi_95"] >= table["hi_80"]).all()


def test_two_years_are_compared(three_years: tuple[Path, list[RunReport]]) -> None:
    folder, _ = three_years
    rows = compare_table.read(open_store(str(folder / "models")), now=2, then=1)
    changed = rows[rows["change"] == "model"]
    assert len(changed) == 15
    assert (changed["neg_mean_absolute_error_change"] > 0).all()
    assert "greater for" in "\n".join(compare_table.summary(rows))


def test_what_a_key_keeps_is_told_in_full(three_years: tuple[Path, list[RunReport]]) -> None:
    folder, _ = three_years
    info = ModelSet.open(str(folder / "models"), at=2).info("CEU0500000001")
    assert [each["rows"] for each in info["windows"]] == [12] * 5
    assert info["windows"][-1]["to"] == "2016-09-01T00:00:00" == info["until"]
    assert info["horizons"]["n"] == [5] * 12
    assert json.dumps(info["residuals"])
