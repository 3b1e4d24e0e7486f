"""A random schedule: several drivers of one job in one process, one step at a time, in an order that a seed decides.

Each driver is a thread, and only the one that holds the baton runs (tests/chaos/baton.py). Every operation on a store,
every look at the table and every commit passes the baton on. Meanwhile data sets change, go back, break and go, and tasks
that are long replaced finish late; or, in every third schedule, a ``gc`` that keeps one version and hardly waits comes again
and again. What the drivers do, and what must be true of it, is told by the kind of the schedule
(tests/chaos/training_schedule.py, tests/chaos/scoring_schedule.py).
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from deltalake.exceptions import DeltaError

from job.engine import Engine as AnyEngine
from job.engine import EngineReport
from job.engine.inline import InlineEngine
from job.errors import DamageError, InputError, ManyfitError, OutputError, StoreError
from job.registry import data_file, index
from job.registry.delta_log import Table
from job.run import notice, retention, run_files
from job.run import run as runs
from job.run.report import RunReport
from job.store import Store, folder, open_store
from job.worker import segment
from job.worker.direct import work_on
from job.worker.work import Work, summary_row
from tests.chaos.baton import Baton, Faults, Scheduled, here
from tests.chaos.cooperative import Opened, cooperative
from tests.chaos.dying import Died

UNITS = 8
BROKEN = b"not gzip"


class Engine(InlineEngine):
    """Several tasks; each is tried again, and now and then one is still at work when all is over."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def cores(self) -> int:
        return 3

    def run(self, work: Work, tasks: int, tick: Callable[[], None]) -> EngineReport:
        rows = []
        for task in range(tasks):
            for number in range(3):
                try:
                    rows.append(summary_row(work_on(work, task, number, expendable=False)))
                    break
                except (StoreError, InputError):
                    if number == 2:
                        raise
            if self.schedule.twins and self.schedule.random.random() < self.schedule.twins:
                # Speculation: the other attempt has been at work for as long, and one of both counts.
                self.schedule.zombies.append(lambda task=task: work_on(work, task, 1, expendable=False))
            if not self.schedule.cleaned and self.schedule.random.random() < 0.15:
                self.schedule.zombies.append(lambda task=task: work_on(work, task, 3, expendable=False))
        return EngineReport(summaries=tuple(rows))


def body(slope: float) -> bytes:
    """A data set whose model has this slope."""
    return compressed("x,y\n" + "".join(f"{n},{slope * n}\n" for n in range(6)))


def compressed(text: str) -> bytes:
    """Equal texts give equal bytes."""
    return gzip.compress(text.encode(), mtime=0)


def cleaned(seed: int) -> bool:
    """Whether a gc comes by in the schedule of a seed."""
    return random.Random(f"gc {seed}").random() < 1 / 3


