"""The driver's side of the local engine: worker processes, one for each slot, and which task each of them has.

A worker that dies takes its task's attempt with it and nothing else: the slot gets a new one. Nothing here is about
models: a job is any callable that takes the number of a task and that of the attempt.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from job.engine.admission import Admission
from job.engine.local_worker import DONE
from job.errors import SetupError

log = logging.getLogger(__name__)

MOST_STARTS = 4
"""Processes that import and fork, in one run, before it is given up."""
DIED = "died"
_WHY = (
    "Was it killed for its memory? Let fewer work at once (run.workers), or set run.memory. "
    "Run again: finished partitions are taken over."
)
_HINT = "Look at the lines above; --run.engine inline runs everything in one process."
# The worker finds what this process finds, and no folder of the user's that is called `job`.
_START = "import sys, json; sys.path[:] = json.loads(sys.argv.pop(1)); from job.engine.local_worker import main; main()"


class Makers(Protocol):
    """A way to start workers."""

    def worker(self) -> Connection:
        """Start a worker; return the connection to it."""

    def kill(self) -> None:
        """End all workers and whatever they have started, at once."""


def _popen(role: str, theirs: socket.socket, scratch: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", _START, json.dumps(sys.path), role, str(theirs.fileno()), scratch],
        stdin=subprocess.DEVNULL,
        # Standard output is for results; what a recipe prints goes where log lines go.
        stdout=2,
        pass_fds=[theirs.fileno()],
        start_new_session=True,
    )


class Nursery:
    """A process that has imported everything and forks a worker when it is asked to.

    Parameters
    ----------
    scratch
        The folder for temporary files; removed, too, if this process is killed.
    """

    def __init__(self, scratch: str) -> None:
        self._ending = threading.Lock()
        self._requests, theirs = socket.socketpair()
        with theirs:
            self._process = _popen("nursery", theirs, scratch)

    def worker(self) -> Connection:
        """A new worker; it begins once the imports are done.

        Raises
        ------
        OSError
            The nursery is gone.
        """
        mine, its = socket.socketpair()
        with its:
            try:
                socket.send_fds(self._requests, [b"w"], [its.fileno()])
            except OSError:
                mine.close()
                raise
        return Connection(mine.detach())

    def kill(self) -> None:
        """End the nursery, its workers and whatever they have started."""
        with self._ending:
            if self._process.returncode is None:
                # Nobody has waited for this child of ours: its number cannot be another process's by now.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
            self._requests.close()


class Spawned:
    """Workers that are new processes, where a fork is not safe.

    Parameters
    ----------
    scratch
        The folder for temporary files.
    """

    def __init__(self, scratch: str) -> None:
        self._scratch = scratch
        self._processes: list[subprocess.Popen[bytes]] = []

    def worker(self) -> Connection:
        """A new worker; it begins once its imports are done."""
        self._processes = [each for each in self._processes if each.poll() is None]
        mine, its = socket.socketpair()
        with its:
            self._processes.append(_popen("worker", its, self._scratch))
        return Connection(mine.detach())

    def kill(self) -> None:
        """End all workers and whatever they have started."""
        for each in self._processes:
            if each.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(each.pid, signal.SIGKILL)
        for each in self._processes:
            each.wait()


def makers(scratch: str) -> Makers:
    """The way in which this system makes workers."""
    return Nursery(scratch) if sys.platform == "linux" else Spawned(scratch)


class Pool:
    """Worker processes, made when they are needed and again when they break.

    Parameters
    ----------
    workers
        How many work at once.
    make
        Starts what makes workers; called at once, and again if that breaks.
    """

    def __init__(self, workers: int, make: Callable[[], Makers]) -> None:
        self._workers, self._make = workers, make
        self._makers = make()
        self._starts = 1
        self._idle: list[tuple[Connection, bytes | None]] = []
        self._busy: dict[Connection, tuple[int, bytes]] = {}
        self._stopped = False

    def run(self, job: Callable[[int, int], Any], waiting: Admission, *, attempts: int) -> list[Any]:
        """Run all tasks to their end.

        Parameters
        ----------
        job
            What is run: picklable, called with the number of the task and that of the attempt, from 0 on.
        waiting
            The tasks.
        attempts
            At one task, before the run is given up.

        Returns
        -------
        list
            What the tasks returned, in the order in which they ended.

        Raises
        ------
        SetupError
            The workers of one task died in all its attempts, or no worker can be started.
        BaseException
            What a task raised in its last attempt.
        """
        packed = pickle.dumps(job)
        results: list[Any] = []
        while waiting:
            while len(self._busy) < self._workers and (chosen := waiting.take()) is not None:
                self._give(packed, *chosen)
            for ready in wait(list(self._busy)):
                assert isinstance(ready, Connection)
                task, _ = self._busy[ready]
                kind, value = self._answer(ready)
                if kind == DONE:
                    waiting.done(task)
                    results.append(value)
                elif waiting.again(task) >= attempts:
                    self.stop()
                    raise value
                elif kind == DIED:
                    log.info("a worker process died in task %d: the task goes on in another one", task)
        return results

    def _give(self, packed: bytes, task: int, attempt: int) -> None:
        while True:
            connection, has = self._idle.pop() if self._idle else (self._new(), None)
            try:
                if has is not packed:
                    connection.send(packed)
                connection.send((task, attempt))
            except OSError:
                connection.close()  # it died while it was idle, or before it began: no attempt is lost
                continue
            self._busy[connection] = task, packed
            return

    def _new(self) -> Connection:
        while not self._stopped:
            try:
                return self._makers.worker()
            except OSError as error:
                self._makers.kill()
                if self._starts >= MOST_STARTS:
                    raise SetupError(f"no worker process can be started: {error}", hint=_HINT) from error
                self._starts += 1
                self._makers = self._make()
        raise SetupError("the workers are stopped already")

    def _answer(self, connection: Connection) -> tuple[str, Any]:
        """What a worker says: its task's result, the error that the task ended with, or nothing any more."""
        _, packed = self._busy.pop(connection)
        try:
            kind, value = connection.recv()
        except (EOFError, OSError):
            connection.close()
            return DIED, SetupError("a worker process died in every attempt at one task", hint=_WHY)
        self._idle.append((connection, packed))
        return kind, pickle.loads(value)

    def stop(self) -> None:
        """End all processes; what they had begun is lost, what they have flushed is not."""
        self._stopped = True
        self._makers.kill()
