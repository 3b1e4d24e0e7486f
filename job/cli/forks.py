"""Processes that the recipe's code forks, as a pool does: SIGTERM ends them, as it ends any process."""

from __future__ import annotations

import contextlib
import os
import signal
import threading

_before = threading.local()
_hooked = False


def end_by_sigterm() -> None:
    """Let a forked child have no handler of ours; a signal that reaches it at once is not lost either.

    Python forgets what a handler was told before the fork has ended: a pool that ends its processes just after it has
    made them would wait for them for ever. So the signal is held back until the child has its handler.
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
