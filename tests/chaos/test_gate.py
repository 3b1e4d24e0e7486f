"""The gate under deaths, several drivers and broken rules: whatever happens, the same models win for the same reasons.

As in `tests.chaos.mutations`, each rule is also broken on purpose, and the check that is there for it must see it.
"""

from __future__ import annotations

import os
import pickle
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from job.config.settings import JobSettings
from job.engine import EngineReport
from job.engine.inline import InlineEngine
from job.errors import DeniedError, NotFoundError, OutputError, StoreError
from job.fit import artifact, contest
from job.fit.contest import Champion
from job.judge import gate
from job.keys import model_name
from job.registry import row as rows_of
from job.registry.index import Index
from job.registry.verify import verify
from job.run import promotion, retention
from job.run.assembly import IDENTITY, assemble
from job.run.report import RunReport
from job.run.run import run
from job.store import Store, open_store
from job.store.folder import FolderStore
from job.worker.work import Work
from tests.chaos.cells import KILL_POINTS
from tests.chaos.dying import Died, run_dying

Patch = pytest.MonkeyPatch
METRIC = "neg_mean_absolute_error"
LINEAR, MEAN = "sklearn.linear_model.LinearRegression", "sklearn.dummy.DummyRegressor"
KEYS = [f"k{number}" for number in range(6)]
DECIDED = [
    *("key", "state", "digest", "content", "recipe", "environment", "until", "judged_until", "challenger"),
    *("gate", "gate_champion", "gate_challenger", "gate_gain", "gate_rows", "gate_p", "gate_note"),
]
"""What the gate has decided, and what it will go by the next time."""


class Place:
    """Six keys, three with a trend: means of 100 days are live, and 142 days wait, which lines follow better there.

    Parameters
    ----------
    folder
        Where it is made.
    like
        Another place of which this is a copy; None: the means are trained.
    """

    def __init__(self, folder: Path, like: Place | None = None) -> None:
        self.folder = folder
        if like is not None:
            shutil.copytree(like.folder, folder)
            belongs = folder / "out" / IDENTITY
            belongs.write_text(belongs.read_text().replace(str(like.folder), str(folder)))
            return
        (folder / "in").mkdir(parents=True)
        self.night(100)
        assert self.run(MEAN).gate["first"] == len(KEYS)
        self.night(142)

    def night(self, days: int) -> None:
        """All data up to this day; the same days always give the same files."""
        for number, key in enumerate(KEYS):
            rng = np.random.default_rng(number)
            n = np.arange(300)
            y = (n / 10 if number < 3 else 0.0) + rng.normal(size=300)
            frame = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=300), "n": n, "y": y})[:days]
            path = self.folder / "in" / f"{key}.csv"
            path.write_text(frame.to_csv(index=False))
            os.utime(path, ns=(days * 10**9, days * 10**9))

    def settings(self, estimator: str = LINEAR, run_id: str | None = None, **promote: Any) -> JobSettings:
        validation = {"method": "backtest", "column": "day", "windows": 3, "horizon": 14}
        recipe = {"features": ["n"], "target": "y", "estimator": {"_target_": estimator}, "validation": validation}
        document = {
            "input": {"uri": str(self.folder / "in")},
            "recipe": recipe,
            "output": {"uri": str(self.folder / "out"), "report": "short"},
            "promote": {"metric": METRIC, **promote},
            "spark": {"master": "inline"},
            "run": {"id": run_id},
        }
        return JobSettings.model_validate(document)

    def run(self, estimator: str = LINEAR, engine: InlineEngine | None = None, **options: Any) -> RunReport:
        made = assemble(self.settings(estimator, **options))
        return run(made, {}, make_engine=lambda _: engine or InlineEngine())

    def dies(self, point: str, **options: Any) -> None:
        def die() -> None:
            raise Died(point)

        with pytest.raises(Died):
            run_dying(self.folder, point, die, job=self.settings(**options))

    @property
    def store(self) -> Store:
        return open_store(str(self.folder / "out"))

    def rows(self, columns: list[str] = DECIDED) -> list[dict[str, Any]]:
        return Index(self.store).read(columns=columns).sort_by("key").to_pylist()

    def row(self, key: str) -> dict[str, Any]:
        return next(each for each in self.rows() if each["key"] == key)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The place that tests copy: its means are trained once."""
    return Place(tmp_path_factory.mktemp("begun"))


@pytest.fixture
def place(tmp_path: Path, begun: Place) -> Place:
    return Place(tmp_path / "place", begun)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, begun: Place) -> list[dict[str, Any]]:
    """What is decided where nothing happens: three are promoted, three kept."""
    place = Place(tmp_path_factory.mktemp("undisturbed") / "place", begun)
    place.run()
    rows = place.rows()
    assert [each["gate"] for each in rows] == ["promoted"] * 3 + ["kept"] * 3
    return rows


@pytest.mark.parametrize("point", KILL_POINTS)
@pytest.mark.parametrize("run_id", [None, "fixed"])
def test_a_run_that_dies_anywhere_and_is_run_again_decides_the_same(
    point: str, run_id: str | None, place: Place, undisturbed: list[dict[str, Any]]
) -> None:
    place.dies(point, run_id=run_id)
    place.run(run_id=run_id)
    assert place.rows() == undisturbed
    assert place.run().totals.trained == 0
    assert verify(place.store).damaged == ()


@pytest.mark.parametrize("times", [1, 3])
def test_an_output_that_cannot_be_read_for_a_while_decides_nothing(
    times: int, place: Place, undisturbed: list[dict[str, Any]], monkeypatch: Patch
) -> None:
    """The live model is no key's affair while the store is away: the run ends with 5, and the next one goes on."""
    get, left = FolderStore.get, [times]

    def broken(self: FolderStore, name: str, **options: Any) -> Any:
        if name.startswith("models/") and left[0]:
            left[0] -= 1
            raise StoreError("the store is away")
        return get(self, name, **options)

    monkeypatch.setattr(FolderStore, "get", broken)
    failed = 0
    while True:
        try:
            place.run()
            break
        except OutputError:
            failed += 1
            assert Index(place.store).version() == 1
    assert failed > 0
    assert place.rows() == undisturbed


