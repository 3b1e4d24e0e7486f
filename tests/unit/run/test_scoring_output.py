"""What a person does with an output of predictions: plan, look back, check, go back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from deltalake import DeltaTable

from job.cli.main import main
from job.errors import ConfigurationError
from job.registry.index import Index
from job.registry.predictions import Predictions
from tests.support.score_job import ScoreJob, counts, rows
from tests.support.signing_keys import PRIVATE, PUBLIC


@pytest.fixture
def job(tmp_path: Path) -> ScoreJob:
    made = ScoreJob(tmp_path, keys=2)
    made.trained.run()
    return made


def document(job: ScoreJob, folder: Path) -> str:
    text: dict[str, Any] = {
        "models": {"uri": str(job.trained.out)},
        "input": {"uri": str(job.data)},
        "output": {"uri": str(job.out)},
        "run": {"engine": "inline"},
    }
    path = folder / "score.yaml"
    path.write_text(yaml.safe_dump(text))
    return str(path)


def test_the_command_scores_by_a_document_and_a_plan_shows_what_it_would_do(
    job: ScoreJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job.put("new.csv", rows(1.0))
    path = document(job, tmp_path)

    assert main(["plan", "-c", path, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["planned"], plan["score"], plan["without_model"]) == (3, 2, {"no_model": 1})
    assert len(plan["rows"]) == 5
    assert plan["types"]["prediction"] == "double"
    assert not (job.out / "predictions").exists()

    assert main(["score", "-c", path, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"]["scored"] == 2


def test_a_rollback_takes_rows_back_and_the_next_run_scores_them_once(
    job: ScoreJob, capsys: pytest.CaptureFixture[str]
) -> None:
    job.score()
    job.put("k1.csv", rows(2.0, count=3))
    job.score()
    assert job.keys() == {"k0": 6, "k1": 9}

    assert main(["rollback", str(job.out), "1"]) == 0
    assert job.keys() == {"k0": 6, "k1": 6}

    assert counts(job.score()) == (1, 1, 0, 0)
    assert job.keys() == {"k0": 6, "k1": 9}
    capsys.readouterr()
    assert main(["history", str(job.out), "--json"]) == 0
    told = [each["operation"] for each in json.loads(capsys.readouterr().out)]
    assert told == ["release", "rollback", "release", "release", "create"]


def test_a_rollback_that_died_before_the_index_followed_is_made_good(
    job: ScoreJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.score()
    job.put("k1.csv", rows(2.0, count=3))
    job.score()
    with monkeypatch.context() as patched:
        patched.setattr("job.registry.marks.follow", lambda *_, **__: None)
        Predictions(job.assembly().output).rollback(1)
    assert Index(job.assembly().output).history(1)[0].operation == "release"

    assert counts(job.score()) == (1, 1, 0, 0)
    assert job.keys() == {"k0": 6, "k1": 9}


def test_a_version_that_another_tool_has_restored_says_that_nothing_is_known_of_its_keys(job: ScoreJob) -> None:
    job.score()
    job.put("k1.csv", rows(2.0, count=3))
    job.score()
    DeltaTable(str(job.out / "predictions")).restore(1)
    job.predictions.rollback(2)
    for call in (job.predictions.rollback, job.predictions.index_of):
        with pytest.raises(ConfigurationError):
            call(3)


def test_a_held_output_is_not_scored_to(job: ScoreJob) -> None:
    from job.errors import HeldError

    job.score()
    job.put("k1.csv", rows(2.0, count=3))
    job.score()
    Predictions(job.assembly().output).rollback(1, hold=True)

    with pytest.raises(HeldError, match="nothing was scored"):
        job.score()


def test_verify_finds_a_file_of_predictions_that_was_changed(job: ScoreJob, capsys: pytest.CaptureFixture[str]) -> None:
    job.score()
    assert main(["verify", str(job.out)]) == 0
    (path,) = (job.out / "predictions").rglob("parts/*/*.parquet")
    path.write_bytes(path.read_bytes()[:-1] + b"x")

    assert main(["verify", str(job.out)]) == 7
    assert "has not the bytes" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["retire", "promote"])
def test_what_would_part_the_index_from_the_predictions_is_refused(
    job: ScoreJob, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    job.score()

    assert main([command, str(job.out), "k0"]) == 2
    assert counts(job.score()) == (0, 2, 0, 0)


def test_one_key_of_a_scoring_is_not_planned_as_if_all_had_been_asked_for(
    job: ScoreJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "-c", document(job, tmp_path), "--key", "k0"]) == 2
    told = capsys.readouterr()
    assert "one key of a training" in told.out + told.err


@pytest.mark.parametrize("command", [["show", "k0"], ["mlflow", "--name", "fleet"]])
def test_a_command_for_models_says_that_an_output_holds_predictions_instead_of_that_a_model_is_damaged(
    job: ScoreJob, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    job.score()

    assert main([command[0], str(job.out), *command[1:]]) == 2
    told = capsys.readouterr()
    assert f"holds predictions, and {command[0]} is for a set of models" in told.out + told.err


def test_nobody_is_told_that_predictions_are_signed(
    job: ScoreJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job.score()
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    private.write_bytes(PRIVATE)
    public.write_bytes(PUBLIC)

    assert main(["sign", str(job.out), "--signing-key", str(private)]) == 2
    assert main(["verify", str(job.out), "--public-key", str(public)]) == 2
    assert not (job.out / "signatures").exists()


def test_gc_removes_no_prediction_and_first_makes_good_what_a_release_did_not_get_to(
    job: ScoreJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.score()
    job.put("k1.csv", rows(2.0, count=3))
    with monkeypatch.context() as patched:
        patched.setattr("job.run.scored_before.derive", lambda *_, **__: ())
        job.score()
    before = Index(job.assembly().output).version()

    assert main(["gc", str(job.out), "--delete", "--keep", "1", "--margin", "0s"]) == 0

    assert (Index(job.assembly().output).version() or 0) > (before or 0)
    assert job.keys() == {"k0": 6, "k1": 9}
    assert counts(job.score()) == (0, 2, 0, 0)


def test_predictions_whose_run_left_nothing_to_derive_from_can_be_rolled_back(
    job: ScoreJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    from job.errors import OutputError

    job.score()
    job.put("k1.csv", rows(2.0, count=3))
    with monkeypatch.context() as patched:
        patched.setattr("job.run.scored_before.derive", lambda *_, **__: ())
        run = job.score().run
    for path in (job.out / "runs" / run).glob("release-*"):
        path.unlink()
    with pytest.raises(OutputError, match="manyfit rollback"):
        job.score()

    assert main(["rollback", str(job.out), "1"]) == 0

    assert counts(job.score()) == (1, 1, 0, 0)
    assert job.keys() == {"k0": 6, "k1": 9}


def test_a_scoring_that_is_given_to_run_is_sent_to_score(
    job: ScoreJob, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["run", "-c", document(job, tmp_path)]) == 2

    assert "manyfit score" in caplog.text
