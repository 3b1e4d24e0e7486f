"""What a run writes of its progress, and what `manyfit status` makes of it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from job.cli import screens
from job.run.progress import State, Tracker
from job.store.opening import open_store
from job.words import SCORING


def test_how_many_executors_there_are_is_written(tmp_path: Path) -> None:
    store = open_store(f"{tmp_path}/out/")
    there = [None, 0, 2]
    tracker = Tracker(store, run="r", plan="p", planned=9, to_train=9, executors=lambda: there[0])
    seen = []
    while there:
        tracker.write("training")
        seen.append(State.from_json(bytes(store.get("runs/r/progress.json"))).executors)
        there.pop(0)
    assert seen == [None, 0, 2]


def test_progress_of_an_older_and_of_a_newer_version_is_read() -> None:
    older = {"run": "r", "phase": "training", "planned": 3}
    assert State.from_json(json.dumps(older).encode()).executors is None
    newer = {**older, "weather": "fine"}
    assert State.from_json(json.dumps(newer).encode()).planned == 3


@pytest.mark.parametrize(
    ("phase", "executors", "said"),
    [("training", 0, True), ("training", 2, False), ("training", None, False), ("publishing", 0, False)],
)
def test_status_says_that_there_is_no_executor_yet(
    phase: str, executors: int | None, said: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    state = State(run="r", phase=phase, to_train=40, executors=executors, updated_at=time.time())
    screens.status({"run": "r", "progress": json.loads(state.to_json())})
    text = " ".join(capsys.readouterr().out.split())
    assert ("no executor yet: its pods are Pending (no room), or refused (a quota, admission)" in text) is said


def test_a_scoring_is_said_to_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = open_store(f"{tmp_path}/out/")
    Tracker(store, run="r", plan="p", planned=9, to_train=4, wording=SCORING).write("scoring")

    screens.status({"run": "r", "progress": json.loads(bytes(store.get("runs/r/progress.json")))})

    assert "scoring, 0 of 4 to score" in capsys.readouterr().out
