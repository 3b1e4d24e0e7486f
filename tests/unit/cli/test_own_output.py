"""With --json, standard output is one JSON document, whatever the user's code prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from job.cli.main import main
from tests.support.score_job import ScoreJob

LOUD = """
import os
print("imported")

def say(text):
    print(text)
    os.write(1, b"raw\\n")

def forecast(model, frame, key):
    say("forecast")
    return model.predict(frame[["x"]])

def fit(frame):
    from sklearn.linear_model import LinearRegression
    say("fit")
    return LinearRegression().fit(frame[["x"]], frame["y"])
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    job = ScoreJob(tmp_path, keys=2)
    job.trained.run()
    monkeypatch.chdir(tmp_path)
    Path("loud.py").write_text(LOUD)
    new = {"uri": "new"}
    score = {"models": {"uri": "out"}, "input": new, "score": {"function": "loud.py:forecast"}, "output": {"uri": "p"}}
    Path("score.yaml").write_text(yaml.safe_dump(score))
    train = {"input": new, "recipe": {"function": "loud.py:fit"}, "output": {"uri": "m"}}
    Path("job.yaml").write_text(yaml.safe_dump(train))
    return tmp_path


@pytest.mark.parametrize("engine", ["inline", "local"])
@pytest.mark.parametrize(
    "command", [["plan", "-c", "score.yaml"], ["score", "-c", "score.yaml"], ["plan", "-c", "job.yaml"], ["run", "-c", "job.yaml"]], ids=lambda each: f"{each[0]} {each[2]}"
)  # fmt: skip
def test_what_the_users_code_prints_is_not_between_us_and_who_reads_the_document(
    folder: Path, capfd: pytest.CaptureFixture[str], command: list[str], engine: str
) -> None:
    assert main([*command, "--json", "--run.engine", engine]) == 0

    printed = capfd.readouterr()
    assert json.loads(printed.out)["planned" if command[0] == "plan" else "totals"]
    assert "imported" in printed.err


def test_without_it_what_the_users_code_prints_stays_where_it_was(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", "-c", "score.yaml", "--run.engine", "inline"]) == 0

    assert "forecast" in capfd.readouterr().out
