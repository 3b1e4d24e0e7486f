"""A gc and a run that begins meanwhile: each interleaving with one change of turns, deaths and long pauses included.

Both are real, on one folder whose every operation is a step. A model lies there that only an abandoned run names, and
the data is such that the run makes exactly that model again: what gc removes at the wrong moment, the set lacks.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from job.config.settings import JobSettings
from job.engine import EngineReport
from job.engine.inline import InlineEngine
from job.errors import DamageError
from job.registry.model_set import ModelSet
from job.registry.verify import verify
from job.run import notice, retention
from job.run.assembly import Assembly, assemble
from job.run.past_runs import Runs
from job.run.run import run
from job.store import open_store
from job.store.folder import FolderStore
from job.worker.work import Work
from tests.chaos.baton import Baton, Scheduled, here
from tests.chaos.cooperative import cooperative
from tests.chaos.dying import Died
from tests.chaos.schedule import body
from tests.support.published import slope

DAY = 86400.0
MOST = 200
"""More steps than either of the two makes."""
PARTS = 3
TODAY = int(os.environ.get("CHAOS_SEED", time.strftime("%Y%j"))) % PARTS
"""``make test`` plays a part of the interleavings, another from day to day; ``make chaos`` plays all."""


class Dies(InlineEngine):
    """All is trained, and the driver is gone."""

    def run(self, work: Work, tasks: int, tick: Callable[[], None]) -> EngineReport:
        super().run(work, tasks, tick)
        raise Died


def job(given: Path, out: Path, run_id: str) -> Assembly:
    document = {
        "input": {"uri": str(given)},
        "recipe": {
            "features": ["x"],
            "target": "y",
            "estimator": {"_target_": "sklearn.linear_model.LinearRegression"},
        },
        "output": {"uri": str(out), "report": "short"},
        "run": {"id": run_id},
        "spark": {"master": "inline"},
    }
    return assemble(JobSettings.model_validate(document))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1 has another model of ``a``; the run ``nightly`` made the one of today's data, and died long ago."""
    folder = tmp_path_factory.mktemp("begun")
    (folder / "in").mkdir()
    (folder / "in" / "a.csv.gz").write_bytes(body(5.0))
    (folder / "in" / "b.csv.gz").write_bytes(body(2.0))
    run(job(folder / "in", folder / "out", "first"), {}, make_engine=lambda _: InlineEngine())
    (folder / "in" / "a.csv.gz").write_bytes(body(1.0))
    with pytest.raises(Died):
        run(job(folder / "in", folder / "out", "nightly"), {}, make_engine=lambda _: Dies())
    record = folder / "out" / "runs" / "nightly" / "run.json"
    long_ago = (datetime.now(UTC) - timedelta(days=30)).isoformat()
    record.write_text(json.dumps(json.loads(record.read_text()) | {"started_at": long_ago}))
    then = time.time() - 30 * DAY
    for path in (folder / "out").rglob("*"):
        os.utime(path, (then, then))
    return folder


@dataclass
class Script:
    """Whose turn it is: one for so many steps, then the other for as long as it can go on, then in turns."""

    turns: list[list[Any]]
    last: str = ""

    def choice(self, alive: list[str]) -> str:
        while self.turns and (self.turns[0][0] not in alive or not self.turns[0][1]):
            self.turns.pop(0)
        if self.turns:
            self.turns[0][1] -= 1
            return str(self.turns[0][0])
        self.last = next((name for name in alive if name != self.last), alive[0])
        return self.last

    def give_way(self) -> None:
        """Whoever waits lets the other go on."""
        if self.turns:
            self.turns[0][1] = 0


@dataclass
class World:
    """One output, a gc and a run."""

    given: Path
    out: Path
    late: float = 0.0
    """what a pause has added to the clock"""
    steps: dict[str, int] = field(default_factory=dict)
    pause_at: int | None = None
    """gc stands still before this step of its own for longer than anyone waits for it"""
    die_at: int | None = None
    """gc dies before this step of its own"""
    died: bool = False
    paused_in: str | None = None
    """the operation that the pause came before"""
    report: retention.Report | None = None

    def clock(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.late)

    def around(self, do: Callable[[], Any], *, what: str = "", **_: Any) -> Any:
        name = getattr(here, "name", None)
        if name is None:
            return do()
        at = self.steps.setdefault(name, 0)
        if name == "gc" and at == self.pause_at:
            self.late += 1.5 * notice.LEASE
            self.paused_in = what
        here.baton.step()
        self.steps[name] += 1
        if name == "gc" and at == self.die_at:
            raise Died
        return do()

    def wait(self, seconds: float) -> None:
        """Time goes by for whoever waits."""
        self.late += 30.0
        here.baton.random.give_way()
        here.baton.step()

    def store(self, made: Any) -> Any:
        made.__class__ = Stamped
        made.faults, made.clock = self, self.clock
        return made

    def play(self, turns: list[list[Any]], run_id: str) -> World:
        out = self.store(open_store(str(self.out)))
        made = job(self.given, self.out, run_id)
        for each in (made.output, made.index.store, made.index._table._store):
            self.store(each)

        def clean() -> None:
            try:
                self.report = retention.gc(out, keep=1, dry_run=False)
            except Died:
                self.died = True
            except DamageError:
                pass  # it has seen what `problems` finds

        def train() -> None:
            assert run(made, {}, make_engine=lambda _: InlineEngine()).exit_code == 0

        Baton(Script(turns)).start({"gc": clean, "run": train})  # type: ignore[arg-type]
        return self

    def problems(self) -> list[str]:
        """Of the published set."""
        uri = str(self.out)
        damaged = [f"{key}: {what}" for key, what in verify(open_store(uri)).damaged]
        if damaged:
            return damaged
        models = ModelSet.open(uri)
        found = {key: slope(models[key]) for key in models}
        return [] if found == {"a": 1.0, "b": 2.0} else [f"the set is {found}"]


