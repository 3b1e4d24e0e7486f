"""Keeps what a JVM says at every start off the terminal, and lets everything else through."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_CHATTER = re.compile(
    rb"^(WARNING: Using incubator modules|Setting default log level to|To adjust logging level use|"
    rb"Setting Spark log level to|Using Spark's default log4j profile)"
)


@contextmanager
def quiet() -> Iterator[int]:
    """A file descriptor for the standard error of a process: a filter, line by line, for as long as the process lives.

    This process's own standard error is left alone: another thread may have something to say meanwhile.
    """
    read, write = os.pipe()
    threading.Thread(target=_forward, args=(read,), name="spark stderr", daemon=True).start()
    try:
        yield write
    finally:
        os.close(write)


def _forward(read: int) -> None:
    with os.fdopen(read, "rb") as lines:
        for line in lines:
            if not _CHATTER.match(line):
                os.write(2, line)
