"""Which fit runs longest, from numbers of outcomes alone; and what the driver reads of outcomes while a run trains."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from job.arrow import encode
from job.outcome import Outcome, to_table
from job.run.heartbeat import Heartbeat, name
from job.run.running import Running
from job.run.seen import BUCKETS, EACH_LOOK, Seen
from job.store import Store
from job.store.opening import open_store


@pytest.fixture
def output(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


def test_the_longest_fit_is_the_first_without_an_outcome_in_the_task_that_is_silent_longest() -> None:
    keys = ["small", "large", "other", "last"]
    running = Running(np.array([0, 0, 1, 2]), np.array([1.0, 5.0, 2.0, 2.0]), keys.__getitem__, cores=2)
    running.note({}, 0.0)
    assert running.slowest(3.0) == ("large", 3.0)
    running.note({0: 1}, 4.0)
    assert running.slowest(5.0) == ("other", 5.0)
    running.note({0: 1, 1: 1}, 6.0)
    assert running.slowest(9.0) == ("small", 5.0)
    running.note({0: 2, 1: 1}, 10.0)
    assert running.slowest(11.0) == ("last", 5.0)
    running.note({0: 2, 1: 1, 2: 1}, 12.0)
    assert running.slowest(13.0) is None


def put(output: Store, number: int, *outcomes: Outcome) -> str:
    failed = sum(each.status == "failed" for each in outcomes)
    made = f"runs/r/segments/p/t00000-a0-{number:016x}-0000-n{len(outcomes)}-f{failed}.arrow"
    output.put(made, encode(to_table(outcomes)))
    return made


def test_reasons_are_read_once_from_segments_with_failures_and_everything_for_metrics(output: Store) -> None:
    good = put(
        output, 1, Outcome(key="a", status="trained", seconds=0.05), Outcome(key="b", status="trained", seconds=700)
    )
    bad = put(
        output,
        2,
        Outcome(key="c", status="failed", reason="timeout"),
        Outcome(key="d", status="skipped", reason="empty"),
    )
    seen, everything = Seen(output), Seen(output, everything=True)
    for _ in range(2):
        seen.look([good, bad])
        everything.look([good, bad])
    assert (dict(seen.reasons), seen.fits.sum()) == ({"timeout": 1}, 0)
    assert dict(everything.statuses) == {"trained": 2, "failed": 1, "skipped": 1}
    assert everything.fits.tolist() == [0, 0, 1, *[0] * (len(BUCKETS) - 3), 1]
    assert everything.fit_seconds == 700.05


def test_a_look_reads_a_few_segments_and_the_next_one_the_rest(output: Store) -> None:
    names = [put(output, at, Outcome(key=str(at), status="failed", reason="oom")) for at in range(EACH_LOOK + 3)]
    seen = Seen(output)
    seen.look(names)
    assert seen.reasons["oom"] == EACH_LOOK
    seen.look(names)
    assert seen.reasons["oom"] == EACH_LOOK + 3


def test_a_run_gives_a_sign_of_life_until_it_is_left(output: Store) -> None:
    beaten = threading.Event()
    put_before = output.put

    class Told(type(output)):  # type: ignore[misc]
        def put(self, name: str, data: bytes) -> None:
            put_before(name, data)
            beaten.set()

    output.__class__ = Told
    with Heartbeat(output, "r", every=0.01) as beat:
        beat.phase = "publish"
        assert beaten.wait(30)
    last = bytes(output.get(name("r")))
    assert b'"publish"' in last
    assert bytes(output.get(name("r"))) == last