class Stamped(Scheduled):
    """Objects have the time of the world's clock."""

    def create(self, name: str, data: bytes) -> bool:
        return bool(self.faults.around(lambda: self._stamped(name, FolderStore.create(self, name, data))))

    def put(self, name: str, data: bytes) -> None:
        self.faults.around(lambda: self._stamped(name, FolderStore.put(self, name, data)))

    def delete(self, names: Iterable[str]) -> int:
        names = list(names)
        world: Any = self.faults
        what = "removal" if any(name.startswith(("models/", "runs/")) for name in names) else ""
        return int(world.around(lambda: FolderStore.delete(self, names), what=what))

    def _stamped(self, name: str, made: Any) -> Any:
        if made is not False:  # what was there already keeps its age
            now = self.clock().timestamp()
            os.utime(Path(self.uri.removeprefix("file://")) / name, (now, now))
        return made


@pytest.fixture
def play(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., World]]:
    numbers = iter(range(10_000))

    def one(turns: list[list[Any]], run_id: str = "tonight", **how: int) -> World:
        out = tmp_path / str(next(numbers))
        shutil.copytree(begun / "out", out)  # with the times of its files
        made = World(begun / "in", out, **how)
        monkeypatch.setattr(notice, "time", SimpleNamespace(sleep=made.wait))
        return made.play(turns, run_id)

    with cooperative() as patch:
        patch.setattr(notice, "_SLICE", 1)
        yield one


def every(play: Callable[..., World], first: str, run_id: str, begin: int = 0, stride: int = 1) -> list[World]:
    """``first`` makes 0, 1, 2 … steps, or those of a part; then the other goes on for as long as it can."""
    other = "run" if first == "gc" else "gc"
    worlds = []
    for count in range(begin, MOST, stride):
        worlds.append(play([[first, count], [other, MOST * 10]], run_id))
        if worlds[-1].steps[first] < count:
            return worlds
    raise AssertionError("it does not come to an end")


@pytest.mark.parametrize(
    "part", [pytest.param(each, marks=pytest.mark.chaos if each != TODAY else ()) for each in range(PARTS)]
)
@pytest.mark.parametrize("run_id", ["tonight", pytest.param("nightly", marks=pytest.mark.chaos)])
@pytest.mark.parametrize("first", ["gc", "run"])
def test_whenever_the_other_comes_in_between_the_set_has_every_model(
    play: Callable[..., World], first: str, run_id: str, part: int
) -> None:
    worlds = every(play, first, run_id, part, PARTS)

    assert [(number, world.problems()) for number, world in enumerate(worlds) if world.problems()] == []
    reports = [world.report for world in worlds if world.report is not None]
    assert {report.models for report in reports} == {0, 1}, "sometimes gc has its way, sometimes the run"
    assert (run_id,) in {report.blocked_by for report in reports if not report.models}


@pytest.mark.chaos
def test_a_gc_that_dies_at_any_moment_keeps_no_run_waiting_for_longer_than_its_notice_is_heeded(
    play: Callable[..., World],
) -> None:
    waited = set()
    for at in range(MOST):
        world = play([["gc", at + 1], ["run", MOST * 10]], die_at=at)
        assert world.problems() == [], at
        assert world.late <= notice.LEASE + 60
        waited.add(world.late > notice.LEASE - 60)
        if not world.died:
            break

    assert waited == {True, False}


@pytest.mark.chaos
def test_a_gc_that_stood_still_until_a_run_took_it_for_dead_removes_nothing_more(play: Callable[..., World]) -> None:
    removed, lost = set(), set()
    for at in range(MOST):
        world = play([["gc", at + 1], ["run", MOST * 10]], pause_at=at)
        if world.paused_in is None:
            break
        if world.problems():
            lost.add(world.paused_in)
        if world.report is not None:
            removed.add(world.report.models)

    # The one place that is left: between the last look at the clock and the very request that it allowed.
    assert lost <= {"removal"}
    assert removed == {0, 1}


@pytest.mark.chaos
@pytest.mark.parametrize("broken", ["the run does not wait", "gc does not look again"])
def test_without_either_half_of_the_agreement_a_model_is_lost(
    play: Callable[..., World], monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    if broken == "the run does not wait":
        monkeypatch.setattr(notice, "_working", lambda store: [])
    else:

        class Blind(Runs):
            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments)
                self.alive = ()

            def changed(self, before: Runs) -> tuple[str, ...]:
                return ()

        monkeypatch.setattr(retention, "Runs", Blind)

    worlds = [world for first in ("gc", "run") for world in every(play, first, "tonight")]

    assert any(world.problems() for world in worlds)
