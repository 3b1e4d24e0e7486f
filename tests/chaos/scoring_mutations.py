"""Rules of scoring, each broken on purpose by replacing one function, and the play that must find it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from job.engine import EngineReport
from job.engine.inline import InlineEngine
from job.errors import ManyfitError, UnreachableError
from job.outcome import SCORED, Outcome, to_table
from job.plan import plan
from job.plan.compare import CODE
from job.registry.delta_log import Table
from job.registry.index import Index
from job.registry.predictions import Predictions, Released
from job.run import notice, replacing, retention, run_files, scored_before
from job.run.past_runs import Runs
from job.run.pinned_models import PinnedModels
from job.run.run_files import Started
from job.run.scoring_run import ScoringRun
from job.score import generation, part
from job.store import Store, folder
from job.store.folder import FolderStore
from job.worker import chunks
from job.worker.direct import Work, work_on
from tests.chaos.mutation import Mutation, Patch
from tests.support.folder_job import line
from tests.support.score_job import ScoreJob, rows


class Place:
    """Three keys with models and rows that nobody has scored yet.

    Parameters
    ----------
    folder
        Empty.
    mode
        ``append`` or ``replace``.
    """

    def __init__(self, folder: Path, mode: str) -> None:
        self.job = ScoreJob(folder, keys=3)
        self.job.trained.run()
        self.job.overrides = {"metrics": {"enabled": False}, "output": {"mode": mode, "report": "short"}}

    def problems(self, **sizes: int) -> list[str]:
        """What is wrong with the predictions; ``sizes`` are the rows of keys that have not six."""
        job, found = self.job, []
        try:
            found += [f"{name} {text}" for name, text in job.predictions.damaged()]
            if job.keys() != {"k0": 6, "k1": 6, "k2": 6, **sizes}:
                found.append(f"rows are lost or doubled: {job.keys()}")
            models = job.trained.models()
            states = Index(job.assembly().output).read(columns=["key", "state"]).to_pylist()
            found += [f"{row['key']} is {row['state']}" for row in states if row["state"] != "live"]
            newest = job.table().to_pandas().sort_values("_scored_at").groupby("_key").tail(1)
            for row in newest.to_dict("records"):
                if not np.isclose(row["prediction"], models[row["_key"]].predict(pd.DataFrame({"x": [row["x"]]}))[0]):
                    found.append(f"{row['_key']} was predicted by another model than the current one")
        except Exception as error:
            found.append(f"{type(error).__name__}: {error}")
        return found

    def score(self, **given: Any) -> list[str]:
        """A run that must end well."""
        try:
            self.job.score(**given)
        except ManyfitError as error:
            return [error.message]
        return []

    def dies(self, **given: Any) -> None:
        """A run that ends as if it were killed."""
        with pytest.raises((ManyfitError, Killed)):
            self.job.score(**given)


class Killed(BaseException):
    """Nobody catches it for good."""


class Dying(InlineEngine):
    """Ends when all parts are put."""

    def run(self, work: Work, tasks: int, tick: Callable[[], None]) -> EngineReport:
        for task in range(tasks):
            work_on(work, task, 0, expendable=False)
        raise UnreachableError("killed")


# -- what is played


def scored_once(place: Place) -> list[str]:
    return place.score() or place.problems()


def one_replaced(place: Place) -> list[str]:
    found = place.score()
    place.job.put("k1.csv", rows(2.0, count=2))
    return found or place.score() or place.problems(k1=2)


def new_model(place: Place) -> list[str]:
    found = place.score()
    place.job.trained.put("k1.csv.gz", line(9.0))
    place.job.trained.run()
    return found or place.score() or place.problems()


def dies_after_the_commit(place: Place) -> list[str]:
    with Patch.context() as patch:
        patch.setattr(scored_before, "derive", _killed)
        place.dies()
    # Else the next run would take over the very parts, and to release a part twice is to release it once.
    place.job.put("k1.csv", rows(2.0, count=2))
    return place.score() or place.problems(k1=8)


def commit_answer_lost(place: Place) -> list[str]:
    append, lost = Table.append, []

    def losing(self: Table, *given: Any, **more: Any) -> None:
        append(self, *given, **more)
        if self.where.endswith("/predictions") and not lost:
            lost.append(self.where)
            raise CommitFailedError("the answer was lost")

    with Patch.context() as patch:
        patch.setattr(Table, "append", losing)
        found = place.score()
    assert lost
    return found or place.problems()


def overtaken(place: Place) -> list[str]:
    """Another run scores the same keys and releases first: this one must not."""
    release = Predictions.release

    def second(self: Predictions, *given: Any, **more: Any) -> Any:
        with Patch.context() as patched:
            patched.setattr(Predictions, "release", release)
            place.job.put("k1.csv", rows(2.0, count=2))
            place.job.score()
        return release(self, *given, **more)

    with Patch.context() as patch:
        patch.setattr(Predictions, "release", second)
        place.score()
    return place.score() or place.problems(k1=2)


def gc_between(place: Place) -> list[str]:
    """A run died with its parts put; gc cleans, and the next run takes them over."""
    found = place.score()
    place.job.put("k1.csv", rows(2.0, count=2))
    place.dies(engine=lambda _: Dying())
    for path in [each for each in place.job.out.rglob("*") if each.is_file()]:
        os.utime(path, (time.time() - 2 * notice.LEASE,) * 2)
    retention.gc(place.job.assembly().output, keep=1, margin=0.0, dry_run=False)
    return found or place.score() or place.problems(k1=8)


def rolled_back(place: Place) -> list[str]:
    """After a rollback the next run finds every part's range again."""
    found = one_replaced(place)
    place.job.predictions.rollback(1)
    found += place.score() or place.problems(k1=2)
    # Without the ranges, all parts would be compacted once more.
    return found + [each.operation for each in place.job.predictions.history() if each.operation == "compact"]


