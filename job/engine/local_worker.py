"""The processes of the local engine: the nursery, which imports everything once, and the workers that it forks.

The nursery is started early in the driver, so that both processes import at the same time. It has no threads and opens
no store, so it is safe to fork. It has its own session, so Ctrl-C reaches only the driver. When the driver ends, for
whatever reason, the nursery kills itself, all workers, and all processes that they have started.

Where a fork is not safe (macOS: system libraries start threads by themselves), each worker is a new process.
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
"""Variables that limit libraries to one thread. There is a process for each core, so more threads would not help."""
DONE, FAILED = "done", "failed"


def main() -> None:
    """Entry point of the processes of `job.engine.local_pool`, with arguments ``nursery|worker FD SCRATCH``."""
    role, number, scratch = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    tempfile.tempdir = os.environ["TMPDIR"] = scratch
    for name in ONE_THREAD:
        os.environ[name] = "1"
    # Else Ctrl-C could raise in the middle of an import. (A process in its own session seldom gets the signal.)
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
    """Fork a worker for each file descriptor that the driver sends, until the driver ends."""
    # The kernel reaps dead workers. The driver notices a death because the worker's socket is closed.
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
            child = -1  # the driver notices it, because the descriptor is closed below
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            requests.close()
            end_with_parent(nursery)
            _end(Connection(numbers[0]))
        for number in numbers:
            os.close(number)


def _end(requests: Connection) -> None:
    """Work, then exit this forked process without a return into the stack of the nursery."""
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
    """Run one task after the other, until the driver closes the connection.

    A request is either a job (a pickled callable that takes the task and the attempt), which is kept for the following
    tasks, or a tuple (task, attempt). The answer is the result or the `Exception`; ``SystemExit`` and
    ``KeyboardInterrupt`` end the process.
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
    """The error, pickled, with its traceback as a note; a RuntimeError with its text if it cannot be pickled."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        data = pickle.dumps(error)
        pickle.loads(data)
    except Exception:
        data = pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
    return data


if __name__ == "__main__":
    main()