class Schedule:
    """One world and what happens in it.

    Parameters
    ----------
    folder
        Empty, best in memory.
    seed
        Decides everything.
    """

    twins = 0.0
    """how often a task is done twice, as by speculation"""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.random = random.Random(seed)
        self.baton = Baton(self.random)
        self.rate = self.random.uniform(0.05, 0.30)
        self.faults = Faults(self.random, rate=self.rate, deadly=self.random.choice([0.0, 0.01, 0.03]))
        self.drivers = self.random.randint(2, 4)
        self.resolution = self.random.choice([1, 1000, 1_000_000])
        """of the store's clock, in microseconds; S3 tells whole seconds"""
        self.ticks = 0
        self.cleaned = cleaned(seed)
        """a gc comes by; then no replaced task finishes late: only a margin of hours is proof against those"""
        self.cleanings = 0
        self.zombies: list[Callable[[], object]] = []
        self.slope_of: dict[str, float | None] = {}
        """SHA-256 of the bytes, and the data's fingerprint, to the slope"""
        self.written: dict[str, list[tuple[bytes, int]]] = {}
        self.faces = self.random.choice([2, 2, 1000])
        """of a data set: with two, it goes back to what it was again and again, under new ETags"""
        self.published = self.random.random() < 0.7
        """whether there is a release when the drivers begin"""
        self.releases = 0
        self.read = 0
        """models that were loaded and asked, or predictions that were compared"""
        self.problems: list[str] = []
        self.finished = 0

    # -- what the kinds differ in

    def body(self, slope: float) -> bytes:
        """A data set that is told from others by this number."""
        return body(slope)

    def run(self, run_id: str | None, make_engine: Callable[[Any], AnyEngine]) -> RunReport:
        """One run of the job."""
        raise NotImplementedError

    def prepare(self) -> None:
        """What is there before the first run, beside its data."""

    def stored(self, name: str) -> None:
        """An object was created; nobody else has gone on since."""

    def look(self) -> None:
        """Audit what is there, bytes and all."""
        raise NotImplementedError

    def ended(self, slopes: dict[str, float]) -> None:
        """Audit what is there at the end: without faults, a run or two bring everything to what the data is.

        Parameters
        ----------
        slopes
            Of the data of each key.
        """
        raise NotImplementedError

    # -- the world

    def clock(self) -> datetime:
        """Goes on a little with each look."""
        self.ticks += 50_000
        return self.moment()

    def moment(self) -> datetime:
        """What the clock says."""
        micros = (self.ticks + self.baton.steps * 20_000) // self.resolution * self.resolution
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)

    def write(self, key: str, data: bytes, slope: float | None, *, moment: int | None = None) -> None:
        """Replace a data set, whole; ``moment``: as it was before, its ETag included."""
        path = self.folder / "in" / f"{key}.csv.gz"
        moment = moment or 1_000_000_000 + len(self.slope_of) * 1000 + 1
        temporary = self.folder / "new"
        temporary.write_bytes(data)
        os.utime(temporary, ns=(moment, moment))
        os.replace(temporary, path)
        self.written.setdefault(key, []).append((data, moment))
        name, size, etag = path.name, len(data), f"{moment:x}-{len(data):x}"
        fingerprint = hashlib.sha256(f"{len(name)}:{name}\0{size}\0{etag}\n".encode()).hexdigest()
        self.slope_of[fingerprint] = self.slope_of[hashlib.sha256(data).hexdigest()] = slope

    def slope(self, key: str, face: int | None = None) -> float:
        """What the data of a key may be."""
        return float(1 + int(key[1:]) * 1000 + (self.random.randrange(self.faces) if face is None else face))

    def change(self) -> None:
        """Something happens to the data."""
        key = f"k{self.random.randrange(3 if self.random.random() < 0.7 else UNITS + 1)}"
        what = self.random.random()
        if what < 0.45 or key not in self.written:
            slope = self.slope(key)
            self.write(key, self.body(slope), slope)
        elif what < 0.75:
            data, moment = self.random.choice(self.written[key])
            same = self.random.random() < 0.5
            self.write(key, data, self.slope_of[hashlib.sha256(data).hexdigest()], moment=moment if same else None)
        elif what < 0.85:
            self.write(key, BROKEN + bytes([self.random.randrange(256)]), None)
        else:
            (self.folder / "in" / f"{key}.csv.gz").unlink(missing_ok=True)

    def burst(self) -> None:
        """Several things happen to the data: any, or some data sets go to and fro between what they were and are."""
        if self.faces > 2 or self.random.random() < 0.4:
            for _ in range(self.random.randint(1, 4)):
                self.change()
            return
        for key in ("k0", "k1", "k2"):
            if self.random.random() < 0.7:
                last = self.slope_of[hashlib.sha256(self.written[key][-1][0]).hexdigest()]
                slope = self.slope(key, 1 if last == self.slope(key, 0) else 0)
                self.write(key, self.body(slope), slope)

    def scheduled(self, store: Store) -> Store:
        """A store whose operations are steps from now on."""
        store.__class__ = Scheduled
        store.faults = self.faults  # type: ignore[attr-defined]
        store.clock, store.stamp, store.stored = self.clock, self.moment, self.stored  # type: ignore[attr-defined]
        return store

    # -- who acts

    def driver(self, number: int) -> None:
        """A driver, and whoever starts it again."""
        name = here.name
        # Sometimes the operator's retry: the same run again; sometimes two at once.
        fixed = self.random.choice([None, None, f"fixed-{number}", "fixed"])
        for life in range(4):
            # What has begun before this one may be about to publish when it looks.
            if not self.cleaned and self.random.random() < 0.5:
                self.baton.stall()
            self.faults.dead.discard(name)
            if self.cleaned:
                # Long enough now and then for no run to be at work, or gc would remove nothing.
                for _ in range(self.random.randrange(400)):
                    self.baton.step()
            try:
                self.run(fixed, lambda _: Engine(self))
                self.finished += 1
                if self.random.random() < 0.4:
                    return
                fixed = None
            except Died:
                pass
            except ManyfitError as error:
                if error.exit_code not in (4, 5):
                    self.problems.append(f"driver {number}, life {life}: {type(error).__name__}: {error.message}")
        self.faults.dead.discard(name)

    def others(self) -> None:
        """The data changes; long replaced tasks finish."""
        bursts, chance = self.random.randint(3, 20), self.random.choice([0.02, 0.06, 0.2])
        while any(name.startswith("driver") for name in self.baton.alive) or self.zombies:
            self.baton.step()
            if bursts and self.random.random() < chance:
                bursts -= 1
                self.burst()
            if self.zombies and self.random.random() < 0.05:
                with contextlib.suppress(ManyfitError, Died):
                    self.zombies.pop(0)()

    def gc(self) -> None:
        """Removes what it can, again and again; dies, and is started again."""
        while any(name.startswith("driver") for name in self.baton.alive):
            self.baton.step()
            if self.random.random() > 0.05:
                continue
            self.faults.dead.discard("gc")
            try:
                output = self.scheduled(open_store(str(self.folder / "out")))
                done = retention.gc(output, keep=1, margin=0.2, dry_run=False)
                self.cleanings += done.models + done.parts > 0
            except DamageError as error:
                self.problems.append(f"gc: {error.message}")
            except (ManyfitError, DeltaError, Died):
                pass
            self.faults.dead.discard("gc")
            if self.releases:
                self.look()

    def tarry(self) -> None:
        """Between what a run has seen and its release lies time in which the data goes on and others publish.

        Not where a gc comes by that hardly waits: only a margin of hours is proof against those who stand still.
        """
        if hasattr(here, "baton") and not self.cleaned and self.random.random() < 0.5:
            self.burst()
            self.baton.stall()

    def pause(self, seconds: float) -> None:
        """Time goes by for whoever waits."""
        self.ticks += 200_000
        if hasattr(here, "baton"):
            here.baton.step()

    def play(self) -> None:
        """All of it."""
        (self.folder / "in").mkdir()
        (self.folder / "out").mkdir()
        for number in range(UNITS):
            slope = self.slope(f"k{number}")
            self.write(f"k{number}", self.body(slope), slope)
        with cooperative() as patch:
            self._patch(patch)
            self.prepare()
            if self.published:
                self.run(None, lambda _: InlineEngine())
                self.burst()
            actors: dict[str, Callable[[], None]] = {
                f"driver {number}": lambda number=number: self.driver(number) for number in range(self.drivers)
            }
            if self.cleaned:
                actors["gc"] = self.gc
            self.baton.start({**actors, "others": self.others})
            self._heal()

    def _heal(self) -> None:
        for path in (self.folder / "in").iterdir():
            if path.read_bytes().startswith(BROKEN):
                path.unlink()
        self.ticks += 10_000_000
        for _ in range(3):
            report = self.run(None, lambda _: InlineEngine())
            if report.totals.trained + report.totals.scored == 0:
                break
            self.ticks += 10_000_000
        else:
            self.problems.append("three runs without faults do not come to rest")
        slopes = {
            path.name.removesuffix(".csv.gz"): self.slope_of[hashlib.sha256(path.read_bytes()).hexdigest()]
            for path in (self.folder / "in").iterdir()
        }
        self.ended({key: slope for key, slope in slopes.items() if slope is not None})

    def _patch(self, patch: pytest.MonkeyPatch) -> None:
        merge, table_open = index.merge, Opened(Table.open).open
        names = random.Random(self.seed)

        def merged(*arguments: Any) -> Any:
            if getattr(here, "looking", False):
                return merge(*arguments)
            self.tarry()

            def commit() -> None:
                merge(*arguments)
                self.releases += 1
                self.look()

            return self.faults.around(commit, again=lambda: DeltaError("injected"))

        def opened(table: Table, at: int | None = None) -> Any:
            if getattr(here, "looking", False):
                return table_open(table, at)
            return (
                self.faults.around(lambda: table_open(table, at), again=lambda: OutputError("injected"))
                if self.random.random() < 0.3
                else table_open(table, at)
            )

        # A data set can be again as it was, its ETag included, which a file system's own time of change does not allow.
        patch.setattr(folder, "_etag", lambda status: f"{status.st_mtime_ns:x}-{status.st_size:x}")
        patch.setattr(notice, "time", SimpleNamespace(sleep=self.pause))
        patch.setattr(notice, "LEASE", 4.0)
        patch.setattr(notice, "_SLICE", 1)
        # By the machine's clock, which the commits have, every version is young.
        patch.setattr(retention, "_kept", lambda history, keep, before: {each.version for each in history[:1]})
        patch.setattr(index, "merge", merged)
        patch.setattr(Table, "open", opened)
        named = SimpleNamespace(uuid4=lambda: SimpleNamespace(hex=f"{names.getrandbits(128):032x}"))
        for module in (runs, run_files, segment, notice, data_file):
            patch.setattr(module, "uuid", named)
        # Runs are named by the second in which they begin: by the machine's clock, they would be listed in another order.
        for module in (runs, run_files):
            patch.setattr(module, "datetime", SimpleNamespace(now=lambda zone: self.clock()))
