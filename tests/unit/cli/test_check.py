"""`manyfit check` ends as a run on the same input would."""

from __future__ import annotations

from pathlib import Path

import pytest

from job.cli.main import main

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
        ({}, 4, "no object to train on"),
        ({"readme.txt": "x"}, 4, "no object to train on"),
        ({"_SUCCESS": "", ".hidden.csv": "x"}, 4, "no object to train on"),
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