@pytest.mark.parametrize("what", ["gone", "denied", "shorter"])
def test_a_live_model_that_alone_cannot_be_read_is_its_key_s_affair(
    what: str, place: Place, monkeypatch: Patch
) -> None:
    get, victim = FolderStore.get, model_name("k0", place.row("k0")["digest"])

    def broken(self: FolderStore, name: str, **options: Any) -> Any:
        if name != victim:
            return get(self, name, **options)
        if what == "shorter":
            return bytes(get(self, name, **options))[:-1]
        raise NotFoundError(name) if what == "gone" else DeniedError(name)

    monkeypatch.setattr(FolderStore, "get", broken)
    done = place.run(on_undecidable="keep")
    assert done.gate == {"first": 0, "promoted": 2, "kept": 3, "undecidable": 1}
    assert place.row("k0")["gate_note"]
    assert done.exit_code == 0


class Halted(InlineEngine):
    """Trains; then, before its driver publishes, something else happens."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        self.meanwhile = meanwhile

    def run(self, work: Work, tasks: int, tick: Callable[[], None]) -> EngineReport:
        done = super().run(work, tasks, tick)
        self.meanwhile()
        return done


def overtaken(place: Place, first: str, second: str, **options: Any) -> RunReport:
    """Two drivers: the second lists after the first and trains before the first has published; then both publish."""
    trained, go = threading.Event(), threading.Event()

    def publish_first() -> None:
        go.set()
        thread.join()

    def wait() -> None:
        trained.set()
        assert go.wait(60)

    thread = threading.Thread(target=lambda: place.run(first, Halted(wait)))
    thread.start()
    assert trained.wait(60)
    return place.run(second, Halted(publish_first), **options)


# -- what is played: each returns what is wrong


def two_drivers(place: Place) -> list[str]:
    """What the second driver has compared with the old live models counts no more where the first replaced them."""
    done = overtaken(place, LINEAR, "sklearn.tree.DecisionTreeRegressor", min_gain=0.0, alpha=0.9)
    live = [each["key"] for each in place.rows() if each["gate"] == "promoted"]
    return [] if set(live) <= set(done.superseded) else ["it was published over another run's decision"]


def kept_meanwhile(place: Place) -> list[str]:
    """The same where the first driver keeps all live models: rows that have judged judge no second challenger."""
    place.run()
    place.night(184)
    before = {each["key"]: each["digest"] for each in place.rows()}
    overtaken(place, MEAN, "sklearn.linear_model.Ridge", min_gain=0.0, test="none")
    after = {each["key"]: each["digest"] for each in place.rows()}
    return [f"{key} was judged twice" for key in KEYS[:3] if before[key] != after[key]]


def adoption(place: Place) -> list[str]:
    """A run dies, and some live models become others: what it had finished is taken over where they did not."""
    place.run()
    kept = [each["key"] for each in place.rows() if each["challenger"] is not None]
    place.night(184)
    place.dies("before_release")
    Index(place.store).promote(kept)
    done = place.run()
    problems = [f"{key} was decided against another model" for key in done.superseded]
    if done.totals.adopted != len(KEYS) - len(kept):
        problems.append(f"{done.totals.adopted} outcomes were taken over")
    return problems


def night_after_night(place: Place) -> list[str]:
    """Challengers that are no better, each night another, on the same rows: the live model is judged once."""
    place.run()
    place.night(184)
    place.run(MEAN)
    judged = place.run("sklearn.linear_model.Ridge", on_undecidable="keep").gate
    return (
        []
        if judged == {"first": 0, "promoted": 0, "kept": 0, "undecidable": len(KEYS)}
        else [f"judged again: {judged}"]
    )


def leak(place: Place) -> list[str]:
    """The live model was fitted on the rows: they do not judge."""
    place.run()
    place.run("sklearn.linear_model.Ridge", on_undecidable="keep")
    seen = {each["key"]: each["gate_rows"] for each in place.rows() if each["gate"] != "undecidable"}
    return [f"rows that were seen have judged: {seen}"] if seen else []


def replaced_file(place: Place) -> list[str]:
    """Somebody has put other bytes in a live model's place: they are not unpickled."""

    class Trap:
        def __reduce__(self) -> Any:
            return (os.mkdir, (str(place.folder / "sprung"),))

    live = place.folder / "out" / model_name("k0", place.row("k0")["digest"])
    live.write_bytes(pickle.dumps(Trap()))
    place.run(on_undecidable="keep")
    problems = ["code of it was run"] if (place.folder / "sprung").exists() else []
    return problems + ([] if place.row("k0")["gate"] == "undecidable" else ["it was compared with"])


