"""`job.engine.aside`: what a signal finds while a call into the JVM is under way."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from job.engine.aside import aside
from job.errors import InterruptedRun


@pytest.fixture
def alarm() -> Iterator[None]:
    """SIGALRM raises, as SIGTERM does in the command line."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise InterruptedRun("stopped")

    before = signal.signal(signal.SIGALRM, stop)
    yield
    signal.signal(signal.SIGALRM, before)


def test_a_signal_ends_the_waiting_and_cancels_the_call_which_itself_is_not_cut(alarm: None) -> None:
    waiting, cancelled, ended = threading.Event(), threading.Event(), threading.Event()

    def call() -> None:
        assert threading.current_thread() is not threading.main_thread()
        # The main thread waits by now, or is about to: it ticks while it does.
        assert waiting.wait(60)
        os.kill(os.getpid(), signal.SIGALRM)
        assert cancelled.wait(60)
        ended.set()

    with pytest.raises(InterruptedRun):
        aside(call, tick=waiting.set, cancel=cancelled.set)

    assert ended.is_set()


def test_what_a_call_returns_or_raises_arrives_and_ticks_come_to_the_thread_that_waits() -> None:
    ticked: list[threading.Thread] = []

    assert aside(lambda: 7, tick=lambda: ticked.append(threading.current_thread())) == 7
    assert set(ticked) <= {threading.current_thread()}
    with pytest.raises(ZeroDivisionError):
        aside(lambda: 1 / 0)
