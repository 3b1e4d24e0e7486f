"""``output.after_release``: called once for each version, again after a failure, within its time; and what it is told."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from job.cli.main import main
from job.config.settings import JobSettings
from job.run import after_release
from job.store.opening import open_store
from tests.support.folder_job import Job, line
from tests.support.score_job import ScoreJob

WRITES = (
    "import json, os, sys; open(sys.argv[1], 'a').write(json.dumps("
    "{name: text for name, text in os.environ.items() if name.startswith('RELEASE_')}) + chr(10)); "
    "sys.exit(int(sys.argv[2]))"
)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    made = Job(tmp_path)
    made.put("a.csv.gz", line(1.0))
    return made


@pytest.fixture
def calls(tmp_path: Path) -> Callable[[], list[dict[str, str]]]:
    note = tmp_path / "calls"
    return lambda: [json.loads(each) for each in note.read_text().splitlines()] if note.exists() else []


def hook(tmp_path: Path, code: int = 0, **more: Any) -> dict[str, Any]:
    return {"after_release": [sys.executable, "-c", WRITES, str(tmp_path / "calls"), str(code)], **more}


def test_it_is_called_once_for_each_version_with_what_it_needs(
    job: Job, tmp_path: Path, calls: Callable[[], list[dict[str, str]]]
) -> None:
    first = job.run(output=hook(tmp_path))
    assert first.after_release["exit_code"] == 0
    assert not job.run(output=hook(tmp_path)).after_release, "nothing changed"
    job.put("b.csv.gz", line(2.0))
    second = job.run(output=hook(tmp_path))
    assert calls() == [
        {
            "RELEASE_OUTPUT": str(job.out),
            "RELEASE_VERSION": str(report.version),
            "RELEASE_RUN": report.run,
            "RELEASE_JOB": "manyfit",
            "RELEASE_KIND": "train",
            "RELEASE_OPERATION": "release",
        }
        for report in (first, second)
    ]


def test_a_failure_leaves_the_version_is_told_and_the_next_run_calls_again(
    job: Job, tmp_path: Path, calls: Callable[[], list[dict[str, str]]], caplog: pytest.LogCaptureFixture
) -> None:
    says = [sys.executable, "-c", "import sys; print('no route to', 'AKIA' + 'Q' * 16); sys.exit(9)"]
    failed = job.run(output={"after_release": says})
    assert (failed.exit_code, failed.version, failed.published) == (0, 1, True)
    assert failed.after_release["exit_code"] == 9
    assert "output.after_release ended with exit code 9: no route to ***" in caplog.text
    assert "Version 1 of" in caplog.text
    assert job.run(output=hook(tmp_path)).after_release["version"] == 1
    assert len(calls()) == 1


def test_a_program_that_does_not_exist_is_a_failure_and_no_bug(job: Job, caplog: pytest.LogCaptureFixture) -> None:
    done = job.run(output={"after_release": ["no-such-program"]})
    assert (done.exit_code, done.after_release["exit_code"]) == (0, 127)
    assert "could not be started: 'no-such-program': No such file" in caplog.text


def test_at_the_limit_it_ends_with_all_that_it_has_started(tmp_path: Path) -> None:
    program = (
        "import subprocess, sys, time; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
        "open(sys.argv[1], 'w').write(str(child.pid)); time.sleep(600)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "pid")]
    done = after_release.call(open_store(str(tmp_path / "out")), command, version=1, timeout=2.0, about={})
    assert done is not None
    assert done.timed_out
    assert done.exit_code == -signal.SIGTERM
    assert "took longer than output.after_release_timeout" in done.sentence()
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            break
        if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.05)
    else:
        raise AssertionError("the child is still there")


def test_a_driver_that_died_before_the_call_is_made_up_for_by_the_next_run(
    job: Job, tmp_path: Path, calls: Callable[[], list[dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(after_release, "call", dies)
    with pytest.raises(KeyboardInterrupt):
        job.run(output=hook(tmp_path))
    monkeypatch.undo()
    job.run(output=hook(tmp_path))
    assert [each["RELEASE_VERSION"] for each in calls()] == ["1"]


def test_a_scoring_calls_it_for_the_version_of_its_predictions(
    tmp_path: Path, calls: Callable[[], list[dict[str, str]]]
) -> None:
    scores = ScoreJob(tmp_path, keys=1)
    scores.trained.run()
    done = scores.score(output=hook(tmp_path))
    assert [(each["RELEASE_KIND"], each["RELEASE_VERSION"]) for each in calls()] == [("score", str(done.version))]


def test_a_rollback_calls_it_by_the_document_and_never_by_what_the_output_says(
    job: Job,
    tmp_path: Path,
    calls: Callable[[], list[dict[str, str]]],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    job.run(output=hook(tmp_path))
    job.put("a.csv.gz", line(2.0))
    job.run(output=hook(tmp_path))
    assert main(["rollback", str(job.out), "1"]) == 0
    assert len(calls()) == 2
    assert "output.after_release was not called: -c FILE" in capsys.readouterr().err

    document = job.settings(output=hook(tmp_path)).model_dump(mode="json", exclude_defaults=True, by_alias=True)
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(document))
    assert main(["rollback", str(job.out), "2", "-c", str(path)]) == 0
    assert (calls()[-1]["RELEASE_OPERATION"], calls()[-1]["RELEASE_VERSION"]) == ("rollback", "4")

    path.write_text(yaml.safe_dump({**document, "output": {**document["output"], "uri": str(tmp_path / "other")}}))
    caplog.set_level(logging.ERROR)
    assert main(["rollback", str(job.out), "1", "-c", str(path)]) == 2
    assert "is of another output" in capsys.readouterr().err + caplog.text


@pytest.mark.parametrize("command", [[], [""]])
def test_an_empty_command_is_a_mistake_of_the_document(job: Job, command: list[str]) -> None:
    document = job.settings().model_dump(mode="json", exclude_defaults=True, by_alias=True)
    document["output"]["after_release"] = command
    with pytest.raises(ValueError, match="is no program with its arguments"):
        JobSettings.model_validate(document)
