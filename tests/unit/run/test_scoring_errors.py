"""The errors of predictions, where the rows hold the truth: of numbers, of classes, and what is no truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from job.score.errors_of_key import of_classes
from tests.support.score_job import ScoreJob, counts

CLASSIFIER = {"estimator": {"_target_": "sklearn.linear_model.LogisticRegression"}}


@pytest.fixture
def job(tmp_path: Path) -> ScoreJob:
    made = ScoreJob(tmp_path, keys=4)
    made.trained.run()
    return made


def test_the_errors_of_each_key_stand_beside_the_predictions_where_the_rows_hold_the_truth(job: ScoreJob) -> None:
    job.put("k1.csv", b"id,x,y\n1,1,3\n2,2,4\n3,3,\n")

    job.score(score={"actual": "y"})

    found = job.errors()
    assert sorted(found) == ["k0", "k1", "k2", "k3"]
    assert (found["k1"]["n"], found["k1"]["mae"]) == (2, pytest.approx(0.5))
    assert found["k1"]["rmse"] == pytest.approx(0.5**0.5)


def labelled(past: Path, new: Path) -> tuple[float, float]:
    """One key in parquet with the classes 0 and 1; in the new rows one truth is missing, so that pandas has floats.

    Returns accuracy and logarithmic loss as computed by hand.
    """
    from sklearn.linear_model import LogisticRegression

    x = np.linspace(-3, 3, 40)
    y = (np.sin(7 * x) + x > 0).astype(int)
    pd.DataFrame({"x": x, "y": y}).to_parquet(past)
    truth = np.where(np.arange(40) == 5, np.nan, y)
    pd.DataFrame({"x": x, "y": truth}).to_parquet(new)
    chances = LogisticRegression().fit(x[:, None], y).predict_proba(x[:, None])
    known = np.isfinite(truth)
    right = (chances.argmax(axis=1) == y)[known].mean()
    return float(right), float(-np.log(chances[np.arange(40), y])[known].mean())


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_a_class_is_a_whole_number_though_a_gap_made_its_column_floats(tmp_path: Path, method: str) -> None:
    job = ScoreJob(tmp_path, keys=0)
    accuracy, loss = labelled(job.trained.data / "k.parquet", job.data / "k.parquet")
    job.trained.overrides["recipe"] = CLASSIFIER
    job.trained.run()

    job.score(score={"actual": "y", "method": method})

    found = job.errors()["k"]
    assert (found["n"], found["accuracy"]) == (39, pytest.approx(accuracy))
    assert found["log_loss"] == (pytest.approx(loss) if method == "predict_proba" else None)


@pytest.mark.parametrize(
    ("truth", "classes", "right"),
    [
        ([1.0, 0.0, np.nan, None], [0, 1], 0.5),
        ([True, False], [0, 1], 0.5),
        ([True, False], ["False", "True"], 0.5),
        ([1, 0], ["0", "1"], 0.5),
        (["01", "1"], ["1", "01"], 0.5),
        ([[1], [0]], [0, 1], 0.0),
    ],
)
def test_classes_are_compared_as_values_or_as_texts(truth: list[object], classes: list[object], right: float) -> None:
    chances = np.tile([0.2, 0.8], (len(truth), 1))

    found = of_classes(truth, None, classes, chances)

    assert (found["n"], found["accuracy"]) == (2, right)
    if right:
        assert found["log_loss"] == pytest.approx(-(np.log(0.8) + np.log(0.2)) / 2)


def test_a_class_has_one_column_of_probabilities_though_some_files_have_it_as_float(tmp_path: Path) -> None:
    job = ScoreJob(tmp_path, keys=0)
    x = np.linspace(-1, 1, 20)
    for key, kind in (("a", "int64"), ("b", "float64"), ("c", "float32")):
        pd.DataFrame({"x": x, "y": (x > 0).astype(kind)}).to_parquet(job.trained.data / f"{key}.parquet")
        pd.DataFrame({"x": x}).to_parquet(job.data / f"{key}.parquet")
    job.trained.overrides["recipe"] = CLASSIFIER
    job.trained.run()

    job.score(score={"method": "predict_proba"})

    found = job.table()
    assert [name for name in found.column_names if name.startswith("proba_")] == ["proba_0", "proba_1"]
    assert found["proba_1"].null_count == 0


def test_a_truth_that_is_text_is_no_truth_of_numbers(job: ScoreJob) -> None:
    job.put("k1.csv", b"id,x,y\n1,1,3\n2,2,n/a\n")

    report = job.score(score={"actual": "y"}, run={"max_failed": 1})

    assert counts(report) == (3, 0, 0, 1)
    assert report.failures == {"schema_mismatch": 1}
    assert "'y', which score.actual names, is string" in str(report.examples)


def test_a_truth_without_values_counts_no_row(job: ScoreJob) -> None:
    job.put("k1.csv", b"id,x,y\n1,1,\n2,2,\n")

    job.score(score={"actual": "y", "keep": ["id"]})

    assert job.errors()["k1"]["n"] == 0
    assert job.table().schema.field("prediction").type == pa.float64()
