"""Ends a process when its parent ends: a worker must not outlive its driver, and a fit not its worker.

On Linux the kernel ends it at any point (``prctl(PR_SET_PDEATHSIG)``). For other systems, and in case that call is not
possible, a thread also checks whether the parent is still running.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time

_PR_SET_PDEATHSIG = 1
"""constant of Linux's sys/prctl.h"""
LOOK_EVERY = 0.5


def end_with_parent(parent: int, *, thread: bool = True) -> None:
    """From now on, this process ends when its parent ends.

    Parameters
    ----------
    parent
        The process id of the parent. The parent must have passed it on, as it may have ended before this call.
    thread
        Whether the thread that started this process lives as long as the parent process. The kernel ends the process
        when that thread ends.
    """
    libc = ctypes.CDLL(None)
    if thread and hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_watch, args=(parent,), name="orphan", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY)
    os.kill(os.getpid(), signal.SIGKILL)
