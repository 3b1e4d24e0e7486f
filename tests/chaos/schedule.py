"""Random schedules: several drivers of one job in one process, one step at a time, in an order that a seed decides.

Each driver is a thread, and only the one that holds the baton runs. Every operation on a store, every look at the table
and every commit passes the baton on, to whom the seed says; and may fail before or after it was carried out, or be the
last one of its driver. Meanwhile data sets change, go back, break and go, and tasks that are long replaced finish late;
or, in every third schedule, a ``gc`` that keeps one version and hardly waits comes again and again. Each release is
audited in the moment in which it appears, and the set after each gc.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import random
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from deltalake.exceptions import DeltaError

from job import admission, attempt, data_file, delta, handout, index, notice, record, retention, segment, worker
from job import run as runs
from job.assembly import Assembly, assemble
from job.delta import Table
from job.engine import EngineReport
from job.engine.inline import InlineEngine
from job.errors import DamageError, InputError, ManyfitError, OutputError, StoreError, UnreachableError
from job.fit import fit
from job.run import run
from job.settings import JobSettings
from job.store.folder import FolderStore
from job.work import Work, summary_row
from job.worker import work_on
from tests.chaos.audit import audit
from tests.chaos.dying import Died

UNITS = 8
TRIES = 4
"""of one operation: what a client's own retries are"""
BROKEN = b"not gzip"

_here = threading.local()


class Baton:
    """Who may run."""

    def __init__(self, random_: random.Random) -> None:
        self.random = random_
        self.alive: list[str] = []
        self.gates: dict[str, threading.Semaphore] = {}
        self.ended = threading.Event()
        self.steps = 0

    def start(self, actors: dict[str, Callable[[], None]]) -> None:
        """Run all actors to their ends."""
        errors: list[BaseException] = []

        def act(name: str, body: Callable[[], None]) -> None:
            _here.name, _here.baton = name, self
            self.gates[name].acquire()
            try:
                body()
            except BaseException as error:
                errors.append(error)
            finally:
                self.alive.remove(name)
                self._hand_on(None)

        self.alive = list(actors)
        self.gates = {name: threading.Semaphore(0) for name in actors}
        threads = [threading.Thread(target=act, args=item, daemon=True) for item in actors.items()]
        for thread in threads:
            thread.start()
        self._hand_on(None)
        if not self.ended.wait(120):
            raise AssertionError("the schedule stands still")
        for thread in threads:
            thread.join(10)
        if errors:
            raise errors[0]

    def step(self) -> None:
        """The running actor lets another one go on, or goes on itself."""
        self.steps += 1
        self._hand_on(_here.name)

    def _hand_on(self, me: str | None) -> None:
        if not self.alive:
            self.ended.set()
            return
        following = self.random.choice(self.alive)
        if following != me:
            self.gates[following].release()
            if me is not None:
                self.gates[me].acquire()


@dataclass
class Faults:
    """What goes wrong."""

    random: random.Random
    rate: float
    """of operations whose request or answer is lost"""
    deadly: float
    """of operations during which the driver dies"""
    dead: set[str] = field(default_factory=set)
    injected: int = 0
    deaths: int = 0

    def around(self, do: Callable[[], Any], *, again: Callable[[], Exception] | None = None) -> Any:
        """One operation, with faults and a client's retries; ``again`` makes the error for callers that retry themselves."""
        name = getattr(_here, "name", None)
        if name is None:
            return do()
        result = None
        for _ in range(1 if again else TRIES):
            if name in self.dead:
                raise Died(name)
            _here.baton.step()
            roll = self.random.random()
            if name.startswith(("driver", "gc")) and self.random.random() < self.deadly:
                self.deaths += 1
                self.dead.add(name)
                if self.random.random() < 0.5:
                    do()
                raise Died(name)
            if roll < self.rate / 2:
                self.injected += 1
                continue
            result = do()
            if roll >= self.rate:
                return result
            self.injected += 1
        raise again() if again else UnreachableError("injected")


class Scheduled(FolderStore):
    """A folder whose every operation is a step."""

    faults: Faults
    clock: Callable[[], datetime]
    stamp: Callable[[], datetime]

    def now(self) -> datetime:
        return self.clock()

    def list(self, prefix: str = "", **options: Any) -> Any:
        return self.faults.around(lambda: FolderStore.list(self, prefix, **options))

    def prefixes(self, prefix: str = "") -> Any:
        return self.faults.around(lambda: FolderStore.prefixes(self, prefix))

    def get(self, name: str, *, if_match: str | None = None) -> Any:
        return self.faults.around(lambda: FolderStore.get(self, name, if_match=if_match))

    def head(self, name: str) -> Any:
        return self.faults.around(lambda: FolderStore.head(self, name))

    def put(self, name: str, data: bytes) -> None:
        def once() -> None:
            FolderStore.put(self, name, data)
            self._stamp(name)

        self.faults.around(once)

    def delete(self, names: Iterable[str]) -> int:
        given = list(names)
        return int(self.faults.around(lambda: FolderStore.delete(self, given)))

    def create(self, name: str, data: bytes) -> bool:
        # As job.store.cloud does it: whoever finds the object there after a lost answer knows his own by its write id.
        mine = [False]

        def once() -> bool:
            if FolderStore.create(self, name, data):
                mine[0] = True
                self._stamp(name)
            return mine[0]

        return bool(self.faults.around(once))

    def _stamp(self, name: str) -> None:
        """An object is as old as the schedule's clock says."""
        now = self.stamp().timestamp()
        os.utime(Path(self.uri.removeprefix("file://")) / name, (now, now))


