"""Random schedules of 2 to 4 concurrent drivers; see tests/chaos/schedule.py.

A few in ``make test``, from a seed that differs from day to day; ``make chaos`` plays CHAOS_SCHEDULES of them (default
2,000), spread over two processes, and so does ``make chaos-ci`` (tests/chaos/test_rotation.py), as far as its time goes.
``python -m tests.chaos.players SEED`` replays one.
"""

from __future__ import annotations

import itertools
import os
import time

import pytest

from tests.chaos.players import MANY, Players, play
from tests.chaos.schedule import cleaned

SEED = int(os.environ.get("CHAOS_SEED", time.strftime("%Y%j")))
QUICK = 12


def of_both_kinds(low: int) -> list[int]:
    """The next seeds: a third of them with a gc, which would not be so on each day."""
    with_gc = itertools.islice(filter(cleaned, itertools.count(low)), QUICK // 3)
    without = itertools.islice(itertools.filterfalse(cleaned, itertools.count(low)), QUICK - QUICK // 3)
    return sorted([*with_gc, *without])


def test_a_few_dozen_schedules_lose_tear_and_double_nothing() -> None:
    played = []
    for seed in of_both_kinds(SEED * 10_000):
        schedule = play(seed)
        assert schedule.problems == [], f"replay it: python -m tests.chaos.players {seed}"
        played.append(schedule)

    assert sum(each.releases for each in played) > QUICK
    assert sum(each.faults.injected for each in played) > 10 * QUICK
    assert sum(each.faults.deaths for each in played) > 0
    assert sum(each.finished for each in played) > 0
    assert any(each.cleaned for each in played)


def test_a_seed_replays_its_schedule() -> None:
    first, second = play(5), play(5)

    assert (first.baton.steps, first.releases, first.faults.injected) == (
        second.baton.steps,
        second.releases,
        second.faults.injected,
    )


@pytest.mark.chaos
@pytest.mark.timeout(4 * 3600)
def test_thousands_of_schedules_lose_tear_and_double_nothing() -> None:
    begin = SEED * 10_000 + 1000
    with Players(begin, begin + MANY) as players:
        played, well, said = players.result()
    print(said)

    assert well, said
    assert played == MANY


def test_a_schedule_that_time_does_not_allow_is_not_said_to_be_played() -> None:
    with Players(0, 50, 0.001) as players:
        played, well, said = players.result()

    assert (played, well) == (2, True), said
    assert "2 of 50 schedules played in the time given" in said
