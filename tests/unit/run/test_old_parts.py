"""gc of an output of predictions: what older versions and abandoned runs have goes, what anybody may need stays."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from job.engine import EngineReport
from job.engine.inline import InlineEngine
from job.errors import ConfigurationError, OutputError, UnreachableError
from job.registry.index import Index
from job.run import notice, retention
from job.run.old_parts import OldParts
from job.worker import segment
from job.worker.direct import Work, work_on
from tests.support.score_job import ScoreJob, counts, rows


@pytest.fixture
def job(tmp_path: Path) -> ScoreJob:
    made = ScoreJob(tmp_path)
    made.trained.run()
    made.overrides = {"output": {"mode": "replace"}}
    return made


def parts(job: ScoreJob) -> int:
    return len(list((job.out / "predictions" / "parts").rglob("*.parquet")))


def gc(job: ScoreJob, **given: Any) -> retention.Report:
    return retention.gc(job.assembly().output, **{"keep": 1, "margin": 0.0, "dry_run": False, **given})


def aged(job: ScoreJob, seconds: float) -> None:
    for path in [each for each in job.out.rglob("*") if each.is_file()]:
        os.utime(path, (time.time() - seconds,) * 2)


class Dying(InlineEngine):
    """Ends when all parts are put, as a killed driver does."""

    def run(self, work: Work, tasks: int, tick: Callable[[], None]) -> EngineReport:
        for task in range(tasks):
            work_on(work, task, 0, expendable=False)
        raise UnreachableError("killed")


def test_parts_of_older_versions_go_and_kept_versions_can_be_read_and_rolled_back_to(job: ScoreJob) -> None:
    for size in (6, 2, 3):
        job.put("k1.csv", rows(2.0, count=size))
        job.score()
    aged(job, 60)
    before = parts(job)

    counted = gc(job, keep=2, dry_run=True)
    assert parts(job) == before
    done = gc(job, keep=2)

    assert done.parts == counted.parts > 0
    assert done.part_bytes > 0
    assert parts(job) == before - done.parts
    assert job.keys() == {"k0": 6, "k1": 3, "k2": 6, "k3": 6}
    with pytest.raises(ConfigurationError):
        job.predictions.rollback(1)
    job.predictions.rollback(2)
    assert job.keys()["k1"] == 2
    assert list(job.predictions.damaged()) == []
    assert counts(job.score()) == (1, 3, 0, 0)


def test_a_pinned_version_is_one_of_the_predictions_and_stays_however_old_it_is(job: ScoreJob) -> None:
    job.score(output={"mode": "append"})
    for size in (2, 3, 5):
        job.put("k1.csv", rows(2.0, count=size))
        job.score()
    aged(job, 60)
    versions = [each.version for each in job.predictions.history()]
    assert max(versions) > (Index(job.assembly().output).version() or 0)  # one of them is a compaction

    with pytest.raises(ConfigurationError, match="has no version 9"):
        gc(job, pins=[9])
    gc(job, pins=[3])

    assert job.keys()["k1"] == 5
    job.predictions.rollback(3)
    assert job.keys()["k1"] == 2
    assert list(job.predictions.damaged()) == []


def test_of_appended_predictions_every_file_is_live(tmp_path: Path) -> None:
    job = ScoreJob(tmp_path)
    job.trained.run()
    for size in (6, 2, 3):
        job.put("k1.csv", rows(2.0, count=size))
        job.score()
    aged(job, 60)

    assert gc(job).parts == 0
    assert job.keys()["k1"] == 11


def test_what_an_unfinished_run_has_put_stays_until_nobody_takes_it_over(job: ScoreJob) -> None:
    job.score()
    job.put("k1.csv", rows(2.0, count=2))
    with pytest.raises(OutputError, match="killed"):
        job.score(engine=lambda _: Dying())
    count = parts(job)
    assert gc(job).blocked_by != ()
    aged(job, 2 * notice.LEASE)

    assert gc(job).parts == 0
    report = job.score()
    assert (report.totals.adopted, parts(job) > count) == (1, True)

    job.put("k1.csv", rows(2.0, count=1))
    with pytest.raises(OutputError, match="killed"):
        job.score(engine=lambda _: Dying())
    job.put("k1.csv", rows(2.0, count=9))
    aged(job, segment.ADOPT_SECONDS + 2 * notice.LEASE)
    live = len(job.predictions.files())

    done = gc(job)

    assert done.parts > 0
    assert parts(job) == live


def test_young_parts_stay(job: ScoreJob) -> None:
    job.score()
    job.put("k1.csv", rows(2.0, count=2))
    job.score()

    assert gc(job, margin=3600.0).parts == 0


def test_a_rollback_to_a_version_whose_states_gc_has_removed_changes_nothing(job: ScoreJob) -> None:
    for size in (2, 3):
        job.put("k1.csv", rows(2.0, count=size))
        job.score()
    for name in Index(job.assembly().output).files(1):
        (job.out / "index" / name).unlink()

    with pytest.raises(ConfigurationError, match="version 1"):
        job.predictions.rollback(1)

    assert job.keys()["k1"] == 3
    assert counts(job.score()) == (0, 4, 0, 0)


def test_what_a_version_needs_that_was_made_meanwhile_is_told(job: ScoreJob) -> None:
    for size in (2, 3):
        job.put("k1.csv", rows(2.0, count=size))
        job.score()
    store = job.assembly().output
    old = OldParts(store)
    names = set(job.predictions.files(1)) - set(job.predictions.files(2))
    removed = store.list("predictions/parts")
    job.predictions.rollback(1)
    assert old.lost(removed) == set()

    for name in names:
        (job.out / "predictions" / name).unlink()

    assert old.moved()
    assert old.lost(removed) == names