def gc_and_promote(place: Place) -> list[str]:
    """A challenger that is kept back is there until nobody can ask for it."""
    place.run()
    kept = [each["key"] for each in place.rows() if each["challenger"] is not None]
    retention.gc(place.store, keep=1, margin=0, dry_run=False)
    problems = [problem for _, problem in verify(place.store).damaged]
    Index(place.store).promote(kept)
    return problems + [problem for _, problem in verify(place.store).damaged]


# -- what is broken


@contextmanager
def _without(patch: Patch, owner: Any, name: str, instead: Any) -> Iterator[None]:
    with patch.context() as inner:
        inner.setattr(owner, name, instead)
        yield


def _unconditional(source: pa.Table, champions: pa.Table) -> Any:
    return pa.scalar(False)


def _unverified(data: Any, **_: Any) -> Any:
    return pickle.loads(data)


def _forgetful(kept: pa.Table) -> Any:
    return pa.chunked_array([pa.nulls(kept.num_rows, pa.string())])


def _seen_nothing(champion: Champion, held: Any, order: Any) -> Any:
    from dataclasses import replace

    return JUDGING(replace(champion, until="1900-01-01T00:00:00", judged_until=None), held, order)


def _live_alone(index: Index, version: int) -> Any:
    rows = index.read(columns=["key", "digest"], at=version)
    return (rows,)


JUDGING = contest._judging

RULES: dict[str, tuple[Callable[[Place], list[str]], Any, str, Any]] = {
    "a decision holds only while its live model does": (two_drivers, rows_of, "_against_another_model", _unconditional),
    "nor does a second driver judge by the same rows": (kept_meanwhile, rows_of, "_against_another_model", _unconditional),
    "what was compared with another model is not taken over": (adoption, promotion, "current", lambda outcomes, _: outcomes),
    "rows that judged once do not judge again": (night_after_night, promotion, "judged_until", _forgetful),
    "rows that the live model has seen do not judge": (leak, contest, "_judging", _seen_nothing),
    "nothing is unpickled before its digest agrees": (replaced_file, artifact, "load", _unverified),
    "gc keeps what a kept row names": (gc_and_promote, retention, "_models", _live_alone),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_holds_and_where_it_is_broken_the_check_sees_it(
    rule: str, place: Place, tmp_path: Path, begun: Place, monkeypatch: Patch
) -> None:
    play, owner, name, instead = RULES[rule]
    assert play(place) == []
    with _without(monkeypatch, owner, name, instead):
        try:
            found = play(Place(tmp_path / "broken", begun))
        except Exception as error:  # a broken rule may end a run, too
            found = [f"{type(error).__name__}: {error}"]
    assert found, "the check did not see that the rule was broken"


def test_many_tests_promote_by_chance_unless_they_are_looked_at_together(monkeypatch: Patch) -> None:
    """Benjamini and Hochberg's procedure, replaced by each p-value for itself: equal models are promoted."""
    rng = np.random.default_rng(0)
    many = 2000
    p, gain = rng.random(many), rng.normal(0.05, 0.1, many)
    first, rows = np.zeros(many, bool), np.full(many, 50)
    limits = {"min_rows": 30, "min_gain": 0.01, "alpha": 0.05}

    def promoted() -> int:
        return int((gate.decide(first, rows, gain, p, **limits) == gate.STATES.index(gate.PROMOTED)).sum())

    assert promoted() == 0
    monkeypatch.setattr(gate, "discoveries", lambda p, alpha: p <= alpha)
    assert promoted() > 20