class Here:
    """A pool that runs everything at once, in the thread of whoever submits it."""

    def __init__(self, *_: object) -> None: ...

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, do: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(do(*arguments))
        except BaseException as error:
            future.set_exception(error)
        return future

    def map(self, do: Callable[..., Any], *lists: Any) -> Iterator[Any]:
        return (self.submit(do, *each).result() for each in zip(*lists, strict=False))


class Child:
    """A guarded child that is none: a process for each would be most of the time."""

    def __init__(self, fitting: Any, **_: object) -> None:
        self.fitting = fitting

    def fit(self, key: str, blobs: Any, columns: Any) -> Any:
        return fit(self.fitting, key, blobs, columns)

    def close(self) -> None: ...


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
            if not self.schedule.cleaned and self.schedule.random.random() < 0.15:
                self.schedule.zombies.append(lambda task=task: work_on(work, task, 3, expendable=False))
        return EngineReport(summaries=tuple(rows))


def body(slope: float) -> bytes:
    """A data set whose model has this slope."""
    return gzip.compress(("x,y\n" + "".join(f"{n},{slope * n}\n" for n in range(6))).encode(), mtime=0)


@contextlib.contextmanager
def cooperative() -> Iterator[pytest.MonkeyPatch]:
    """No threads but the actors, no pauses, no names by chance."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (record, handout, attempt, worker, segment, delta):
            patch.setattr(module, "ThreadPoolExecutor", Here)
        patch.setattr(attempt, "Child", Child)
        patch.setattr(attempt, "threadpool_limits", lambda *_: contextlib.nullcontext())
        patch.setattr(segment.SegmentWriter, "_tick", lambda self: None)
        patch.setattr(segment, "EVERY_OUTCOMES", 2)
        patch.setattr(admission, "admit", lambda *_, **__: None)
        patch.setattr(
            runs,
            "Tracker",
            lambda *_, **__: SimpleNamespace(write=lambda *_: None, tick=lambda: None, close=lambda: None),
        )
        patch.setattr(delta.time, "sleep", lambda seconds: _here.baton.step() if hasattr(_here, "baton") else None)
        yield patch


class Schedule:
    """One world and what happens in it.

    Parameters
    ----------
    folder
        Empty, best in memory.
    seed
        Decides everything.
    """

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
        self.cleaned = random.Random(f"gc {seed}").random() < 1 / 3
        """a gc comes by; then no replaced task finishes late: only a margin of hours is proof against those"""
        self.cleanings = 0
        self.zombies: list[Callable[[], object]] = []
        self.slope_of: dict[str, float | None] = {}
        """SHA-256 of the bytes, and the data's fingerprint, to the slope"""
        self.written: dict[str, list[tuple[bytes, int]]] = {}
        self.releases = 0
        self.problems: list[str] = []
        self.finished = 0

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

    def change(self) -> None:
        """Something happens to the data."""
        key = f"k{self.random.randrange(3 if self.random.random() < 0.7 else UNITS + 1)}"
        what = self.random.random()
        if what < 0.45 or key not in self.written:
            slope = float(self.random.randrange(1, 1000))
            self.write(key, body(slope), slope)
        elif what < 0.75:
            data, moment = self.random.choice(self.written[key])
            same = self.random.random() < 0.5
            self.write(key, data, self.slope_of[hashlib.sha256(data).hexdigest()], moment=moment if same else None)
        elif what < 0.85:
            self.write(key, BROKEN + bytes([self.random.randrange(256)]), None)
        else:
            (self.folder / "in" / f"{key}.csv.gz").unlink(missing_ok=True)

    def assembly(self, *, faulty: bool, run_id: str | None = None) -> Assembly:
        """The job."""
        document = {
            "input": {"uri": str(self.folder / "in")},
            "recipe": {
                "features": ["x"],
                "target": "y",
                "estimator": {"_target_": "sklearn.linear_model.LinearRegression"},
            },
            "output": {"uri": str(self.folder / "out")},
            "run": {"max_failed": "100%", **({"id": run_id} if run_id else {})},
            "spark": {"master": "inline"},
        }
        made = assemble(JobSettings.model_validate(document))
        for store in (made.input, made.output, made.index.store, made.index._table._store):
            store.__class__ = Scheduled
            store.faults = self.faults  # type: ignore[attr-defined]
            store.clock, store.stamp = self.clock, self.moment  # type: ignore[attr-defined]
        return made

    # -- who acts

    def driver(self, number: int) -> None:
        """A driver, and whoever starts it again."""
        name = _here.name
        # Sometimes the operator's retry: the same run again; sometimes two at once.
        fixed = self.random.choice([None, None, f"fixed-{number}", "fixed"])
        for life in range(3):
            self.faults.dead.discard(name)
            if self.cleaned:
                # Long enough now and then for no run to be at work, or gc would remove nothing.
                for _ in range(self.random.randrange(400)):
                    self.baton.step()
            try:
                run(self.assembly(faulty=True, run_id=fixed), {}, make_engine=lambda _: Engine(self))
                self.finished += 1
                if self.random.random() < 0.5:
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
        changes = self.random.randint(5, 30)
        while any(name.startswith("driver") for name in self.baton.alive) or self.zombies:
            self.baton.step()
            if changes and self.random.random() < 0.2:
                changes -= 1
                self.change()
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
                done = retention.gc(self.assembly(faulty=True).output, keep=1, margin=0.2, dry_run=False)
                self.cleanings += done.models > 0
            except DamageError as error:
                self.problems.append(f"gc: {error.message}")
            except (ManyfitError, DeltaError, Died):
                pass
            self.faults.dead.discard("gc")
            if self.releases:
                self.look()

    def pause(self, seconds: float) -> None:
        """Time goes by for whoever waits."""
        self.ticks += 200_000
        if hasattr(_here, "baton"):
            _here.baton.step()

    # -- what must hold

    def look(self, slopes: dict[str, float] | None = None) -> None:
        """Audit the current version, bytes and all."""
        out = self.folder / "out"
        objects = {
            path.relative_to(out).as_posix(): path.read_bytes()
            for part in ("index", "models")
            for path in (out / part).rglob("*")
            if path.is_file() and not path.name.startswith(".")
        }
        found = audit(objects, slopes if slopes is not None else {})
        self.problems += [f"version {found.versions}: {problem}" for problem in found.problems]
        for row in found.rows:
            key, slope = row["key"], found.slopes.get(row["key"])
            if row["digest"] is None or slope is None:
                continue
            for column in ("content", "data"):
                if column == "data" and row["state"] != "live":
                    continue
                made_of = self.slope_of.get(row[column], "nothing")
                if made_of != round(slope, 6):
                    self.problems.append(
                        f"version {found.versions}: {key} says by its {column} that it was made of {made_of}, and its model is {slope}"
                    )

    def play(self) -> None:
        """All of it."""
        (self.folder / "in").mkdir()
        (self.folder / "out").mkdir()
        for number in range(UNITS):
            slope = float(self.random.randrange(1, 1000))
            self.write(f"k{number}", body(slope), slope)
        with cooperative() as patch:
            self._patch(patch)
            actors: dict[str, Callable[[], None]] = {
                f"driver {number}": lambda number=number: self.driver(number) for number in range(self.drivers)
            }
            if self.cleaned:
                actors["gc"] = self.gc
            self.baton.start({**actors, "others": self.others})
            self._heal()

    def _patch(self, patch: pytest.MonkeyPatch) -> None:
        merge, table_open = index.merge, Table.open
        names = random.Random(self.seed)

        def merged(*arguments: Any) -> None:
            def commit() -> None:
                merge(*arguments)
                self.releases += 1
                self.look()

            self.faults.around(commit, again=lambda: DeltaError("injected"))

        def opened(table: Table, at: int | None = None) -> Any:
            return (
                self.faults.around(lambda: table_open(table, at), again=lambda: OutputError("injected"))
                if self.random.random() < 0.3
                else table_open(table, at)
            )

        patch.setattr(notice, "time", SimpleNamespace(sleep=self.pause))
        patch.setattr(notice, "LEASE", 4.0)
        patch.setattr(notice, "_SLICE", 1)
        # By the machine's clock, which the commits have, every version is young.
        patch.setattr(retention, "_kept", lambda history, keep, before: {each.version for each in history[:1]})
        patch.setattr(index, "merge", merged)
        patch.setattr(Table, "open", opened)
        named = SimpleNamespace(uuid4=lambda: SimpleNamespace(hex=f"{names.getrandbits(128):032x}"))
        for module in (runs, record, segment, notice, data_file):
            patch.setattr(module, "uuid", named)

    def _heal(self) -> None:
        """Without faults, the next run or two bring everything to what the data is; another one changes nothing."""
        for path in (self.folder / "in").iterdir():
            if path.read_bytes().startswith(BROKEN):
                path.unlink()
        self.ticks += 10_000_000
        for _ in range(3):
            report = run(self.assembly(faulty=False), {}, make_engine=lambda _: InlineEngine())
            if report.totals.trained == 0:
                break
            self.ticks += 10_000_000
        else:
            self.problems.append("three runs without faults do not come to rest")
        now = {
            path.name.removesuffix(".csv.gz"): self.slope_of[hashlib.sha256(path.read_bytes()).hexdigest()]
            for path in (self.folder / "in").iterdir()
        }
        self.look({key: slope for key, slope in now.items() if slope is not None})
