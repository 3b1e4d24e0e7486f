"""A process that must not outlive its parent: a worker without a driver, a fit without a worker.

On Linux the kernel ends it, whatever it is doing (``prctl(PR_SET_PDEATHSIG)``); elsewhere, and where the kernel's
signal cannot be had, a thread looks whether the parent is still there.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time

_PR_SET_PDEATHSIG = 1
"""of Linux's sys/prctl.h"""
LOOK_EVERY = 0.5


def end_with_parent(parent: int, *, thread: bool = True) -> None:
    """From now on this process ends when its parent does.

    Parameters
    ----------
    parent
        The process number of the parent, as the parent knows it: it may have ended before this call.
    thread
        The thread that started this process lives as long as the parent; for the kernel that thread is the parent.
    """
    libc = ctypes.CDLL(None)
    if thread and hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_watch, args=(parent,), name="orphan", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY)
    os.kill(os.getpid(), signal.SIGKILL)
