"""The command ``output.after_release``: it is called when the output has another version, and can tell other systems.

At the end of a run, the driver compares the published version with the note of the last call that succeeded
(``after_release.json``), and calls the command if they differ. So a version that another process has made, or whose
call failed or died, is told by the next run. A call that died before its note was put is repeated: each version is told
at least once. A failed call changes nothing: the version stays published.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from job.config.redaction import redact
from job.errors import NotFoundError, StoreError
from job.store import Store

log = logging.getLogger(__name__)

NOTE = "after_release.json"
"""The note of the last call that succeeded."""
_TOLD = 2000
"""Number of characters of the command's output, the last ones, that are told."""
_GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL at the time limit."""
_NOT_STARTED = 127


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call of the command."""

    version: int
    """the version that it was told of"""
    exit_code: int
    """exit status; negative: the number of the signal that ended it; 127: it could not be started"""
    seconds: float
    output: str
    """the last characters of its output"""
    timed_out: bool = False

    def sentence(self) -> str:
        """How the call ended."""
        how = f"ended with exit code {self.exit_code}"
        if self.exit_code < 0:
            how = f"was ended by signal {-self.exit_code}"
        if self.timed_out:
            how = f"took longer than output.after_release_timeout and was ended, after {self.seconds:.0f} s"
        if self.exit_code == _NOT_STARTED and not self.timed_out:
            how = "could not be started"
        said = f"output.after_release {how}"
        return f"{said}: {self.output}" if self.output else said

    def document(self) -> dict[str, Any]:
        """The call as plain data, for ``result.json``."""
        return {
            "version": self.version,
            "exit_code": self.exit_code,
            "seconds": round(self.seconds, 3),
            "output": self.output,
            "timed_out": self.timed_out,
        }


def call(
    output: Store, command: Sequence[str], *, version: int | None, timeout: float | None, about: Mapping[str, str]
) -> Call | None:
    """Call the command if the published version has not been told yet.

    Parameters
    ----------
    output
        The output.
    command
        The program and its arguments; no shell reads them.
    version
        The published version; None if nothing is published.
    timeout
        Limit in seconds; None: no limit.
    about
        Further variables of the command's environment, without their prefix ``RELEASE_``: run, job, kind, operation.

    Returns
    -------
    Call
        None if there was no call.
    """
    if version is None or _told(output) == version:
        return None
    told = {"output": output.uri, "version": str(version), **about}
    done = _run(command, version, timeout, {f"RELEASE_{name.upper()}": value for name, value in told.items()})
    if done.exit_code:
        log.error("%s. Version %d of %s stays published.", done.sentence(), version, output.uri)
        return done
    log.info("%s (%.1f s)", done.sentence(), done.seconds)
    try:
        output.put(NOTE, json.dumps({"version": version, **about}).encode())
    except StoreError as error:
        log.warning("that output.after_release was called could not be noted, so it will be called again: %s", error)
    return done


def _told(output: Store) -> int | None:
    """The version that was told last; None if there is no note that can be read."""
    try:
        return int(json.loads(bytes(output.get(NOTE)))["version"])
    except (NotFoundError, ValueError, KeyError, TypeError):
        return None
    except StoreError as error:
        log.warning("the note of output.after_release cannot be read, so it is called: %s", error)
        return None


def _run(command: Sequence[str], version: int, timeout: float | None, told: Mapping[str, str]) -> Call:
    begin = time.monotonic()
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env={**os.environ, **told},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            text = f"{command[0]!r}: {getattr(error, 'strerror', None) or error}"
            return Call(version=version, exit_code=_NOT_STARTED, seconds=0.0, output=text)
        timed_out = False
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            # At the limit, and if this run is stopped: what the command has started ends with it.
            if process.poll() is None:
                _end(process)
        seconds = time.monotonic() - begin
        return Call(
            version=version, exit_code=process.returncode, seconds=seconds, output=_last(said), timed_out=timed_out
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
            return


def _last(said: IO[bytes]) -> str:
    """The end of what the command printed, without credentials."""
    size = said.seek(0, os.SEEK_END)
    said.seek(max(0, size - 4 * _TOLD))
    return redact(said.read().decode("utf-8", "replace").strip()[-_TOLD:])