def released_between(place: Place) -> list[str]:
    """Another run releases while this one makes the last release good, and dies before what is known of the keys."""
    found, made_good = place.score(), scored_before.make_good
    for key, slope in (("k1", 2.0), ("k2", 3.0)):
        place.job.put(f"{key}.csv", rows(slope, count=2))

    def other(output: Store) -> None:
        made_good(output)
        with Patch.context() as patched:
            patched.setattr(scored_before, "make_good", made_good)
            patched.setattr(scored_before, "derive", _killed)
            place.dies()
        # Else this run would take over the very part, and to release a part twice is to release it once.
        place.job.put("k2.csv", rows(3.0, count=3))

    with Patch.context() as patch:
        patch.setattr(scored_before, "make_good", other)
        place.score()
    return found or place.score() or place.problems(k1=8, k2=11)


def trained_between(place: Place) -> list[str]:
    """Models are released between the moment in which a version is pinned, and the tasks."""
    made = ScoringRun._made_recipe

    def later(self: ScoringRun, started: Started) -> Any:
        place.job.trained.put("k1.csv.gz", line(9.0))
        place.job.trained.run()
        return made(self, started)

    with Patch.context() as patch:
        patch.setattr(ScoringRun, "_made_recipe", later)
        found = place.score()
    known = {}
    for version in set(place.job.table()["_models_version"].to_pylist()):
        models = Index(place.job.assembly().models).read(columns=["key", "digest"], at=version).to_pylist()
        known |= {(version, row["key"]): row["digest"] for row in models}
    return found + [
        f"{row['_key']} has another model than version {row['_models_version']} has"
        for row in place.job.table().to_pylist()
        if row["_model"] != known[row["_models_version"], row["_key"]]
    ]


