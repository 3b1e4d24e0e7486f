"""Random schedules of 2 to 4 concurrent drivers, of trainings and of scorings; see tests/chaos/schedule.py.

A few in ``make test``, from a seed that differs from day to day; ``make chaos`` plays CHAOS_SCHEDULES of them (default
2,000), spread over two processes, and so does ``make chaos-ci`` (tests/chaos/test_rotation.py), as far as its time goes.
``python -m tests.chaos.players SEED`` replays one.
"""

from __future__ import annotations

import itertools
import os
import time

import pytest

from tests.chaos.players import MANY, Players, kind, play
from tests.chaos.schedule import Schedule, cleaned
from tests.chaos.scoring_schedule import ScoringSchedule
from tests.chaos.training_schedule import TrainingSchedule

SEED = int(os.environ.get("CHAOS_SEED", time.strftime("%Y%j")))
QUICK = {TrainingSchedule: 9, ScoringSchedule: 6}


def of_both_kinds(of: type[Schedule], low: int) -> list[int]:
    """The next seeds of trainings or scorings: a third of them with a gc, which would not be so on each day."""
    seeds = [seed for seed in range(low, low + 400) if kind(seed) is of]
    with_gc, without = (list(each) for each in (filter(cleaned, seeds), itertools.filterfalse(cleaned, seeds)))
    return sorted([*with_gc[: QUICK[of] // 3], *without[: QUICK[of] - QUICK[of] // 3]])


@pytest.mark.parametrize("of", QUICK)
def test_a_few_schedules_lose_tear_and_double_nothing(of: type[Schedule]) -> None:
    played = []
    for seed in of_both_kinds(of, SEED * 10_000):
        schedule = play(seed)
        assert schedule.problems == [], f"replay it: python -m tests.chaos.players {seed}"
        played.append(schedule)

    assert {type(each) for each in played} == {of}
    assert sum(each.releases for each in played) > QUICK[of]
    assert sum(each.faults.injected for each in played) > 10 * QUICK[of]
    assert sum(each.faults.deaths for each in played) > 0
    assert sum(each.finished for each in played) > 0
    assert sum(each.read for each in played) > 10 * QUICK[of]
    assert any(each.cleaned for each in played)


@pytest.mark.parametrize("seed", [4, 5], ids=["training", "scoring"])
def test_a_seed_replays_its_schedule(seed: int) -> None:
    first, second = play(seed), play(seed)

    assert (first.baton.steps, first.releases, first.faults.injected, first.read) == (
        second.baton.steps,
        second.releases,
        second.faults.injected,
        second.read,
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
