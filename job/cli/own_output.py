"""Standard output for one JSON document alone: what the user's code prints meanwhile goes to standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout


@contextmanager
def kept(active: bool) -> Iterator[None]:
    """Send to standard error what is printed meanwhile, also by libraries in C and by child processes.

    Parameters
    ----------
    active
        False: nothing is changed.
    """
    if not active:
        yield
        return
    sys.stdout.flush()
    real = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(real, 1)
        os.close(real)
