"""The processes of the local engine: one that imports everything and forks, and the workers that it forks.

The nursery is started while the driver still reads its settings, so that both import at the same time. It has no thread
and opens no store, so that a fork of it is safe, and it lives in a session of its own: Ctrl-C reaches the driver alone.
When the driver is gone, however it ended, the nursery ends itself with all workers and whatever they have started.

Where a fork is not safe (macOS: system libraries start threads by themselves) each worker is a new process.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from job.worker.orphan import end_with_parent

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""A process for each core: more threads than that only take turns."""
DONE, FAILED = "done", "failed"


def main() -> None:
    """The process that ``job.engine.local_pool`` starts: ``nursery FD SCRATCH`` or ``worker FD SCRATCH``."""
    role, number, scratch = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    tempfile.tempdir = os.environ["TMPDIR"] = scratch
    for name in ONE_THREAD:
        os.environ[name] = "1"
    # A handler of Ctrl-C would raise in the middle of an import; a process of another session gets none anyway.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from job.worker.warm import warm

    warm()
    if role == "worker":
        end_with_parent(os.getppid(), thread=False)
        work(Connection(number))
        return
    with socket.socket(fileno=number) as requests:
        _fork_on_request(requests, scratch)


def _fork_on_request(requests: socket.socket, scratch: str) -> None:
    """A worker for each descriptor that arrives, until the driver is gone."""
    # The kernel buries dead workers: the driver learns of a death from the worker's own socket.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    nursery = os.getpid()
    while True:
        data, numbers, _, _ = socket.recv_fds(requests, 1, 1)
        if not data:
            shutil.rmtree(scratch, ignore_errors=True)
            os.killpg(0, signal.SIGKILL)
        try:
            child = os.fork()
        except OSError:
            child = -1  # the closed descriptor says it
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            requests.close()
            end_with_parent(nursery)
            _end(Connection(numbers[0]))
        for number in numbers:
            os.close(number)


def _end(requests: Connection) -> None:
    """Work, and end this forked process, whose stack is that of the nursery."""
    code = 1
    try:
        work(requests)
        code = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)


def work(requests: Connection) -> None:
    """The worker: one task after the other, until the driver closes its end.

    A request is what is run from now on (a callable that takes the task and the attempt, pickled), or the number of a
    task with that of the attempt. What ends a process ends this one; everything else is an answer.
    """
    run: Callable[[int, int], Any] | None = None
    while True:
        try:
            request = requests.recv()
        except (EOFError, OSError):
            return
        if isinstance(request, bytes):
            run = pickle.loads(request)
            continue
        assert run is not None
        try:
            answer = (DONE, pickle.dumps(run(*request)))
        except Exception as error:
            answer = (FAILED, _pickled(error))
        with contextlib.suppress(BrokenPipeError):
            requests.send(answer)


def _pickled(error: Exception) -> bytes:
    """The error with the text of its traceback; as text alone if it does not survive the way."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        data = pickle.dumps(error)
        pickle.loads(data)
    except Exception:
        data = pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
    return data


if __name__ == "__main__":
    main()
