"""Running other programs: quietly when they succeed, with their last words when they do not.

Every program of the cluster ends through `guarded`, so that a failure is one line and a log, never a traceback.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path


class Failed(Exception):
    """A step did not work; its text is for the user."""


def run(
    *command: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None, text: str | None = None
) -> str:
    """Runs a command to its end and returns what it wrote; `text` is its input."""
    try:
        done = subprocess.run(
            [str(word) for word in command], env={**os.environ, **(env or {})}, cwd=cwd, input=text,
            capture_output=True, encoding="utf-8", errors="replace",
            stdin=subprocess.DEVNULL if text is None else None,
        )  # fmt: skip
    except FileNotFoundError:
        raise Failed(f"{command[0]} is not installed") from None
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-25:])
        raise Failed(f"{' '.join(str(word) for word in command[:6])} ... ended with {done.returncode}:\n{last}")
    return done.stdout


def succeeds(*command: str | Path) -> bool:
    return subprocess.run([str(w) for w in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL).returncode == 0  # fmt: skip


def wait(what: str, ready: Callable[[], bool], seconds: float, every: float = 0.1) -> None:
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise Failed(f"{what}: not there after {seconds:.0f} s")
        time.sleep(every)


class Laps:
    """Prints each step's time as it ends, and keeps it."""

    def __init__(self) -> None:
        self.start = self.last = time.monotonic()
        self.seconds: dict[str, float] = {}

    def __call__(self, step: str) -> None:
        now = time.monotonic()
        self.seconds[step] = round(now - self.last, 1)
        print(f"{now - self.start:7.1f} s  {step} ({now - self.last:.1f} s)", flush=True)
        self.last = now


def guarded(main: Callable[[], int | None]) -> int:
    try:
        return main() or 0
    except Failed as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
