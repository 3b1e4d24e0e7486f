"""The pool of worker processes of the local engine, on the side of the driver.

If a worker dies, only the attempt that it worked on is lost, and a new worker takes its place. Nothing here is about
models: a job is any callable that takes the number of a task and the number of the attempt.
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
"""How often the nursery (or its counterpart) is started in one run, before the run fails."""
DIED = "died"
_WHY = (
    "Was it killed for its memory? Let fewer work at once (run.workers), or set run.memory. "
    "Run again: finished partitions are taken over."
)
_STOPPED = "the workers are stopped already"
_HINT = "Look at the lines above; --run.engine inline runs everything in one process."
# The worker gets this process's sys.path, so that it never imports a folder of the user that is called `job`.
_START = "import sys, json; sys.path[:] = json.loads(sys.argv.pop(1)); from job.engine.local_worker import main; main()"


class Makers(Protocol):
    """Starts workers, and ends them."""

    def worker(self) -> Connection:
        """Start a worker. Returns the connection to it."""

    def kill(self) -> None:
        """Kill all workers and all processes that they have started."""


def _popen(role: str, theirs: socket.socket, scratch: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", _START, json.dumps(sys.path), role, str(theirs.fileno()), scratch],
        stdin=subprocess.DEVNULL,
        # Standard output is for results. The prints of a recipe go to standard error, like log lines.
        stdout=2,
        pass_fds=[theirs.fileno()],
        start_new_session=True,
    )


class Nursery:
    """A process that has imported everything once, and forks a worker for each request.

    Parameters
    ----------
    scratch
        The folder for temporary files. The nursery removes it if this process is killed.
    """

    def __init__(self, scratch: str) -> None:
        self._ending = threading.Lock()
        self._requests, theirs = socket.socketpair()
        with theirs:
            self._process = _popen("nursery", theirs, scratch)

    def worker(self) -> Connection:
        """Start a worker; it begins to work after the imports of the nursery.

        Raises
        ------
        OSError
            The nursery has ended.
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
        """Kill the nursery, its workers and all processes that they have started."""
        with self._ending:
            if self._process.returncode is None:
                # Nobody has waited for this child yet, so no other process can have its process id.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
            self._requests.close()


class Spawned:
    """Starts each worker as a new process, for systems where a fork is not safe.

    Parameters
    ----------
    scratch
        The folder for temporary files.
    """

    def __init__(self, scratch: str) -> None:
        self._scratch = scratch
        self._processes: list[subprocess.Popen[bytes]] = []

    def worker(self) -> Connection:
        """Start a worker; it begins to work after its imports."""
        self._processes = [each for each in self._processes if each.poll() is None]
        mine, its = socket.socketpair()
        with its:
            self._processes.append(_popen("worker", its, self._scratch))
        return Connection(mine.detach())

    def kill(self) -> None:
        """Kill all workers and all processes that they have started."""
        for each in self._processes:
            if each.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(each.pid, signal.SIGKILL)
        for each in self._processes:
            each.wait()


def makers(scratch: str) -> Makers:
    """The way to start workers that is safe on this system."""
    return Nursery(scratch) if sys.platform == "linux" else Spawned(scratch)


class Pool:
    """Worker processes. They are started when needed, and replaced when they die.

    Parameters
    ----------
    workers
        Number of workers at most.
    make
        Makes the `Makers`. It is called at once, and again if they fail.
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
            A picklable callable. It takes the number of the task and the number of the attempt, both from 0.
        waiting
            The queue of tasks.
        attempts
            Attempts at one task at most. If the last one fails, the run fails.

        Returns
        -------
        list
            The results of the tasks, in the order in which they ended.

        Raises
        ------
        SetupError
            The worker died in the last attempt at a task, no worker can be started, or `stop` was called meanwhile.
        BaseException
            The error of a task in its last attempt.
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
                elif self._stopped:
                    raise SetupError(_STOPPED)  # it did not die: `stop` has killed it
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
                connection.close()  # the worker died before it got the task: this costs no attempt
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
        raise SetupError(_STOPPED)

    def _answer(self, connection: Connection) -> tuple[str, Any]:
        """The answer of a worker: the result of its task, or the error of its task, or `DIED` if the worker is gone."""
        _, packed = self._busy.pop(connection)
        try:
            kind, value = connection.recv()
        except (EOFError, OSError):
            connection.close()
            return DIED, SetupError("a worker process died in every attempt at one task", hint=_WHY)
        self._idle.append((connection, packed))
        return kind, pickle.loads(value)

    def stop(self) -> None:
        """Kill all processes. Running attempts are lost; outcomes that were already written are not."""
        self._stopped = True
        self._makers.kill()