def planned_twice(place: Place) -> list[str]:
    """Of two plans of a run, each has put a part with the same key."""
    parts = {"1/0/0/2": ("k0", "k1"), "2/0/0/2": ("k1", "k2")}
    made = [
        Outcome(key=key, status=SCORED, chunk=chunk, part=f"w/{chunk}", digest=chunk)
        for chunk, keys in parts.items()
        for key in keys
    ]
    found = chunks.winners(chunks.finished(to_table(made)), SCORED).to_pylist()
    return [
        f"{each.key} is missing in {each.chunk}"
        for each in made
        if (each.key, each.chunk) not in {(row["key"], row["chunk"]) for row in found}
    ]


def started_again(place: Place) -> list[str]:
    """A run with a fixed name had nothing to release but a failure, and died; it is started again and releases rows."""
    found, again = place.score(), {"id": "night", "max_failed": 1}
    place.job.put("k1.csv", b"not a table")
    with Patch.context() as patch:
        patch.setattr(run_files, "write_result", _killed)
        place.dies(run=again)
    place.job.put("k1.csv", rows(2.0, count=2))
    return found or place.score(run=again) or place.problems(k1=8)


def put_again(place: Place) -> list[str]:
    """A run scores keys and dies; another one releases one of them; then that one's very rows are put once more.

    The run that died had seen the new time of the rows.
    """
    new = {"k1": rows(2.0, count=2), "k2": rows(3.0, count=2)}

    def put(key: str, body: bytes, second: int) -> None:
        place.job.put(f"{key}.csv", body)
        os.utime(place.job.data / f"{key}.csv", ns=(second * 1_000_000_000,) * 2)

    with Patch.context() as patch:
        patch.setattr(folder, "_etag", lambda status: f"{status.st_mtime_ns}")
        adopting_what_is_older(patch)  # the clocks of workers tell nothing
        found = place.score()
        for key, body in new.items():
            put(key, body, 2)
        place.dies(engine=lambda _: Dying())
        put("k1", new["k1"], 1)
        put("k2", rows(3.0, count=3), 1)  # else the part would be taken over as a whole now
        found += place.score()
        for key, body in new.items():
            put(key, body, 2)
        return found or place.score() or place.problems(k1=8, k2=11)


def to_and_fro(place: Place) -> list[str]:
    """A run dies and another one takes its part over; a key of it has other rows for a night, and then the same again."""
    nights = [(rows(2.0, count=2), 2), (rows(2.0, count=3), 3), (rows(2.0, count=2), 2)]
    with Patch.context() as patch:
        patch.setattr(folder, "_etag", lambda status: f"{status.st_mtime_ns}")
        adopting_what_is_older(patch)  # the clocks of workers tell nothing
        found = place.score()
        for night, (body, second) in enumerate(nights):
            place.job.put("k1.csv", body)
            os.utime(place.job.data / "k1.csv", ns=(second * 1_000_000_000,) * 2)
            if not night:
                place.dies(engine=lambda _: Dying())
            found += place.score()
        return found or place.problems(k1=6 + 2 + 3 + 2)


def older_than_published(place: Place) -> list[str]:
    """A run dies; another one scores other rows of its key; then the key has the rows of the run that died again."""
    with Patch.context() as patch:
        patch.setattr(folder, "_etag", lambda status: f"{status.st_mtime_ns}")
        found = place.score()
        for count in (2, 3, 2):
            place.job.put("k1.csv", rows(2.0, count=count))
            os.utime(place.job.data / "k1.csv", ns=(count * 1_000_000_000,) * 2)
            if count == 2 and not found and place.job.keys()["k1"] == 6:
                place.dies(engine=lambda _: Dying())
            else:
                found += place.score()
    mine = place.job.table().filter(pc.equal(place.job.table()["_key"], "k1"))
    newest = pc.sum(pc.equal(mine["_scored_at"], pc.max(mine["_scored_at"]))).as_py()
    return found or place.problems(k1=6 + 3 + 2) + ([] if newest == 2 else [f"{newest} newest rows of k1"])


