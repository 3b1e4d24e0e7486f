"""Makes SIGTERM end the processes that the recipe's code forks, for example those of a pool."""

from __future__ import annotations

import contextlib
import os
import signal
import threading

_before = threading.local()
_hooked = False


def end_by_sigterm() -> None:
    """Give forked children the default action of SIGTERM, also for a signal that arrives during the fork.

    In the child, Python forgets signals that its handler got before the fork has ended. So a pool that ends its
    processes right after their start would wait for them for ever. Therefore the signal is blocked until the child has
    the default action.
    """
    global _hooked
    if not _hooked:
        _hooked = True
        os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_in_child)


def _hold() -> None:
    _before.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _release() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _before.mask)


def _in_child() -> None:
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _release()
