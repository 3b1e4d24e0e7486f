"""A run that is at work on the same output is seen, and said once."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path

import pytest

from job.run import notice
from job.run.progress import State
from job.store import Store
from job.store.opening import open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"{tmp_path}/out/")


def begun(store: Store, run: str) -> None:
    store.put("runs/latest.json", json.dumps({"run": run}).encode())
    store.put(f"runs/{run}/progress.json", State(run=run, phase="training").to_json())


def told(store: Store, run: str, caplog: pytest.LogCaptureFixture, looks: int = 1) -> list[str]:
    caplog.clear()
    others = notice.Others(store, run)
    with caplog.at_level(logging.WARNING, logger="job.run.notice"):
        for _ in range(looks):
            others._looked = -1e9
            others.look()
    return [record.getMessage() for record in caplog.records]


def test_another_run_that_is_at_work_is_told_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    begun(store, "a")
    said = told(store, "b", caplog, looks=3)
    assert len(said) == 1
    assert "the run a is at work on the same output" in said[0]


def test_a_run_that_has_ended_is_none(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    begun(store, "a")
    store.put("runs/a/result.json", b"{}")
    assert told(store, "b", caplog) == []


def test_ones_own_run_is_none_and_an_empty_output_has_none(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    assert told(store, "b", caplog) == []
    begun(store, "b")
    assert told(store, "b", caplog) == []


def test_a_run_that_has_been_silent_for_long_died(
    store: Store, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    begun(store, "a")
    long_ago = time.time() - 2 * notice.HEARD
    os.utime(tmp_path / "out/runs/a/progress.json", (long_ago, long_ago))
    assert told(store, "b", caplog) == []


def test_looks_are_rare(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    others = notice.Others(store, "b")
    others.look()
    begun(store, "a")
    with caplog.at_level(logging.WARNING, logger="job.run.notice"):
        others.look()
    assert caplog.records == [], "the next look is due in half a minute"