def clock_behind(place: Place) -> list[str]:
    """The machine of the next run has a clock that is five minutes behind."""
    found, now = place.score(), FolderStore.now
    place.job.put("k1.csv", rows(2.0, count=2))
    with Patch.context() as patch:
        patch.setattr(FolderStore, "now", lambda self: now(self) - timedelta(minutes=5))
        return found or place.score() or place.score() or place.problems(k1=8)


def failed_and_back(place: Place) -> list[str]:
    """A key fails, and then has the very rows that it had before."""
    found = place.score()
    place.job.put("k1.csv", b"not a table")
    found += place.score(run={"max_failed": 1})
    place.job.put("k1.csv", rows(2.0))
    return found or place.score() or place.problems()


def scored_meanwhile(place: Place) -> list[str]:
    """A run finds a key broken, and has nothing else to release; meanwhile another one has found good rows."""
    found = place.score()

    class Meanwhile(InlineEngine):
        def run(self, work: Work, tasks: int, tick: Callable[[], None]) -> EngineReport:
            done = super().run(work, tasks, tick)
            place.job.put("k1.csv", rows(2.0, count=2))
            place.job.score()
            return done

    place.job.put("k1.csv", b"id,x,y\n1,a,2\n")
    with contextlib.suppress(ManyfitError):
        place.job.score(engine=lambda _: Meanwhile(), run={"max_failed": 1})
    return found or place.problems(k1=8)


def _killed(*_: Any, **__: Any) -> None:
    raise Killed


# -- how a rule is broken


def outcome_without_part(patch: Patch) -> None:
    ensure = FolderStore.ensure
    patch.setattr(
        FolderStore,
        "ensure",
        lambda self, name, data: None if f"{part.FOLDER}/parts" in name else ensure(self, name, data),
    )


def states_not_made_good(patch: Patch) -> None:
    patch.setattr(scored_before, "make_good", lambda output: None)


def without_transactions(patch: Patch) -> None:
    known = DeltaTable.transaction_version
    patch.setattr(
        DeltaTable, "transaction_version", lambda self, name: known(self, name) if name.startswith("manyfit/") else None
    )


def any_base(patch: Patch) -> None:
    release = Predictions.release

    def forward(self: Predictions, *given: Any, **more: Any) -> Any:
        return release(self, *given, **{**more, "base": self.version()})

    patch.setattr(Predictions, "release", forward)


def failures_without_a_version(patch: Patch) -> None:
    release = Predictions.release

    def only_rows(self: Predictions, parts: Any, schema: pa.Schema, **more: Any) -> Released:
        if parts or more["removed"]:
            return release(self, parts, schema, **more)
        return Released(version=self.version(), name=f"{more['run']}/{more['plan']}")

    patch.setattr(Predictions, "release", only_rows)


def old_rows_stay(patch: Patch) -> None:
    merged = generation.merged
    patch.setattr(generation, "merged", lambda base, new, out: merged(base, new, ()))
    patch.setattr(replacing, "AccountingError", _Unsaid)


def neighbours_go(patch: Patch) -> None:
    merged = generation.merged
    patch.setattr(generation, "merged", lambda base, new, out: merged(None, new, out))
    patch.setattr(replacing, "AccountingError", _Unsaid)


class _Unsaid(ManyfitError):
    """The rows of a release add up, or it is not made: that check finds it first."""


def model_does_not_count(patch: Patch) -> None:
    patch.setattr(PinnedModels, "mixed", lambda self, keys, data: data)


def gc_takes_unfinished_parts(patch: Patch) -> None:
    patch.setattr(Runs, "references", lambda self: [])


def ranges_forgotten(patch: Patch) -> None:
    patch.setattr("job.registry.data_file.spans", lambda table, column: {})


def made_good_first(patch: Patch) -> None:
    def planned_on(output: Store) -> int | None:
        scored_before.make_good(output)
        return Predictions(output).version()

    patch.setattr(scored_before, "planned_on", planned_on)


