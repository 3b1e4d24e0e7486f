"""A run that gets no executor says so."""

from __future__ import annotations

import logging

import pytest

from job.engine.spark.waiting import Waiting


def test_a_run_without_executors_says_so_less_and_less_often(caplog: pytest.LogCaptureFixture) -> None:
    told = played(caplog, [0] * 600)

    assert [int(text.split()[3]) for text in told] == [60, 120, 240, 480]


def test_executors_that_come_late_or_are_replaced_within_a_minute_are_no_news(caplog: pytest.LogCaptureFixture) -> None:
    assert played(caplog, [0] * 50 + [2] * 30 + [0] * 50 + [1] * 30) == []


def test_executors_that_all_went_are_missed_again(caplog: pytest.LogCaptureFixture) -> None:
    assert len(played(caplog, [0] * 70 + [2] * 30 + [0] * 80)) == 2


def test_how_many_there_were_at_the_last_look_is_remembered() -> None:
    now, there = 0.0, 0
    waiting = Waiting(lambda: there, clock=lambda: now)
    assert waiting.count is None
    for now, there, expected in ((5.0, 0, None), (10.0, 0, 0), (15.0, 2, 0), (20.0, 2, 2)):  # noqa: B007 - the clock
        waiting.tick()
        assert waiting.count == expected


def played(caplog: pytest.LogCaptureFixture, counts: list[int]) -> list[str]:
    """One tick a second; what was said."""
    now = 0
    waiting = Waiting(lambda: counts[now - 1], clock=lambda: float(now))
    with caplog.at_level(logging.WARNING, logger="job.engine.spark.waiting"):
        for now in range(1, len(counts) + 1):  # noqa: B007 - the clock
            waiting.tick()
    return [record.getMessage() for record in caplog.records]
