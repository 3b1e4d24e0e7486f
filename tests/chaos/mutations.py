"""Rules of the protocol, each broken on purpose by replacing one function, and the play that must find it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from job import run_paths
from job.config.settings import JobSettings
from job.engine import EngineReport
from job.engine.inline import InlineEngine
from job.errors import DamageError, DeniedError, ManyfitError, OutputError
from job.fit import artifact
from job.outcome import Outcome
from job.registry import index, row
from job.registry.index import Index, Release
from job.registry.model_set import ModelSet
from job.run import assembly, barrier, planning, retention, training_run
from job.run import run as runs
from job.run.past_runs import Runs
from job.run.run import run
from job.store import Store, open_store, probe
from job.store.cloud import CloudStore
from job.store.folder import FolderStore
from job.worker import attempt, segment, training
from job.worker.direct import _read
from job.worker.segment import SegmentWriter
from job.worker.work import Work
from tests.chaos.audit import audit
from tests.chaos.dying import Died, run_dying, settings
from tests.chaos.mutation import Mutation, Patch
from tests.chaos.proxy import Fault, FaultProxy
from tests.chaos.world import NEW, OLD, World, body
from tests.support.published import line, publish


class Place:
    """A folder with a first release of `OLD`, and `NEW` data."""

    def __init__(self, folder: Path, s3: str) -> None:
        self.folder, self.s3 = folder, s3
        self.moment = 1_000_000_000
        (folder / "in").mkdir()
        for key, slope in OLD.items():
            self.write(key, body(slope))
        self.run()
        for key, slope in NEW.items():
            if OLD.get(key) != slope:
                self.write(key, body(slope))

    def write(self, key: str, data: bytes) -> None:
        path = self.folder / "in" / f"{key}.csv.gz"
        self.moment += 1000
        path.write_bytes(data)
        os.utime(path, ns=(self.moment, self.moment))

    def settings(self, **run_settings: Any) -> JobSettings:
        made = settings(self.folder)
        return made.model_copy(update={"run": made.run.model_copy(update=run_settings)}) if run_settings else made

    def run(self, engine: InlineEngine | None = None, **run_settings: Any) -> Any:
        return run(assembly.assemble(self.settings(**run_settings)), {}, make_engine=lambda _: engine or InlineEngine())

    def dies(self, point: str) -> None:
        def die() -> None:
            raise Died(point)

        with pytest.raises(Died):
            run_dying(self.folder, point, die)

    def audit(self, slopes: dict[str, float] | None = NEW) -> list[str]:
        out = self.folder / "out"
        return audit(
            {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}, slopes
        ).problems

    @property
    def store(self) -> Store:
        return open_store(str(self.folder / "out"))


# -- what is played, and what finds it


def admitted(place: Place) -> list[str]:
    """The admission of a store."""
    try:
        probe.admit(place.store)
    except OutputError as error:
        return [error.message]
    return []


def lost_answer(place: Place) -> list[str]:
    """A cell of the matrix: a model is stored and the answer is lost; the run must end well."""
    with FaultProxy(place.s3) as proxy:
        world = World(proxy, place.s3, admit=False, retries=3, timeout=20)
        world.put(OLD)
        proxy.fault = Fault("model_put", "reset_after", 1)
        try:
            world.run()
        except ManyfitError as error:
            return [error.message]
        assert proxy.fault.hits == 1
        return world.audit(OLD).problems


class Between(InlineEngine):
    """Something happens between the plan and the tasks, or after them."""

    def __init__(self, before: Callable[[], object] = lambda: None, after: Callable[[], object] = lambda: None) -> None:
        self.before, self.after = before, after

    def run(self, work: Work, tasks: int, tick: Callable[[], None]) -> EngineReport:
        self.before()
        done = super().run(work, tasks, tick)
        self.after()
        return done


def changed_after_the_plan(place: Place) -> list[str]:
    """A data set is replaced between plan and read: no row may say that it was made of the planned one."""
    place.run(Between(before=lambda: place.write("k6", body(99.0))), max_failed=10)
    rows = Index(place.store).read(keys=["k6"]).to_pylist()
    return place.audit(None) + [
        f"k6 is {each['state']}, made of data that the plan did not have" for each in rows if each["state"] == "live"
    ]


class Losing(InlineEngine):
    """One task is never run, and says that it was."""

    def cores(self) -> int:
        return 100

    def run(self, work: Work, tasks: int, tick: Callable[[], None]) -> EngineReport:
        return super().run(work, tasks - 1, tick)


def lost_task(place: Place) -> list[str]:
    """A task ends well and has written nothing: the run must not."""
    try:
        place.run(Losing())
    except ManyfitError:
        return place.audit(None)
    return place.audit()


def dies_before_the_barrier(place: Place) -> list[str]:
    """All is trained and the driver dies: the next run takes everything over."""
    place.dies("before_barrier")
    report = place.run()
    return place.audit() + ([] if report.totals.adopted == 4 else [f"{report.totals.adopted} of 4 were taken over"])


def dies_before_the_put(place: Place) -> list[str]:
    """A worker dies before a model is put: no outcome names it."""
    place.dies("before_model_put")
    place.run()
    return place.audit()


def runs_once(place: Place) -> list[str]:
    """A healthy run."""
    place.run()
    return place.audit()


def denied_then_dies(place: Place) -> list[str]:
    """A read is denied, the driver dies, the permission is given: the key is trained."""
    with Patch.context() as patch:
        get = FolderStore.get

        def denied(self: FolderStore, name: str, **options: Any) -> bytes:
            if name == "k1.csv.gz":
                raise DeniedError("injected")
            return get(self, name, **options)

        patch.setattr(FolderStore, "get", denied)
        place.dies("before_release")
    report = place.run(max_failed=10)
    return place.audit() + [f"{report.totals.failed} failed"] * (report.totals.failed > 0)


def swapped_model(place: Place) -> list[str]:
    """A model file has another model's bytes: it is not loaded."""
    root = place.folder / "swapped"
    store = open_store(str(root))
    publish(store, {"a": line(1.0), "b": line(2.0)})
    models = ModelSet.open(store.uri)
    (root / models.path("a")).write_bytes((root / models.path("b")).read_bytes())
    try:
        models["a"]
    except DamageError:
        return []
    return ["a swapped model was loaded"]


