"""``manyfit status --watch``: what is shown, when it ends and with which code, and when a driver is dead."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from job.cli import watch
from job.errors import ConfigurationError, SetupError
from job.run import heartbeat, notice
from job.run.progress import State
from job.run.report import RunReport, Totals
from job.store import Store
from job.store.opening import open_store

STATE = State(run="r", phase="training", planned=10, to_train=10, done=4, failed=2, rate=2.0, eta=3.0)


@pytest.fixture
def output(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


def begin(output: Store, run: str, state: State | None = STATE) -> None:
    output.put(f"runs/{run}/run.json", b"{}")
    output.put("runs/latest.json", f'{{"run": "{run}"}}'.encode())
    if state is not None:
        output.put(f"runs/{run}/progress.json", state.to_json())


def end(output: Store, run: str, code: int) -> None:
    done = RunReport(
        run=run, job="j", output="o", exit_code=code, totals=Totals(planned=1, trained=1, unchanged=0, skipped=0, failed=0),
        version=1, published=True, started_at="2026-11-01T00:00:00+00:00", finished_at="2026-11-01T00:01:00+00:00", seconds=60,
    )  # fmt: skip
    output.put(f"runs/{run}/result.json", done.to_json().encode())


def older(output: Store, name: str, seconds: float) -> None:
    """Make an object of a folder as old as that."""
    at = time.time() - seconds
    os.utime(Path(output.uri, name), (at, at))


def test_it_watches_until_the_run_ends_and_ends_with_its_exit_code(
    output: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(output, "r")
    looks = 0

    def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            end(output, "r", 6)

    assert watch.main(output, None, sleep=sleep) == 6
    said = capsys.readouterr().out
    assert "run r: training, 4 of 10, 2/s, eta 3s, 2 failed" in said
    assert "ended 2026-11-01T00:01:00 with exit code 6" in said


def test_a_driver_that_is_silent_for_five_minutes_is_dead_even_at_the_first_look(output: Store) -> None:
    begin(output, "r")
    for name in ("run.json", "progress.json"):
        older(output, f"runs/r/{name}", watch.DEAD + 5)
    with pytest.raises(SetupError, match="the driver of run r is dead: nothing was heard of it for 5m"):
        watch.main(output, "r")
    assert SetupError.exit_code == 3


def test_a_driver_that_falls_silent_while_it_is_watched_is_dead_by_our_own_clock(output: Store) -> None:
    begin(output, "r")
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += 100

    with pytest.raises(SetupError, match="is dead"):
        watch.main(output, "r", sleep=sleep, clock=lambda: now[0])
    assert 300 <= now[0] <= 400


def test_a_heartbeat_keeps_a_run_alive_that_has_nothing_else_to_say(output: Store) -> None:
    begin(output, "r")
    older(output, "runs/r/run.json", 4000)
    older(output, "runs/r/progress.json", 4000)
    output.put(heartbeat.name("r"), b'{"phase": "publish", "beat": 7}')
    watched = watch.Watched(output, "r")
    assert watched.look() is None
    assert (watched.phase, watched.silent < 100) == ("publish", True)


def test_the_run_in_flight_is_watched_and_not_the_one_that_ended(output: Store) -> None:
    begin(output, "a")
    end(output, "a", 0)
    assert watch.in_flight(output) is None
    begin(output, "dead")
    for name in ("run.json", "progress.json"):
        older(output, f"runs/dead/{name}", watch.DEAD + 5)
    assert watch.in_flight(output) is None
    begin(output, "b")
    assert watch.in_flight(output) == "b"


def test_without_a_run_in_flight_it_says_so_and_ends_as_the_newest_did(
    output: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(output, "a")
    end(output, "a", 4)
    assert watch.main(output, None) == 4
    assert "no run is in flight; this one has just ended" in capsys.readouterr().err


class Waiting:
    """A clock that goes on by what is slept, and something that happens at one of its seconds."""

    def __init__(self, at: float = 0.0, then: Callable[[], None] = lambda: None) -> None:
        self.now, self.at, self.then = 0.0, at, then

    def sleep(self, seconds: float) -> None:
        before, self.now = self.now, self.now + seconds
        if before < self.at <= self.now:
            self.then()

    def clock(self) -> float:
        return self.now


def test_a_run_that_starts_soon_is_waited_for_with_a_word_and_watched_from_its_first_second(
    output: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(output, "older")
    end(output, "older", 4)
    older(output, "runs/older/result.json", 2 * watch.WAIT)

    def starts() -> None:
        notice.begin(output, "r", "plan")  # all that there is while the input is listed
        waiting.at, waiting.then = waiting.now + 10, lambda: end(output, "r", 6)

    waiting = Waiting(20, starts)
    assert watch.main(output, None, sleep=waiting.sleep, clock=waiting.clock) == 6
    said = capsys.readouterr()
    assert said.err == f"waiting for a run to start, {watch.WAIT:.0f} s at most\n"
    assert "run r: plan\n" in said.out
    assert 30 <= waiting.now <= 32


@pytest.mark.parametrize("before", [False, True])
def test_waiting_for_a_run_has_an_end(output: Store, capsys: pytest.CaptureFixture[str], before: bool) -> None:
    waiting = Waiting()
    if before:
        begin(output, "older")
        end(output, "older", 4)
        older(output, "runs/older/result.json", 2 * watch.WAIT)
        assert watch.main(output, None, sleep=waiting.sleep, clock=waiting.clock) == 4
        assert "none started within 60 s; this is the one that began last" in capsys.readouterr().err
    else:
        with pytest.raises(ConfigurationError, match="and none did within 60 s"):
            watch.main(output, None, sleep=waiting.sleep, clock=waiting.clock)
    assert watch.WAIT <= waiting.now <= watch.WAIT + 2 * watch.EVERY


def test_a_driver_that_died_while_it_planned_is_no_run_in_flight(output: Store) -> None:
    notice.begin(output, "r", "plan")
    assert watch.in_flight(output) == "r"
    older(output, "runs/r/begun-plan.json", watch.DEAD + 5)
    assert watch.in_flight(output) is None
    with pytest.raises(SetupError, match="is dead"):
        watch.main(output, "r")


def test_failures_by_reason_and_the_longest_fit_are_on_the_line_and_on_the_screen(output: Store) -> None:
    from rich.console import Console

    state = State(
        run="r",
        phase="training",
        to_train=9,
        done=3,
        failed=3,
        reasons={"timeout": 2},
        slowest="shop 7",
        slowest_seconds=95,
    )
    begin(output, "r", state)
    watched = watch.Watched(output, "r")
    watched.look()
    assert "2 × timeout, longest in 'shop 7': 1m 35s" in watch.line(watched)
    console = Console(width=100, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(watch.screen(watched))
    shown = console.export_text()
    for each in ("3 of 9", "2 × timeout", "1 failure more", "shop 7, 1m 35s"):
        assert each in shown
