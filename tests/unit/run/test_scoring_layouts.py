"""Scoring tables by key columns, and on the local engine: each row once, by its key's model."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from job import ModelSet
from job.arrow import whole
from job.run import score_types
from job.run.run_files import Started
from job.run.scoring_run import ScoringRun
from tests.support.engines import workers
from tests.support.score_job import ScoreJob, counts

KEY = {"layout": "columns", "key": ["shop", "item"]}


def table(keys: int, rows: int, first: int = 0) -> pd.DataFrame:
    """Interleaved rows: ``y`` is ``x`` times the number of its key, from 1."""
    number = np.tile(np.arange(keys), rows)
    x = np.repeat(np.arange(first, first + rows), keys).astype(float)
    return pd.DataFrame({"shop": number // 2, "item": number % 2, "x": x, "y": x * (number + 1)})


@pytest.fixture
def job(tmp_path: Path) -> ScoreJob:
    made = ScoreJob(tmp_path, keys=0)
    table(10, 12).to_csv(made.trained.data / "all.csv", index=False)
    made.trained.overrides["input"] = KEY
    made.trained.run()
    for part in range(3):
        table(10, 5, 20).iloc[part::3].to_csv(made.data / f"p{part}.csv", index=False)
    made.overrides["input"] = KEY
    return made


def check(job: ScoreJob, rows: int = 5) -> None:
    assert job.keys() == {f"shop={number // 2}/item={number % 2}": rows for number in range(10)}
    found = job.table().to_pandas()
    assert np.allclose(
        found["prediction"], found["x"] * (2 * found["shop"].astype(int) + found["item"].astype(int) + 1)
    )


@pytest.mark.parametrize("mode", ["append", "replace"])
@pytest.mark.parametrize("engine", ["inline", "local"])
def test_a_table_is_scored_by_its_key_columns_and_only_changed_keys_are_scored_again(
    job: ScoreJob, engine: str, mode: str
) -> None:
    sections: dict[str, Any] = {"run": {"engine": engine, "workers": 2 if engine == "local" else None}}
    sections["output"] = {"mode": mode}
    start = (lambda _: workers()) if engine == "local" else None

    assert counts(job.score(start, **sections)) == (10, 0, 0, 0)
    check(job)
    new = pd.DataFrame({"shop": [2], "item": [1], "x": [7.0], "y": [42.0]})
    new.to_csv(job.data / "p9.csv", index=False)

    report = job.score(start, **sections)

    assert counts(report)[0] == 1
    assert report.totals.rows_written == 6
    assert job.keys()["shop=2/item=1"] == (6 if mode == "replace" else 11)
    assert counts(job.score(start, **sections)) == (0, 10, 0, 0)


def test_a_key_of_a_table_without_a_model_is_skipped(job: ScoreJob) -> None:
    pd.DataFrame({"shop": [9], "item": [1], "x": [7.0], "y": [42.0]}).to_csv(job.data / "p9.csv", index=False)

    assert counts(job.score()) == (10, 0, 1, 0)
    check(job)


def test_texts_that_look_like_numbers_stay_texts_for_models_of_texts(tmp_path: Path) -> None:
    job = ScoreJob(tmp_path, keys=0)
    notes = ["a 12", "b 7", "12 12", "7"]
    frame = pd.DataFrame({"shop": np.repeat([0, 1], 4), "note": notes * 2, "y": [2.0, 1.0, 4.0, 1.0] * 2})
    frame.to_csv(job.trained.data / "all.csv", index=False)
    counted = {"_target_": "sklearn.feature_extraction.text.CountVectorizer", "token_pattern": "\\d+"}
    steps = [["count", counted], ["fit", {"_target_": "sklearn.linear_model.Ridge"}]]
    estimator = {"_target_": "sklearn.pipeline.Pipeline", "steps": steps}
    key = {"layout": "columns", "key": "shop"}
    job.trained.run(input=key, recipe={"features": "note", "target": "y", "estimator": estimator})
    new = pd.DataFrame({"shop": [0, 1, 0], "note": ["12", "7", "012"]})
    new.to_csv(job.data / "new.csv", index=False)

    assert counts(job.score(input=key)) == (2, 0, 0, 0)

    found = job.table().to_pandas().sort_values("note")
    assert found["note"].tolist() == ["012", "12", "7"]
    models = ModelSet.open(str(job.trained.out))
    expected = [models[f"shop={shop}"].predict([note])[0] for shop, note in ((0, "012"), (0, "12"), (1, "7"))]
    assert found["prediction"].tolist() == expected
    assert expected[0] != expected[1]


def test_an_input_of_which_no_key_has_a_model_is_told_with_a_key_of_either_side(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = ScoreJob(tmp_path, keys=1)
    job.trained.run()
    (job.data / "k0.csv").unlink()
    job.put("all.csv", b"shop,x\nk0,1\n")

    job.score(input={"layout": "columns", "key": ["shop"]})

    assert "its keys are such as 'shop=k0', and those of" in caplog.text
    assert "are such as 'k0'" in caplog.text
    caplog.clear()
    job.score(input={"layout": "columns", "key": ["shop"]}, score={"missing_model": {"fallback": "k0"}})
    assert "are such as" not in caplog.text


def planned(job: ScoreJob, **sections: Any) -> ScoringRun:
    run = ScoringRun(job.assembly(**sections))
    run.plan(job.assembly(**sections), Started(id="plan", plan="p", at=datetime.now(UTC)), None)
    return run


def test_rows_that_a_plan_predicts_are_those_of_the_key_that_stands_beside_them(job: ScoreJob) -> None:
    scored = [each for each in planned(job).samples if each.scored is not None]

    assert len(scored) == 8
    for each in scored:
        assert each.rows is not None
        levels = zip(each.rows["shop"].to_pylist(), each.rows["item"].to_pylist(), strict=True)
        assert {f"shop={shop}/item={item}" for shop, item in levels} == {each.key}


def test_a_file_that_spark_will_divide_gives_types_and_its_rows_are_those_of_no_key(job: ScoreJob) -> None:
    run, assembly = planned(job), job.assembly()
    plan, _ = run.plan(assembly, Started(id="plan", plan="p", at=datetime.now(UTC)), None)
    at = run.pinned.choose(whole(plan.keys["key"])).at

    found = score_types.samples(assembly, replace(plan, table=None), at, run.pinned, run.recipe)

    assert [each.own for each in found if each.rows is not None] == [False] * len(found)
    assert score_types.settled(found, None, None) is not None
    assert found


def test_the_type_of_a_column_of_a_csv_table_is_that_of_the_rows_of_other_keys_too(tmp_path: Path) -> None:
    job = ScoreJob(tmp_path, keys=0)
    (job.trained.data / "all.csv").write_text(table(60, 3).to_csv(index=False))
    job.trained.overrides["input"] = job.overrides["input"] = KEY
    job.trained.run()
    rows = table(60, 3)
    rows["price"] = [str(at) for at in range(len(rows))]
    rows.loc[(rows["shop"] == 1) & (rows["item"] == 1), "price"] = "1.5"
    job.put("all.csv", rows.to_csv(index=False).encode())

    assert counts(job.score()) == (60, 0, 0, 0)


def test_a_file_without_rows_says_nothing_of_the_types_of_a_table(tmp_path: Path) -> None:
    job = ScoreJob(tmp_path, keys=0)
    csv = b"shop,code,x,y\n" + b"".join(
        b"%s,%s,%d,%d\n" % (shop, code, at, at) for shop, code in SHOPS for at in range(9)
    )
    job.trained.put("all.csv", csv)
    job.trained.overrides["input"] = job.overrides["input"] = {"layout": "columns", "key": ["shop"]}
    job.trained.run()
    job.put("1.csv", b"shop,code,x,y\n")
    job.put("2.csv", csv)

    assert counts(job.score()) == (2, 0, 0, 0)
    assert set(job.table()["code"].to_pylist()) == {"7", "A1"}


SHOPS = ((b"a", b"7"), (b"b", b"A1"))