def older_listing(place: Place) -> list[str]:
    """A run that listed before publishes after: the newer stays."""
    store = open_store(str(place.folder / "ordered"))
    publish(store, {"a": line(2.0)}, minute=2)
    publish(store, {"a": line(1.0)}, minute=1)
    found = float(ModelSet.open(store.uri)["a"].coef_[0])
    return [] if found == pytest.approx(2.0) else ["an older listing's model replaced a newer one"]


def release_answer_lost(place: Place) -> list[str]:
    """The release is committed and the answer lost: it is not committed again."""
    merge, left = index.merge, [1]

    def once(*arguments: Any) -> None:
        merge(*arguments)
        if left:
            left.clear()
            raise DeltaError("injected")

    with Patch.context() as patch:
        patch.setattr(index, "merge", once)
        place.run()
    return place.audit()


def gc_meanwhile(place: Place) -> list[str]:
    """``gc`` comes while a run has put its models and not yet released them."""
    place.run(Between(after=lambda: retention.gc(place.store, dry_run=False)))
    return place.audit()


def two_in_one_second(place: Place) -> list[str]:
    """Two runs begin in the same second, with a change between them."""
    with Patch.context() as patch:
        frozen = datetime.now(UTC)

        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:
                return frozen

        patch.setattr(runs, "datetime", Clock)
        place.run()
        place.write("k0", body(55.0))
        place.run()
    return place.audit(NEW | {"k0": 55.0})


def replaced_meanwhile(place: Place) -> list[str]:
    """A run finds a data set's bytes unchanged; before it publishes, another one publishes another model of the key."""
    place.run()
    listed = datetime.now(UTC)
    place.write("k0", body(OLD["k0"]))  # a new ETag on the same bytes

    def other() -> None:
        rows = Index(place.store).read(keys=["k1"]).to_pylist()
        donor = rows[0] | {"key": "k0", "action": "put", "listed_at": listed}
        donor = {name: value for name, value in donor.items() if value is not None}
        name = f"models/k0/{donor['digest']}.joblib"
        place.store.ensure(name, bytes(place.store.get(name.replace("/k0/", "/k1/"))))
        Index(place.store).release(index.changes([donor]), run="another")

    place.run(Between(after=other))
    place.run()
    return place.audit()


# -- what is mutated


def overwriting(patch: Patch) -> None:
    def create(self: FolderStore, name: str, data: bytes) -> bool:
        self.put(name, data)
        return True

    patch.setattr(FolderStore, "create", create)


def refusal_is_failure(patch: Patch) -> None:
    def writer(self: CloudStore, key: str, name: str) -> str:
        raise OutputError("412")

    patch.setattr(CloudStore, "_writer", writer)


def without_if_match(patch: Patch) -> None:
    def read(store: Store, item: Any, output: Store | None) -> Any:
        return _read(store, replace(item, objects=[{**each, "etag": None} for each in item.objects]), output)

    patch.setattr("job.worker.direct._read", read)


def without_barrier(patch: Patch) -> None:
    settle = barrier.settle

    def some(plan: Any, outcomes: pa.Table, *others: Any) -> pa.Table:
        have = pa.compute.is_in(plan.keys["key"], value_set=outcomes["key"].combine_chunks())
        return settle(replace(plan, keys=plan.keys.filter(have)), outcomes, *others)

    patch.setattr(barrier, "settle", some)
    patch.setattr(runs.report.Totals, "check", lambda self: None)


