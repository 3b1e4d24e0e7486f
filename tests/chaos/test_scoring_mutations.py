"""Rules of scoring, each broken on purpose by replacing one function: each is caught by a check that the code passes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from job.engine import EngineReport
from job.engine.inline import InlineEngine
from job.errors import ManyfitError, UnreachableError
from job.registry.delta_log import Table
from job.registry.index import Index
from job.registry.predictions import Predictions
from job.run import notice, replacing, retention, scored_before
from job.run.past_runs import Runs
from job.run.pinned_models import PinnedModels
from job.score import generation, part
from job.store.folder import FolderStore
from job.worker.direct import Work, work_on
from tests.support.folder_job import line
from tests.support.score_job import ScoreJob, rows

Patch = pytest.MonkeyPatch


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
    return found or place.score() or place.problems(k1=2)


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


@dataclass(frozen=True)
class Mutation:
    """A rule, how it is broken, and what finds that."""

    rule: str
    breaks: Callable[[Patch], None]
    plays: Callable[[Place], list[str]]
    mode: str = "append"


MUTATIONS = [
    Mutation("a part is put before the outcome that names it", outcome_without_part, scored_once),
    Mutation("what a release did not get to is made good", states_not_made_good, dies_after_the_commit),
    Mutation("a run is released once", without_transactions, commit_answer_lost),
    Mutation("a run is released on the version it was planned with", any_base, overtaken),
    Mutation("the old rows of a replaced key leave", old_rows_stay, one_replaced, "replace"),
    Mutation("the rows of other keys stay", neighbours_go, one_replaced, "replace"),
    Mutation("a key with a new model is scored again", model_does_not_count, new_model, "replace"),
    Mutation("gc leaves alone what an unfinished run has put", gc_takes_unfinished_parts, gc_between),
    Mutation("a version that returns says where its keys lie", ranges_forgotten, rolled_back, "replace"),
]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.rule)
def test_a_broken_rule_of_scoring_is_found_and_a_kept_one_is_not(mutation: Mutation, tmp_path: Path) -> None:
    for folder in ("kept", "broken"):
        (tmp_path / folder).mkdir()
    assert mutation.plays(Place(tmp_path / "kept", mutation.mode)) == [], "the code as it is"

    broken = Place(tmp_path / "broken", mutation.mode)
    with Patch.context() as patch:
        mutation.breaks(patch)
        found = mutation.plays(broken)

    assert found, "nothing noticed that the rule was broken"
