"""``manyfit status --watch``: follows a run until it ends or its driver is dead.

Reads ``progress.json``, ``heartbeat.json`` and ``result.json``; works from anywhere that can read the output.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from job import run_paths
from job.cli import screens
from job.errors import ConfigurationError, NotFoundError, SetupError, UnreachableError
from job.run import heartbeat
from job.run.progress import State
from job.words import clock, counted, pace

if TYPE_CHECKING:
    from job.store import Store

EVERY = 2.0
"""Seconds between two reads of the state."""
DEAD = 300.0
"""Seconds without a sign of life after which the driver counts as dead."""
_LINES_EVERY = 15.0
"""Seconds between two lines if standard output is no terminal."""
WAIT = 60.0
"""Seconds to wait for a run to start, if none is in flight."""
_NEWEST = 64
"""Number of runs, the last by name, that are checked for one in flight: the last name need not be the newest run."""
_SIGNS = ("progress.json", "heartbeat.json", "run.json")


def main(
    output: Store,
    run: str | None,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Watch a run to its end.

    Parameters
    ----------
    output
        The store of the output.
    run
        The id of the run. None for the newest run in flight. If there is none: the run that began last, if it ended
        less than `WAIT` seconds ago; else a run that starts within `WAIT` seconds; else the run that began last.

    Returns
    -------
    int
        The run's exit code.

    Raises
    ------
    ConfigurationError
        There is no such run; or no run has begun yet, and none did within `WAIT` seconds.
    SetupError
        The driver is dead.
    """
    name = run if run is not None else _awaited(output, sleep, clock)
    watched = Watched(output, name, clock=clock)
    if sys.stdout.isatty():
        with Live(console=Console(highlight=False), refresh_per_second=4) as live:
            while (code := watched.look()) is None:
                live.update(screen(watched))
                sleep(EVERY)
            live.update(Text(""))
    else:
        said = -_LINES_EVERY
        while (code := watched.look()) is None:
            if clock() - said >= _LINES_EVERY:
                said = clock()
                print(line(watched), flush=True)
            sleep(EVERY)
    screens.status(watched.found)
    return code


def _awaited(output: Store, sleep: Callable[[float], None], clock: Callable[[], float]) -> str:
    """The run to watch: one in flight, one that has just ended, one that starts soon, or the one that began last."""
    begin, told = clock(), False
    while True:
        if (name := in_flight(output)) is not None:
            return name
        newest = _newest(output)
        result = None if newest is None else output.head(run_paths.result(newest))
        if newest is not None and result is not None and output.now().timestamp() - result.modified < WAIT:
            print("no run is in flight; this one has just ended", file=sys.stderr)
            return newest
        if clock() - begin >= WAIT:
            break
        if not told:
            print(f"waiting for a run to start, {WAIT:.0f} s at most", file=sys.stderr, flush=True)
            told = True
        sleep(EVERY)
    if newest is None:
        raise ConfigurationError(
            f"no run has begun in {output.uri}, and none did within {WAIT:.0f} s", hint="Is it the job's output.uri?"
        )
    print(
        f"no run is in flight, and none started within {WAIT:.0f} s; this is the one that began last", file=sys.stderr
    )
    return newest


def _newest(output: Store) -> str | None:
    """The run that began last; None if no run has begun."""
    with contextlib.suppress(NotFoundError):
        return str(json.loads(bytes(output.get(run_paths.LATEST)))["run"])
    return None


def in_flight(output: Store) -> str | None:
    """The run without a result and with the newest sign of life; None if that is older than `DEAD` seconds."""
    names = sorted(output.prefixes("runs"))[-_NEWEST:]
    if (newest := _newest(output)) is not None:
        names.append(newest)
    since = output.now() - timedelta(seconds=DEAD)

    def sign(run: str) -> float | None:
        if output.head(run_paths.result(run)) is not None:
            return None
        found = [info.modified for each in _SIGNS if (info := output.head(run_paths.folder(run) + each)) is not None]
        # a run that still lists its input has only recorded that it began
        return max(found, default=None) or screens.begun(output, run)

    with ThreadPoolExecutor(16) as pool:
        signs = zip(names, pool.map(sign, names), strict=True)
    alive = [(at, run) for run, at in signs if at is not None and at > since.timestamp()]
    return max(alive)[1] if alive else None


