"""``rollback --hold`` without going back: a set of models, predictions, a run at work, a death between two commits."""

from __future__ import annotations

from pathlib import Path

import pytest

from job.cli.main import main
from job.errors import HeldError, OutputError
from job.registry import marks
from job.registry.index import Index
from job.registry.predictions import PartFile, Predictions
from job.score import columns
from job.store.opening import open_store
from tests.support.folder_job import Job, line
from tests.support.score_job import ScoreJob, rows


@pytest.fixture
def scores(tmp_path: Path) -> ScoreJob:
    made = ScoreJob(tmp_path, keys=1)
    made.trained.run()
    made.score()
    return made


@pytest.mark.parametrize("version", [["1"], []])
def test_a_set_is_held_as_it_is_until_resume(tmp_path: Path, version: list[str]) -> None:
    job = Job(tmp_path)
    job.put("a.csv.gz", line(1.0))
    job.run()
    assert main(["rollback", str(job.out), *version, "--hold"]) == 0
    with pytest.raises(HeldError):
        job.run()
    assert [each.operation for each in Index(open_store(str(job.out))).history()][:2] == ["hold", "release"]
    assert len(job.models()) == 1
    assert main(["rollback", str(job.out), "--hold"]) == 0
    assert Index(open_store(str(job.out))).version() == 2, "it was held already"
    assert main(["rollback", str(job.out), "--resume"]) == 0
    assert job.run().exit_code == 0


def test_without_hold_the_current_version_is_nothing_to_go_back_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    job = Job(tmp_path)
    job.put("a.csv.gz", line(1.0))
    job.run()
    assert main(["rollback", str(job.out), "1"]) == 2
    assert main(["rollback", str(job.out), "--resume", "--hold"]) == 2
    assert "--hold keeps runs from publishing" in capsys.readouterr().err + caplog.text


def test_predictions_are_held_and_a_run_at_work_publishes_nothing(scores: ScoreJob) -> None:
    predictions = scores.predictions
    base = predictions.version()
    assert main(["rollback", str(scores.out), str(base), "--hold"]) == 0
    part = PartFile(digest="0" * 64, size=1, rows=1)
    with pytest.raises(OutputError, match="another run released"):
        predictions.release([part], columns.OURS, run="r", plan="p", base=base, metadata={})
    scores.put("k0.csv", rows(2.0))
    with pytest.raises(HeldError):
        scores.score()
    assert main(["rollback", str(scores.out), "--resume"]) == 0
    assert scores.score().published
    assert main(["rollback", str(scores.out), str(base)]) == 0
    assert scores.table().num_rows == 6


def test_a_hold_that_died_half_way_is_completed(scores: ScoreJob, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(marks, "hold", dies)
    with pytest.raises(KeyboardInterrupt):
        Predictions(scores.assembly().output).hold()
    monkeypatch.undo()
    scores.put("k0.csv", rows(2.0))
    with pytest.raises(HeldError):
        scores.score()
    assert main(["rollback", str(scores.out), "--resume"]) == 0
    assert scores.score().published, "the hold is not made again"


@pytest.mark.parametrize("given", [["--hold"], ["1", "--hold"]], ids=" ".join)
def test_a_hold_that_died_half_way_is_over_after_a_resume(
    scores: ScoreJob, given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scores.put("k0.csv", rows(2.0))
    scores.score()

    def dies(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    for name in ("hold", "follow"):
        monkeypatch.setattr(marks, name, dies)
    main(["rollback", str(scores.out), *given])
    monkeypatch.undo()
    assert main(["rollback", str(scores.out), "--resume"]) == 0
    scores.put("k0.csv", rows(3.0))
    assert scores.score().published
