"""`manyfit check` ends as a run on the same input would."""

from __future__ import annotations

from pathlib import Path

import pytest

from job.cli.main import main
from tests.support.score_job import ScoreJob

JOB = """
input: {{uri: {root}/in, match: "*.csv"}}
recipe: {{features: [x], target: y, estimator: {{_target_: sklearn.linear_model.LinearRegression}}}}
output: {{uri: {root}/out}}
spark: {{master: inline}}
"""


@pytest.mark.parametrize(
    ("files", "code", "said"),
    [
        ({"a.csv": "x,y\n1,2\n"}, 0, "'a.csv' read"),
        ({}, 4, "no object to read"),
        ({"readme.txt": "x"}, 4, "no object to read"),
        ({"_SUCCESS": "", ".hidden.csv": "x"}, 4, "no object to read"),
    ],
)
def test_an_input_that_a_run_would_refuse_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], files: dict[str, str], code: int, said: str
) -> None:
    (tmp_path / "in").mkdir()
    for name, text in files.items():
        (tmp_path / "in" / name).write_text(text)
    (tmp_path / "job.yaml").write_text(JOB.format(root=tmp_path))
    assert main(["check", "-c", str(tmp_path / "job.yaml"), "--log-format", "text"]) == code
    told = capfd.readouterr()
    assert said in told.out + told.err


@pytest.mark.parametrize(
    ("trained", "code", "said"), [(True, 0, "version 1, 4 models listed"), (False, 2, "nothing is published at")]
)
def test_a_scoring_is_checked_with_the_models_that_it_would_apply(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], trained: bool, code: int, said: str
) -> None:
    job = ScoreJob(tmp_path)
    if trained:
        job.trained.run()
    (tmp_path / "score.yaml").write_text(
        f"models: {{uri: {job.trained.out}}}\ninput: {{uri: {job.data}}}\noutput: {{uri: {job.out}}}\n"
    )
    assert main(["check", "-c", str(tmp_path / "score.yaml"), "--log-format", "text"]) == code
    told = capfd.readouterr()
    assert said in told.out + told.err
    assert not trained or "'k0.csv' read" in told.out
    assert not (job.out / "predictions").exists()