class Watched:
    """The state of a run at the last look.

    Parameters
    ----------
    output, run
        The store of the output, and the id of the run.
    clock
        Returns the time in seconds.
    """

    def __init__(self, output: Store, run: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._output, self.run, self._clock = output, run, clock
        self.found: dict[str, Any] = {}
        self.state: State | None = None
        self.phase = "plan"
        self.silent = 0.0
        """seconds since the last sign of life"""
        self._heard = clock()
        self._sign: object = None

    def look(self) -> int | None:
        """Read the state once. Returns the exit code if the run has ended, else None.

        Raises
        ------
        SetupError
            The driver is dead.
        """
        try:
            self.found = screens.read_status(self._output, self.run)
            beat = self._output.head(heartbeat.name(self.run))
        except UnreachableError:
            return None  # for example a laptop that slept; the state of the last look stays on the screen
        if "result" in self.found:
            return int(self.found["result"]["exit_code"])
        progress = self.found["progress"]
        self.state = None if progress is None else State.from_json(json.dumps(progress).encode())
        if beat is not None:
            self.phase = str(json.loads(bytes(self._output.get(heartbeat.name(self.run))))["phase"])
        if self.state is not None:
            self.phase = self.state.phase if self.phase in ("prepare", "plan", "train", "score") else self.phase
        self._listen(beat)
        if self.silent > DEAD:
            raise SetupError(
                f"the driver of run {self.run} is dead: nothing was heard of it for {clock(self.silent)}",
                hint="Run the same command again: what is finished is taken over. On Kubernetes: kubectl describe pod.",
            )
        return None

    def _listen(self, beat: Any) -> None:
        """Measure the silence of the driver: at the first look by the store's clock, then by our own."""
        infos = [self._output.head(run_paths.folder(self.run) + each) for each in ("progress.json", "run.json")]
        sign = max((each.modified for each in (*infos, beat) if each is not None), default=None)
        sign = screens.begun(self._output, self.run) if sign is None else sign
        if sign != self._sign:
            first = self._sign is None
            self._sign = sign
            ago = self._output.now().timestamp() - float(sign or 0.0) if first and sign is not None else 0.0
            self._heard = self._clock() - max(0.0, ago)
        self.silent = self._clock() - self._heard


def line(watched: Watched) -> str:
    """The state in one line."""
    state = watched.state
    if state is None:
        return f"run {watched.run}: {watched.phase}"
    rate = "" if state.rate is None else f", {pace(state.rate)}/s"
    said = f"run {watched.run}: {watched.phase}, {state.done:,} of {state.to_train:,}{rate}, eta {clock(state.eta)}"
    said += "".join(f", {number:,} × {reason}" for reason, number in state.reasons.items())
    said += f", {state.failed:,} failed" if state.failed and not state.reasons else ""
    if state.slowest is not None and state.slowest_seconds >= 10:
        said += f", longest in {state.slowest!r}: {clock(state.slowest_seconds)}"
    return said


def screen(watched: Watched) -> Group:
    """The state for a terminal: bar, rate, failures, the slowest fit."""
    state = watched.state
    head = Text.assemble(("run ", "dim"), watched.run, ("  " + watched.phase, "bold"))
    if state is None:
        return Group(head)
    table = Table.grid(padding=(0, 2))
    rate = "–" if state.rate is None else f"{pace(state.rate)}/s"
    table.add_row(
        ProgressBar(total=max(state.to_train, 1), completed=state.done, width=40),
        f"{state.done:,} of {state.to_train:,}",
        rate,
        f"eta {clock(state.eta)}",
    )
    parts: list[Any] = [head, table]
    if state.phase in ("training", "scoring") and state.executors == 0:
        parts.append(Text("no executor yet: `kubectl get pods -l spark-role=executor`", "yellow"))
    for reason, number in state.reasons.items():
        parts.append(Text.assemble((f"  {number:,} × ", "red"), (reason or "failed", "red")))
    late = state.failed - sum(state.reasons.values())
    if late > 0:
        parts.append(Text(f"  {counted(late, 'failure')} more, not read yet", "red"))
    if state.slowest is not None and state.slowest_seconds >= 2:
        parts.append(Text.assemble(("  longest: ", "dim"), state.slowest, (f", {clock(state.slowest_seconds)}", "dim")))
    if watched.silent > 30:
        parts.append(Text(f"  nothing heard for {clock(watched.silent)}", "yellow"))
    return Group(*parts)
