"""Guarded work: a spawned child process without access to a store, which is killed at a limit of time or memory.

It is used from the second attempt of a task on, when the first attempt has died, timed out or used too much memory. The
data or an estimator can then kill only the child. The worker lives, and writes an outcome for the key that failed.
"""

from __future__ import annotations

import os
import pickle
import resource
import select
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

from job.fit.contest import Champion
from job.fit.partition_fit import Result, failed
from job.worker.machine import resident_bytes
from job.worker.operation import Operation, Payload, perform
from job.worker.orphan import end_with_parent

_HEADER = struct.Struct(">Q")
_POLL = 0.05


class Child:
    """A process that does the operation on one key at a time. It is started again after each death.

    Parameters
    ----------
    operation
        The operation on each key.
    timeout
        Limit in seconds for each partition; None: no limit.
    memory
        Limit in bytes for the resident memory of the child; None: no limit.
    hard
        Whether the system enforces ``memory``, too, from the start of the child. The worker checks the memory only
        every `_POLL` seconds. That is too late for a child that takes all memory at once: it kills the container.
    """

    def __init__(self, operation: Operation, *, timeout: float | None, memory: int | None, hard: bool = False) -> None:
        self._operation = operation
        self._timeout = timeout
        self._memory = memory
        self._hard = memory if hard else None
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, key: str, payload: Payload, champion: Champion | None = None) -> Result:
        """Do the operation in the child. After a death, a timeout or too much memory it returns a failed result."""
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            _send(process.stdin, (key, payload, champion))
        except BrokenPipeError:
            return self._died()
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        while not select.select([process.stdout], [], [], _POLL)[0]:
            if deadline is not None and time.monotonic() > deadline:
                self.close()
                text = f"{self._operation.named} took longer than run.timeout ({self._timeout:g} s) and was ended"
                return failed("timeout", text)
            used = resident_bytes(process.pid)
            if self._memory is not None and used is not None and used > self._memory:
                self.close()
                return failed(
                    "memory_limit",
                    f"{self._operation.named} needed {used / 1e6:,.0f} MB of memory; "
                    f"the limit is {self._memory / 1e6:,.0f} MB. Raise run.memory and the executor's memory, "
                    "or give this key less data.",
                )
        try:
            reply = _receive(process.stdout)
        except (EOFError, pickle.UnpicklingError):
            return self._died()
        assert isinstance(reply, Result)
        return reply

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "job.worker.guarded_child", str(os.getpid()), str(self._hard or 0)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        _send(self._process.stdin, self._operation)
        _receive(self._process.stdout)
        return self._process

    def _died(self) -> Result:
        assert self._process is not None
        code = self._process.wait()
        self._process = None
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return failed(
            "worker_died",
            f"the process that did {self._operation.named} ended {how}. "
            "Likely causes: out of memory, a crash in native code, or a call of os._exit in the user's code.",
        )

    def close(self) -> None:
        """End the child process, if one is running."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _send(pipe: IO[bytes], value: Any) -> None:
    data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.write(_HEADER.pack(len(data)))
    view = memoryview(data)
    while view:
        view = view[pipe.write(view) :]
    pipe.flush()


def _receive(pipe: IO[bytes]) -> Any:
    (length,) = _HEADER.unpack(_exactly(pipe, _HEADER.size))
    return pickle.loads(_exactly(pipe, length))


def _exactly(pipe: IO[bytes], length: int) -> bytes:
    parts = []
    while length:
        part = pipe.read(min(length, 1 << 24))
        if not part:
            raise EOFError
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _refuse_beyond(memory: int) -> None:
    """Set the system's limit for this process, so that more than ``memory`` bytes raise a MemoryError."""
    reserved = next(
        (
            int(line.split()[1]) * 1024
            for line in Path("/proc/self/status").read_text().splitlines()
            if "VmData" in line
        ),
        0,
    )
    room = max(memory - (resident_bytes(os.getpid()) or 0), 0)
    resource.setrlimit(resource.RLIMIT_DATA, (reserved + room, resource.RLIM_INFINITY))


def main() -> None:
    """The main function of the child: read the operation, then answer requests until the pipe closes."""
    # Work that hangs would not notice that the pipe was closed.
    end_with_parent(int(sys.argv[1]))
    from threadpoolctl import threadpool_limits

    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    # The user's code may print to standard output; that must not mix with the replies.
    os.dup2(2, 1)
    operation = _receive(requests)
    if int(sys.argv[2]):
        _refuse_beyond(int(sys.argv[2]))
    _send(replies, "ready")
    with threadpool_limits(1):
        while True:
            try:
                key, payload, champion = _receive(requests)
            except EOFError:
                return
            _send(replies, perform(operation, key, payload, champion))


if __name__ == "__main__":
    main()
