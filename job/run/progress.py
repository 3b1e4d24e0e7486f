"""Progress of a run: rate and ETA, a bar on a terminal, log lines elsewhere, and a file that others can read."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from job import run_paths
from job.errors import StoreError
from job.run import notice
from job.run.running import Running
from job.run.seen import Seen
from job.words import TRAINING, Wording, clock, pace
from job.worker import segment

if TYPE_CHECKING:
    from job.store import Store

log = logging.getLogger(__name__)

LOOK_EVERY = 2.0
WRITE_EVERY = 2.0
LOG_EVERY = 15.0


@dataclass(frozen=True, kw_only=True)
class State:
    """The content of ``progress.json``."""

    run: str
    phase: str
    """planning, training (or scoring), publishing or done"""
    planned: int = 0
    to_train: int = 0
    done: int = 0
    failed: int = 0
    started_at: float = 0.0
    """begin of the run, in seconds since the epoch"""
    updated_at: float = 0.0
    rate: float | None = None
    """partitions per second over the last minute"""
    eta: float | None = None
    """estimated seconds until all keys are trained or scored; None: not known yet"""
    executors: int | None = None
    """number of processes at work, at the last look; None: unknown, or the driver itself does the work"""
    reasons: Mapping[str, int] = field(default_factory=dict)
    """number of failures so far for each reason; may lag behind ``failed``"""
    kind: str = "train"
    """``train`` or ``score``"""
    slowest: str | None = None
    """the key that has been worked on longest; None: unknown"""
    slowest_seconds: float = 0.0
    """seconds for which it has been worked on, at least"""

    def to_json(self) -> bytes:
        """JSON for `from_json`."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, data: bytes) -> State:
        """Read a written state. Fields that only a newer version knows are ignored."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in json.loads(data).items() if name in known})


def rate_and_eta(seen: list[tuple[float, int]], to_train: int) -> tuple[float | None, float | None]:
    """Compute the rate and the ETA from pairs of time and number of finished keys.

    Returns
    -------
    tuple
        Partitions per second over the last minute, and seconds until ``to_train`` are done; None where unknown.
    """
    if len(seen) < 2:
        return None, None
    now, done = seen[-1]
    begin, first = next((pair for pair in seen if now - pair[0] <= 60), seen[0])
    if done <= first or now <= begin:
        return None, None
    rate = (done - first) / (now - begin)
    return rate, max(0, to_train - done) / rate


class Tracker:
    """Follows a run by listing its segments.

    Parameters
    ----------
    output
        The output store.
    run, plan
        Ids of the run and of its plan: their segments are counted.
    planned, to_train
        Numbers of keys.
    executors
        Returns the number of processes at work; see `State`.
    seen
        Counts the outcomes in the segments; default: one that counts only the reasons of failures.
    told
        Called with each state that is written.
    wording
        The words of the messages: for training or for scoring.
    """

    def __init__(
        self,
        output: Store,
        *,
        run: str,
        plan: str,
        planned: int,
        to_train: int,
        executors: Callable[[], int | None] = lambda: None,
        seen: Seen | None = None,
        told: Callable[[State], None] | None = None,
        wording: Wording = TRAINING,
    ) -> None:
        self._wording = wording
        self._output, self._run, self._plan = output, run, plan
        self._planned, self._to_train = planned, to_train
        self._executors, self._told = executors, told
        self._seen_outcomes = Seen(output) if seen is None else seen
        self.running: Running | None = None
        """tells which key has been worked on longest; None until the tasks are known"""
        self._others = notice.Others(output, run)
        self._started = time.time()
        self._seen: list[tuple[float, int]] = [(time.monotonic(), 0)]
        self._failed = 0
        self._looked = self._written = 0.0
        self._logged = time.monotonic()
        self._bar: Progress | None = None
        self._task = TaskID(0)
        if sys.stderr.isatty():
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn(wording.going),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeElapsedColumn(),
                TextColumn("eta {task.fields[eta]}"),
                TextColumn("[red]{task.fields[failed]}"),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task(wording.verb, total=to_train, rate="", eta="–", failed="")
            self._bar.start()

    @property
    def done(self) -> int:
        """Number of outcomes counted so far."""
        return self._seen[-1][1]

    def tick(self) -> None:
        """List the segments, show the progress and write it, each when it is due. A storage failure only warns."""
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY:
            return
        self._looked = now
        try:
            names = self._output.list(run_paths.segments(self._run, self._plan))["name"].to_pylist()
            self._note(segment.progress(names))
            if self.running is not None:
                self.running.note(segment.by_task(names), now)
            self._seen_outcomes.look(names)
            if now - self._written >= WRITE_EVERY:
                self._written = now
                self.write(self._wording.going)
            self._others.look()
        except StoreError as error:
            log.warning("progress could not be read or written: %s", error.message)

    def _note(self, progress: segment.Progress) -> None:
        now = time.monotonic()
        if not self.done:
            # Until the first outcome Spark may still be starting; this time must not count for the rate.
            self._seen.clear()
        self._seen.append((now, min(progress.done, self._to_train)))
        self._failed = progress.failed
        rate, eta = rate_and_eta(self._seen, self._to_train)
        if self._bar is not None:
            self._bar.update(
                self._task,
                completed=self.done,
                rate="" if rate is None else f"{pace(rate)}/s",
                eta=clock(eta),
                failed=f"{self._failed} failed" if self._failed else "",
            )
        elif now - self._logged >= LOG_EVERY:
            self._logged = now
            log.info(
                "%s %d of %d, %s %s/s, eta %s, %d failed",
                self._wording.done,
                self.done,
                self._to_train,
                "–" if rate is None else pace(rate),
                self._wording.things,
                clock(eta),
                self._failed,
                extra={"event": "progress", "run": self._run, "done": self.done, "to_train": self._to_train},
            )

    def write(self, phase: str) -> None:
        """Put ``progress.json``."""
        rate, eta = rate_and_eta(self._seen, self._to_train)
        busy = self.running if phase == self._wording.going else None
        slowest = busy.slowest(time.monotonic()) if busy is not None else None
        state = State(
            run=self._run,
            phase=phase,
            planned=self._planned,
            to_train=self._to_train,
            done=self.done,
            failed=self._failed,
            started_at=self._started,
            updated_at=time.time(),
            rate=rate,
            eta=eta,
            executors=self._executors(),
            kind=self._wording.verb,
            reasons=dict(self._seen_outcomes.reasons.most_common()),
            slowest=slowest[0] if slowest else None,
            slowest_seconds=round(slowest[1], 1) if slowest else 0.0,
        )
        self._output.put(run_paths.progress(self._run), state.to_json())
        if self._told is not None:
            self._told(state)

    def close(self) -> None:
        """Remove the progress bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
