"""Removes the usual messages of a JVM's start from standard error; all other lines pass."""

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
    """A file descriptor for the standard error of a child process. Its lines are filtered until the process ends.

    The standard error of this process is not redirected, because other threads may write to it at the same time.
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