def models_of_now(patch: Patch) -> None:
    made = ScoringRun._made_recipe
    patch.setattr(
        ScoringRun,
        "_made_recipe",
        lambda self, started: replace(made(self, started), version=Index(self.models).version() or 0),
    )


def keys_once(patch: Patch) -> None:
    def once(outcomes: pa.Table) -> pa.Table:
        first = np.unique(outcomes["key"].to_pandas().to_numpy(), return_index=True)[1]
        return outcomes.take(pa.array(np.sort(first)))

    patch.setattr(chunks, "once", once)


def states_released_once(patch: Patch) -> None:
    derive = scored_before.derive
    patch.setattr(scored_before, "derive", lambda *given, name: derive(*given, name=given[1]))


def adopting_what_is_there(patch: Patch) -> None:
    adopt = scored_before.adopt

    def blind(output: Store, made: plan.Plan, *others: Any) -> Any:
        at = made.keys.schema.get_field_index("content")
        empty = made.keys.set_column(at, "content", pa.nulls(made.planned, pa.string()))
        return adopt(output, replace(made, keys=empty), *others)

    patch.setattr(scored_before, "adopt", blind)


def adopting_what_was_released(patch: Patch) -> None:
    patch.setattr(scored_before, "_released", lambda *_: frozenset())


def adopting_what_is_older(patch: Patch) -> None:
    patch.setattr(scored_before, "_scored_since", lambda output, found: np.zeros(found.num_rows, bool))


def states_by_time(patch: Patch) -> None:
    release = Index.release
    patch.setattr(Index, "release", lambda self, rows, **given: release(self, rows, **{**given, "in_order": False}))


def failures_forget(patch: Patch) -> None:
    known = plan.compare

    def compare(*given: Any) -> Any:
        found = known(*given)
        failed = pa.array(found.why == CODE["failed"])
        return replace(found, content=pc.if_else(failed, pa.scalar(None, pa.string()), found.content))

    patch.setattr(plan, "compare", compare)


RULES: list[tuple[str, Callable[[Patch], None], Callable[[Place], list[str]], str]] = [
    ("a part of predictions is put before the outcome that names it", outcome_without_part, scored_once, "append"),
    ("what a release did not get to is made good", states_not_made_good, dies_after_the_commit, "append"),
    ("a scoring is released once", without_transactions, commit_answer_lost, "append"),
    ("a run is released on the version it was planned with", any_base, overtaken, "append"),
    (
        "failures alone are released on the version they were planned with",
        failures_without_a_version,
        scored_meanwhile,
        "append",
    ),
    ("the old rows of a replaced key leave", old_rows_stay, one_replaced, "replace"),
    ("the rows of other keys stay", neighbours_go, one_replaced, "replace"),
    ("a key with a new model is scored again", model_does_not_count, new_model, "replace"),
    ("gc leaves alone what an unfinished run has put", gc_takes_unfinished_parts, gc_between, "append"),
    ("a version that returns says where its keys lie", ranges_forgotten, rolled_back, "replace"),
    ("a version is planned on once it is made good, and not a later one", made_good_first, released_between, "append"),
    ("a row names the version that its model was taken from", models_of_now, trained_between, "append"),
    ("a key that was planned twice is in the parts of both plans", keys_once, planned_twice, "append"),
    ("a run that is started again may release what it had not", states_released_once, started_again, "append"),
    ("what was released already is not taken over", adopting_what_is_there, put_again, "append"),
    ("a part that is in the table is not taken over", adopting_what_was_released, to_and_fro, "append"),
    ("a part older than what is published is not taken over", adopting_what_is_older, older_than_published, "append"),
    ("the states of keys follow the order of releases, not of clocks", states_by_time, clock_behind, "append"),
    ("what was scored before a failure is not scored again", failures_forget, failed_and_back, "append"),
]

MUTATIONS = [
    Mutation(rule, breaks, plays, lambda folder, _, mode=mode: Place(folder, mode))
    for rule, breaks, plays, mode in RULES
]
