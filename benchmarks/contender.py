"""A contender in a process of its own: rounds are asked for on standard input, answers come on standard output.

So that its CPU time, with that of everything it starts, can be read from outside; and in an environment of its own.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from benchmarks.measure import adopt_orphans, end_with_parent, tree, tree_cpu, tree_cpu_by_name

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class ContenderFailed(Exception):
    """It ended, or answered with an error; its text says which log to read."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """One measured round."""

    wall: float
    """seconds, from the question to the answer"""
    cpu: float
    """CPU seconds of the contender's process and everything below it"""
    server_cpu: float
    """CPU seconds of the S3 server meanwhile"""
    models: int
    detail: dict[str, Any]


class Contender:
    """A running contender.

    Parameters
    ----------
    name
        For the log.
    module
        Where its ``Peer`` is.
    work
        Fields of the `Workload`.
    python
        The interpreter to run it with.
    environment
        What is added to the environment.
    log
        File for what it prints.
    """

    def __init__(
        self, name: str, module: str, work: Mapping[str, Any], *, python: str, environment: Mapping[str, str], log: Path
    ) -> None:
        self.name, self._log = name, log
        self._file: IO[bytes] = log.open("wb")
        root = str(Path(__file__).resolve().parents[1])
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.contender", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._file,
            cwd=root,
            env={**os.environ, **ONE_THREAD, **environment, "PYTHONPATH": root},
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._ask(dict(work))

    def ready(self, seconds: float) -> float:
        """Wait until it is up; how long it took by its own clock."""
        return float(self._answer(seconds)["seconds"])

    def round(self, output: str, seconds: float, server_pid: int) -> Round:
        """One round."""
        from benchmarks.measure import cpu_seconds

        cpu, by_name, server = tree_cpu(self.pid), tree_cpu_by_name(self.pid), cpu_seconds(server_pid)
        begin = time.perf_counter()
        self._ask({"round": output})
        answer = self._answer(seconds)
        wall = time.perf_counter() - begin
        after = tree_cpu_by_name(self.pid)
        detail = dict(answer.get("detail") or {})
        detail["cpu_by_program"] = {
            name: round(value - by_name.get(name, 0.0), 2)
            for name, value in after.items()
            if value - by_name.get(name, 0.0) > 0.005
        }
        return Round(
            wall=wall,
            cpu=tree_cpu(self.pid) - cpu,
            server_cpu=cpu_seconds(server_pid) - server,
            models=int(answer["models"]),
            detail=detail,
        )

    def close(self) -> None:
        """Ask it to end, then end everything below it that is still there."""
        below = tree(self.pid)
        try:
            self._ask({"close": True})
            self._process.wait(15)
        except (ContenderFailed, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        for pid in below[1:]:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self._file.close()

    def _ask(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise self._failed("ended") from None

    def _answer(self, seconds: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            raise self._failed(f"did not answer within {seconds:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise self._failed("ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise self._failed(str(answer["error"]))
        return answer

    def _failed(self, what: str) -> ContenderFailed:
        return ContenderFailed(f"{self.name}: {what} (log: {self._log})")


def main() -> None:
    """The contender's own process."""
    adopt_orphans()
    end_with_parent()
    questions = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print must not get between the answers
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)

    def answer(**value: Any) -> None:
        answers.write(json.dumps(value).encode() + b"\n")

    begin = time.perf_counter()
    try:
        from benchmarks.workload import Workload

        peer = importlib.import_module(sys.argv[1]).Peer(Workload(**json.loads(questions.readline())))
        answer(seconds=time.perf_counter() - begin)
        while line := questions.readline():
            message = json.loads(line)
            if "close" in message:
                break
            models = peer.round(message["round"])
            answer(models=models, detail=getattr(peer, "detail", None))
        peer.close()
    except BaseException as error:
        import traceback

        traceback.print_exc()
        answer(error=f"{type(error).__name__}: {str(error)[:300]}")
        raise SystemExit(1) from None
    os._exit(0)


if __name__ == "__main__":
    main()
