"""A call in a thread of its own, while the main thread waits where a signal may interrupt it.

A handler that raises in the middle of a call into the JVM leaves py4j's connection in pieces, and Spark's own handler
of Ctrl-C, which it installs where a session is made in the main thread, calls the JVM from within. The local engine
hands out tasks in such a thread: a slow look at the progress then keeps no worker waiting.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from threading import Event, Thread
from typing import Any, TypeVar

from job.engine.spark.raised import lasting

_Result = TypeVar("_Result")

LOOK_EVERY = 0.5
PATIENCE = 10.0
"""Seconds that a call which was cancelled may still take."""


def aside(
    call: Callable[[], _Result],
    *,
    tick: Callable[[], None] = lambda: None,
    cancel: Callable[[], None] | None = None,
) -> _Result:
    """Return or raise what the call does. An error of Java keeps its text even if the JVM ends.

    Parameters
    ----------
    call
        Runs in a thread that does not keep this process alive.
    tick
        Called about twice a second meanwhile, here.
    cancel
        Called, aside as well, when a signal ends the waiting: makes the call end.
    """
    outcome: dict[str, Any] = {}
    # Not Thread.join: Python 3.11 takes a thread for ended whose join a signal has interrupted.
    ended = Event()

    def act() -> None:
        try:
            outcome["value"] = call()
        except BaseException as error:
            outcome["error"] = lasting(error)
        finally:
            ended.set()

    Thread(target=act, daemon=True, name="engine").start()
    try:
        while not ended.wait(LOOK_EVERY):
            tick()
    except BaseException:
        if cancel is not None:
            with contextlib.suppress(Exception):
                aside(cancel)
            ended.wait(PATIENCE)
        raise
    if "error" in outcome:
        raise outcome["error"]
    value: _Result = outcome["value"]
    return value
