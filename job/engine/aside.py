"""Runs a call in its own thread, while the calling thread waits and can be interrupted by a signal.

A signal handler that raises in the middle of a call into the JVM breaks the connection of py4j. Also, if a session is
made in the main thread, Spark installs its own handler of Ctrl-C, which calls the JVM. The local engine hands out tasks
in such a thread too: then a slow report of progress does not delay the workers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from threading import Event, Thread
from typing import Any, TypeVar

from job.engine.spark.raised import lasting

_Result = TypeVar("_Result")

LOOK_EVERY = 0.5
"""Seconds between two calls of ``tick``."""
PATIENCE = 10.0
"""Seconds to wait for the end of a cancelled call."""


def aside(
    call: Callable[[], _Result],
    *,
    tick: Callable[[], None] = lambda: None,
    cancel: Callable[[], None] | None = None,
) -> _Result:
    """Run a call in a thread; return its value or raise its error. An error of Java keeps its text if the JVM ends.

    Parameters
    ----------
    call
        The function to run, in a thread that does not keep this process alive.
    tick
        Called about twice a second during the wait, in the calling thread.
    cancel
        Must make the call end. It runs in a thread too, if an exception (of a signal handler or of ``tick``) ends the
        wait.
    """
    outcome: dict[str, Any] = {}
    # Not Thread.join: if a signal interrupts it, Python 3.11 takes the thread for ended.
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