def trusting_the_tasks(patch: Patch) -> None:
    """Outcomes are what this process was told, and no segment is written."""
    told: list[Outcome] = []
    patch.setattr(SegmentWriter, "add", lambda self, outcome: told.append(outcome))
    patch.setattr(SegmentWriter, "_tick", lambda self: None)

    def read(store: Store, prefix: str, *, columns: list[str] | None = None, **_: Any) -> pa.Table:
        # A later process knows nothing of what an earlier one was told.
        table = segment.to_table(told)
        return table if columns is None else table.select(columns)

    finished = planning.finished_outcomes

    def fresh(made: Any, now: datetime) -> pa.Table:
        told.clear()
        return finished(made, now)

    patch.setattr(segment, "read", read)
    patch.setattr(training_run, "finished_outcomes", fresh)


def outcome_before_model(patch: Patch) -> None:
    def upload(self: attempt.Attempt, item: Any, result: Any, content: Any) -> None:
        try:
            self._record(item, result, content)
            self._writer.flush()
            self.work.output.ensure(self.work.operation.place(item.key, result.digest), result.artifact)
        except BaseException as error:
            self._error = self._error or error

    patch.setattr(attempt.Attempt, "_upload", upload)


def named_otherwise(patch: Patch) -> None:
    patch.setattr(training, "model_name", lambda key, digest: f"models/{key}/model.joblib")


def adopting_failures(patch: Patch) -> None:
    def every(made: Any, now: datetime) -> pa.Table:
        return pa.concat_tables(
            [segment.read(made.output, run_paths.segments(each)) for each in planning.unfinished_runs(made.output, now)]
            or [planning.SCHEMA.empty_table()]
        )

    patch.setattr(training_run, "finished_outcomes", every)


def without_digest(patch: Patch) -> None:
    import hashlib

    load = artifact.load
    patch.setattr(
        artifact, "load", lambda data, **options: load(data, **{**options, "digest": hashlib.sha256(data).hexdigest()})
    )


def without_order(patch: Patch) -> None:
    patch.setattr(index, "decide", lambda source, *_: row.Decision(effective=source, superseded=()))
    patch.setattr(row, "_not_older", lambda source, published: pc.is_valid(source.column("listed_at")))


def without_transactions(patch: Patch) -> None:
    known = DeltaTable.transaction_version
    patch.setattr(
        DeltaTable, "transaction_version", lambda self, name: known(self, name) if name.startswith("manyfit/") else None
    )


def without_age(patch: Patch) -> None:
    gc = retention.gc
    patch.setattr(retention, "gc", lambda store, **options: gc(store, **{**options, "margin": 0.0}))

    class Ageless(Runs):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.alive = ()

        def references(self) -> list[pa.Table]:
            return []

    patch.setattr(retention, "Runs", Ageless)


def clock_as_name(patch: Patch) -> None:
    patch.setattr(runs, "run_id", lambda made, document, now: f"{now:%Y%m%dT%H%M%S}")


def success_before_release(patch: Patch) -> None:
    patch.setattr(training_run.TrainingRun, "publish", lambda *_: Release(version=1))


def touching_anything(patch: Patch) -> None:
    patch.setattr(row, "_of_another_model", lambda source, models: pa.scalar(False))


RULES: list[tuple[str, Callable[[Patch], None], Callable[[Place], list[str]]]] = [
    ("an object is created only if it is not there", overwriting, admitted),
    ("being refused by one's own object is success", refusal_is_failure, lost_answer),
    ("input is read with the ETag of the plan", without_if_match, changed_after_the_plan),
    ("nothing is published before every key has an outcome", without_barrier, lost_task),
    ("what counts is in the store, not what a task says", trusting_the_tasks, dies_before_the_barrier),
    ("a model is put before the outcome that names it", outcome_before_model, dies_before_the_put),
    ("a model's name is its digest", named_otherwise, runs_once),
    ("failures are never taken over", adopting_failures, denied_then_dies),
    ("a loader checks the digest", without_digest, swapped_model),
    ("the newer listing wins", without_order, older_listing),
    ("a run is released once", without_transactions, release_answer_lost),
    ("gc leaves alone what is young", without_age, gc_meanwhile),
    ("a run's name is not the clock's", clock_as_name, two_in_one_second),
    ("success is told after the release", success_before_release, runs_once),
    ("an unchanged key is confirmed only for the model it was compared with", touching_anything, replaced_meanwhile),
]

MUTATIONS = [Mutation(rule, breaks, plays, Place) for rule, breaks, plays in RULES]
