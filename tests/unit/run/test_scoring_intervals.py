"""Intervals of predictions, from the training's held-out rows to the table, the errors and the summary."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from sklearn.linear_model import LinearRegression

from job.run.report import lines
from tests.support.score_job import ScoreJob, counts


def noisy(random: np.random.Generator, rows: int, first: int = 0) -> pd.DataFrame:
    """``y`` is 2 x with noise of standard deviation 1; ``day`` counts from 1 January 2024."""
    x = random.uniform(0, 10, rows)
    days = pd.date_range("2024-01-01", periods=first + rows)[first:]
    return pd.DataFrame({"x": x, "y": 2 * x + random.normal(0, 1, rows), "day": days.strftime("%Y-%m-%d")})


def put(path: Path, frame: pd.DataFrame) -> None:
    body = frame.to_csv(index=False).encode()
    path.write_bytes(gzip.compress(body) if path.suffix == ".gz" else body)


def fleet(root: Path, validation: dict[str, object], *, keys: int = 1, fitted: int = 60, new: int = 8) -> ScoreJob:
    job = ScoreJob(root, keys=0)
    random = np.random.default_rng(7)
    for number in range(keys):
        put(job.trained.data / f"k{number}.csv.gz", noisy(random, fitted))
        put(job.data / f"k{number}.csv", noisy(random, new, fitted))
    job.trained.overrides["recipe"] = {"validation": validation}
    job.trained.run()
    return job


def test_an_interval_is_what_a_computation_by_hand_gives(tmp_path: Path) -> None:
    job = fleet(tmp_path, {"method": "time", "column": "day", "test_size": 0.5, "intervals": [80, 97.5]})

    job.score()

    given = pd.read_csv(job.trained.data / "k0.csv.gz")
    half = LinearRegression().fit(given[["x"]][:30], given["y"][:30])
    off = np.sort(np.abs(given["y"][30:] - half.predict(given[["x"]][30:])))
    found = job.table().to_pandas()
    for level in (80, 97.5):
        rank = math.ceil(31 * level / 100)
        if rank > 30:
            assert found[f"lo_{level:g}"].isna().all()
            assert found[f"hi_{level:g}"].isna().all()
        else:
            width = off[rank - 1]
            assert (found["prediction"] - found[f"lo_{level:g}"]).tolist() == pytest.approx([width] * 8)
            assert (found[f"hi_{level:g}"] - found["prediction"]).tolist() == pytest.approx([width] * 8)


def test_a_backtest_gives_each_step_into_the_future_a_width_of_its_own(tmp_path: Path) -> None:
    validation = {"method": "backtest", "column": "day", "windows": 9, "horizon": 3, "intervals": [80]}
    job = fleet(tmp_path, validation)
    put(job.data / "k0.csv", pd.read_csv(job.data / "k0.csv")[::-1])

    job.score()

    kept = json.loads(job.trained.row("k0")["residuals"])
    by_step, over_all = kept["steps"]["80"], kept["all"]["80"]
    found = job.table().to_pandas().sort_values("day")
    widths = (found["hi_80"] - found["prediction"]).tolist()
    assert len({round(each, 9) for each in by_step}) == 3
    assert widths == pytest.approx([*by_step, *[over_all] * 5])


def test_intervals_hold_as_many_new_rows_as_they_promise_and_the_summary_says_how_many(tmp_path: Path) -> None:
    validation = {"method": "kfold", "folds": 4, "intervals": [80]}
    job = fleet(tmp_path, validation, keys=25, fitted=120, new=120)

    report = job.score(score={"actual": "y"})

    found = job.table().to_pandas()
    inside = int(((found["y"] >= found["lo_80"]) & (found["y"] <= found["hi_80"])).sum())
    assert report.coverage == {"80": (inside, 3000)}
    # A share of 3,000 rows is off by 0.0073; what 120 residuals of a key say of its quantile adds about 0.007.
    assert 0.77 < inside / 3000 < 0.83
    assert f"intervals of 80 % held {inside / 3000:.1%} of 3,000 rows that hold the truth" in lines(report)
    rows = [row for name in DeltaTable(str(job.out / "errors")).file_uris() for row in pq.read_table(name).to_pylist()]
    assert sum(json.loads(row["within"])["80"][0] for row in rows) == inside


def test_a_model_that_stands_in_for_another_says_nothing_of_how_far_it_is_off(tmp_path: Path) -> None:
    job = fleet(tmp_path, {"method": "kfold", "intervals": [80]}, keys=2)
    put(job.data / "new.csv", noisy(np.random.default_rng(3), 5))

    report = job.score(score={"missing_model": {"fallback": "k1"}})

    assert counts(report) == (3, 0, 0, 0)
    found = job.table().to_pandas().set_index("_key")
    assert found.loc["new", "lo_80"].isna().all()
    assert found.loc[["k0", "k1"], "lo_80"].notna().all()


def test_a_row_without_a_prediction_has_no_interval_and_the_others_keep_theirs(tmp_path: Path) -> None:
    validation = {"method": "backtest", "column": "day", "windows": 9, "horizon": 3, "intervals": [80]}
    job = fleet(tmp_path, validation)
    rows = pd.read_csv(job.data / "k0.csv")
    rows.loc[1, "x"] = np.nan
    put(job.data / "k0.csv", rows)

    job.score(score={"missing": "null"})
    job.score(score={"missing": "drop"}, output={"uri": f"{job.out}-dropped"})

    by_step = json.loads(job.trained.row("k0")["residuals"])["steps"]["80"]
    found = job.table().to_pandas()
    assert found["hi_80"].isna().tolist() == [False, True, *[False] * 6]
    assert (found["hi_80"] - found["prediction"])[[0, 2]].tolist() == pytest.approx([by_step[0], by_step[2]])
    job.out = Path(f"{job.out}-dropped")
    job.overrides["output"] = {"uri": str(job.out)}
    dropped = job.table().to_pandas()
    assert (dropped["hi_80"] - dropped["prediction"])[:2].tolist() == pytest.approx([by_step[0], by_step[2]])


def test_keys_are_scored_again_where_their_model_is_the_same_and_its_held_out_rows_say_something_else(
    tmp_path: Path,
) -> None:
    job = fleet(tmp_path, {"method": "kfold", "intervals": [80]})
    first = job.score()
    before = job.trained.models().info("k0")["digest"]
    job.trained.run(recipe={"validation": {"method": "kfold", "intervals": [90]}})

    assert job.trained.models().info("k0")["digest"] == before
    assert counts(job.score()) == (1, 0, 0, 0)
    assert counts(job.score()) == (0, 1, 0, 0)
    assert first.coverage == {}
