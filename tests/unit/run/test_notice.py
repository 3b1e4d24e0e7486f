"""Notices: a run at work on the same output is seen, and said once; runs and ``gc`` wait for each other."""

from __future__ import annotations

import json
import logging
import os
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from job.errors import OutputError
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
    now = 0.0
    others = notice.Others(store, run, clock=lambda: now)
    with caplog.at_level(logging.WARNING, logger="job.run.notice"):
        for _ in range(looks):
            others.look()
            now += 100.0
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


def test_a_word_from_the_future_is_that_of_a_clock_that_was_ahead(
    store: Store, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    begun(store, "a")
    ahead = time.time() + 400 * 86400
    os.utime(tmp_path / "out/runs/a/progress.json", (ahead, ahead))
    assert told(store, "b", caplog) == []


def test_looks_are_rare(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    others = notice.Others(store, "b", clock=lambda: now)
    others.look()
    begun(store, "a")
    with caplog.at_level(logging.WARNING, logger="job.run.notice"):
        for now, told in ((29.0, 0), (31.0, 1)):  # noqa: B007 - the clock
            others.look()
            assert len(caplog.records) == told


# ---- removals


def begin(store: Store, patch: pytest.MonkeyPatch) -> int:
    """How often a run waits; it stops waiting after the third time."""
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            raise TimeoutError

    patch.setattr(notice.time, "sleep", sleep)
    try:
        notice.begin(store, f"run-{len(waits)}", "plan")
    except TimeoutError:
        return 3
    return len(waits)


def later(store: Store, patch: pytest.MonkeyPatch, **by: Any) -> None:
    now = store.now
    patch.setattr(store, "now", lambda: now() + timedelta(**by))


def removal(store: Store) -> notice.Removal:
    return notice.Removal(store).__enter__()


def test_a_run_waits_for_a_gc_at_work_and_asks_it_to_stop(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    at_work = removal(store)

    assert begin(store, monkeypatch) == 3
    assert at_work.asked_by() == "run-0"
    assert at_work.remove(["a"]) == 0


def test_a_run_does_not_wait_for_a_gc_that_has_ended_or_died(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with notice.Removal(store):
        pass
    removal(store)
    later(store, monkeypatch, seconds=notice.LEASE + 1)

    assert begin(store, monkeypatch) == 0


def test_a_run_does_not_wait_for_a_gc_whose_clock_was_ahead(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its notice lies in the future, for 400 days."""
    removal(store)
    later(store, monkeypatch, days=-400)

    assert begin(store, monkeypatch) == 0


def test_a_gc_that_was_stopped_for_long_removes_nothing_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    at_work = removal(store)
    store.create("a", b"1")
    assert at_work.remove(["a"]) == 1
    later(store, monkeypatch, seconds=notice.LEASE / 2 + 1)

    assert at_work.remove(["b"]) == 0


def test_a_gc_that_lives_says_so_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    at_work = removal(store)
    said: list[datetime] = []
    put = store.put
    monkeypatch.setattr(store, "put", lambda name, data: (said.append(store.now()), put(name, data)))
    later(store, monkeypatch, seconds=notice.LEASE / 4 + 1)

    assert at_work.remove(["a"]) == 1
    assert len(said) == 1


def test_a_long_step_that_does_not_stop_says_so_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    at_work, clock = removal(store), [time.monotonic()]
    monkeypatch.setattr(notice, "monotonic", lambda: clock[0])
    said: list[datetime] = []
    put = store.put
    monkeypatch.setattr(store, "put", lambda name, data: (said.append(store.now()), put(name, data)))
    for _ in range(20):
        later(store, monkeypatch, seconds=notice.LEASE / 16)
        clock[0] += notice.LEASE / 16
        at_work.renew()

    assert 8 <= len(said) <= 10
    later(store, monkeypatch, seconds=notice.LEASE / 2 + 1)
    clock[0] += notice.LEASE / 2 + 1
    with pytest.raises(OutputError, match="stood still"):
        at_work.renew()
