"""Restores the state of the process after each fit, because a recipe's code may change it for the fits of later keys.

scikit-learn's estimators change nothing. A user's function, or a class of another library, may change the working
folder, the settings of a library or a signal handler, may fork, and may leave files open.
"""

from __future__ import annotations

import contextlib
import copy
import decimal
import gc
import locale
import logging
import os
import resource
import signal
import socket
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import sklearn

from job.errors import PartitionError

_RESERVE = 48
"""Number of file descriptors kept free for models and outcomes, even if the recipe's code leaves files open."""
_CORES = "LOKY_MAX_CPU_COUNT"
"""Variable that makes joblib report one core to libraries that ask it (such as LightGBM). So each fit has one thread,
and a model does not depend on the machine."""


@contextmanager
def contained() -> Iterator[None]:
    """A context for code that is neither manyfit's nor scikit-learn's.

    Raises
    ------
    PartitionError
        ``fit_error``: earlier fits have left so many files open that too few descriptors are free.
    """
    _refuse_without_files()
    process = os.getpid()
    before = [read() for read, _ in _STATE]
    os.environ.setdefault(_CORES, "1")
    try:
        yield
    except BaseException:
        if os.getpid() != process:
            traceback.print_exc()
        raise
    finally:
        if os.getpid() != process:
            # This is a child process that the user's code has forked. It must not continue with the worker's tasks.
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.flush()
            os._exit(1 if sys.exc_info()[0] else 0)
        for (read, write), then in zip(_STATE, before, strict=True):
            if read() != then:
                write(then)


def _refuse_without_files() -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return
    opened = _opened()
    if opened + _KEPT.wanted() > limit:
        _KEPT.release()
        message = f"{opened} of {limit} files are open: the recipe's code leaves files open"
        raise PartitionError("fit_error", message, hint="Close them: `with open(...) as file:`.")
    _KEPT.keep()


def _opened() -> int:
    """The number of open descriptors; without /proc, the lowest free descriptor as an estimate."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        pass
    try:
        descriptor = os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return 1 << 30
    os.close(descriptor)
    return descriptor


class _Kept:
    """Descriptors held in reserve, for the case that the user's code opens all others."""

    def __init__(self) -> None:
        self._held: list[int] = []
        self._process = 0

    def wanted(self) -> int:
        """The number of descriptors that must be free: `_RESERVE`, and twice that if the reserve is not held yet."""
        return _RESERVE if self._held and self._process == os.getpid() else 2 * _RESERVE

    def keep(self) -> None:
        """Open the descriptors of the reserve, once in each process."""
        if self._process != os.getpid():
            self._held, self._process = [], os.getpid()
            with contextlib.suppress(OSError):
                self._held.extend(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) for _ in range(_RESERVE))

    def release(self) -> None:
        """Close the reserve for good, because all other descriptors are in use."""
        for each in self._held if self._process == os.getpid() else ():
            os.close(each)
        self._held, self._process = [], os.getpid()


_KEPT = _Kept()


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None


def _back_to(folder: str | None) -> None:
    if folder is not None:
        with contextlib.suppress(OSError):
            os.chdir(folder)


def _set_environment(then: dict[str, str]) -> None:
    for name in os.environ.keys() - then.keys():
        del os.environ[name]
    os.environ.update(then)


def _pandas() -> Any:
    return copy.deepcopy(_options())


def _options() -> dict[str, Any]:
    found = getattr(getattr(getattr(pd, "_config", None), "config", None), "_global_config", {})
    return found if isinstance(found, dict) else {}


def _set_pandas(then: dict[str, Any]) -> None:
    _options().clear()
    _options().update(then)


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGHUP)


def _handlers() -> list[Any]:
    return [signal.getsignal(each) for each in _SIGNALS]


def _set_handlers(then: list[Any]) -> None:
    if threading.current_thread() is threading.main_thread():
        for each, handler in zip(_SIGNALS, then, strict=True):
            signal.signal(each, handler)


def _logging() -> tuple[Any, ...]:
    return logging.root.level, tuple(logging.root.handlers), logging.root.manager.disable


def _set_logging(then: tuple[Any, ...]) -> None:
    logging.root.setLevel(then[0])
    logging.root.handlers[:] = then[1]
    logging.root.manager.disable = then[2]


def _decimal() -> tuple[Any, ...]:
    now = decimal.getcontext()
    return now.prec, now.rounding, now.Emin, now.Emax


def _set_decimal(then: tuple[Any, ...]) -> None:
    now = decimal.getcontext()
    now.prec, now.rounding, now.Emin, now.Emax = then


def _set_warnings(then: tuple[Any, ...]) -> None:
    warnings.filters[:] = then[0]  # type: ignore[index]
    warnings.showwarning = then[1]


def _set_streams(then: tuple[Any, ...]) -> None:
    sys.stdin, sys.stdout, sys.stderr = then


_STATE: tuple[tuple[Callable[[], Any], Callable[[Any], Any]], ...] = (
    (sklearn.get_config, lambda then: sklearn.set_config(**then)),
    (_folder, _back_to),
    (lambda: dict(os.environ), _set_environment),
    (np.geterr, lambda then: np.seterr(**then)),
    (_pandas, _set_pandas),
    (lambda: locale.setlocale(locale.LC_ALL), lambda then: locale.setlocale(locale.LC_ALL, then)),
    (lambda: list(sys.path), lambda then: sys.path.__setitem__(slice(None), then)),
    (lambda: (sys.stdin, sys.stdout, sys.stderr), _set_streams),
    (sys.getrecursionlimit, sys.setrecursionlimit),
    (lambda: (list(warnings.filters), warnings.showwarning), _set_warnings),
    (_decimal, _set_decimal),
    (gc.isenabled, lambda then: gc.enable() if then else gc.disable()),
    (socket.getdefaulttimeout, socket.setdefaulttimeout),
    (_handlers, _set_handlers),
    (_logging, _set_logging),
)
"""For each part of the state, a function that reads it and one that restores it."""
