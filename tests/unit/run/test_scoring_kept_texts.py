"""A kept column that is text in the predictions has the texts of the file, though all values of a file look like numbers."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow.compute as pc
import pytest

from tests.support.score_job import ScoreJob

SHOPS = {"a": "x", "b": "007", "c": "1.50"}


@pytest.fixture
def job(tmp_path: Path) -> ScoreJob:
    made = ScoreJob(tmp_path, keys=3)
    made.trained.run()
    made.put("k0.csv", b"code,x,y\nA1,1.0,1.0\n")
    made.put("k1.csv", b"code,x,y\n007,1.0,2.0\n1.50,2.0,4.0\n,3.0,6.0\n")
    made.put("k2.csv", b"code,x,y\nTrue,1.0,3.0\n")
    return made


def test_numbers_with_zeros_in_front_stay_as_they_were_read(job: ScoreJob) -> None:
    job.score()
    rows = job.table().to_pandas().sort_values("x")
    of = {key: part["code"].tolist() for key, part in rows.groupby("_key")}
    assert (of["k0"], of["k1"][:2], of["k2"]) == (["A1"], ["007", "1.50"], ["True"])
    assert of["k1"][2] is None
    assert not [name for name in rows.columns if "\0" in name]


def test_a_feature_has_the_type_that_the_training_gave_it_and_its_kept_text_beside_it(job: ScoreJob) -> None:
    job.put("k0.csv", b"x,y\nfirst,1.0\n")  # not a number, so that the column is text in the table, and this key fails
    job.put("k1.csv", b"x,y\n01.0,2.0\n")
    job.score(run={"max_failed": 1})
    row = job.table().filter(pc.field("_key") == "k1").to_pylist()[0]
    assert (row["x"], round(row["prediction"], 6)) == ("01.0", 2.0)


def test_the_same_for_one_csv_table_of_many_keys(tmp_path: Path) -> None:
    job = ScoreJob(tmp_path, keys=1)
    table = "shop,code,x,y\n" + "".join(f"{shop},{code},{at},{at}\n" for at in range(4) for shop, code in SHOPS.items())
    job.trained.data.joinpath("k0.csv.gz").unlink()
    job.trained.put("all.csv", table.encode())
    layout = {"layout": "columns", "key": ["shop"]}
    job.trained.overrides["input"] = layout
    job.trained.run()
    (job.data / "k0.csv").unlink()
    job.put("all.csv", table.encode())
    job.score(input=layout)
    got: pd.DataFrame = job.table().to_pandas()
    assert {key: set(part["code"]) for key, part in got.groupby("shop")} == {k: {v} for k, v in SHOPS.items()}
