"""Keeps what a JVM says at every start off the terminal, and lets everything else through."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_CHATTER = re.compile(
    rb"^(WARNING: Using incubator modules|Setting default log level to|To adjust logging level use|"
    rb"Setting Spark log level to|Using Spark's default log4j profile)"
)


@contextmanager
def quiet_start() -> Iterator[None]:
    """Processes started meanwhile write their standard error through a filter, line by line, for as long as they live.

    Only the launch is covered: this process has its own standard error back afterwards.
    """
    sys.stderr.flush()
    own = os.dup(2)
    read, write = os.pipe()
    os.dup2(write, 2)
    os.close(write)
    threading.Thread(target=_forward, args=(read, own), name="spark stderr", daemon=True).start()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(own, 2)


def _forward(read: int, to: int) -> None:
    with os.fdopen(read, "rb") as lines:
        for line in lines:
            if not _CHATTER.match(line):
                os.write(to, line)
