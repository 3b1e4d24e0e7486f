"""Predictions that were begun with `append` and go on with `replace`: the newest generation of each key stays."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from job.errors import OtherJobError, OutputError, UnreachableError
from job.registry import lineage
from job.run import compacting, forgetting, part_files
from job.run.run_files import Started
from job.run.scoring_run import ScoringRun
from job.score import generation
from job.worker.scoring import Scoring
from tests.support.score_job import ScoreJob, counts, rows

KEYS = [f"k{number}" for number in range(10)]
REPLACE = {"output": {"mode": "replace"}}


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScoreJob:
    """Ten keys with six rows each; then `k1` and `k5` were scored again, with two and with three rows."""
    monkeypatch.setattr(generation, "MOST_KEYS", 4)
    made = ScoreJob(tmp_path, keys=10)
    made.trained.run()
    made.score()
    for key, count in (("k1", 2), ("k5", 3)):
        made.put(f"{key}.csv", rows(int(key[1:]) + 1.0, count=count))
    made.score()
    assert made.keys() == {**dict.fromkeys(KEYS, 6), "k1": 8, "k5": 9}
    return made


def ranges(job: ScoreJob) -> list[tuple[str, str]]:
    return [(each.first, each.last) for each in job.predictions.held(None) or ()]


def refuse_models(monkeypatch: pytest.MonkeyPatch, *allowed: str) -> None:
    score = Scoring.run

    def checked(self: Scoring, key: str, *given: Any, **more: Any) -> Any:
        assert key in allowed, f"the model of {key} was loaded"
        return score(self, key, *given, **more)

    monkeypatch.setattr(Scoring, "run", checked)


@pytest.mark.parametrize("most", [4_000_000, 7], ids=["at once", "by stretches"])
def test_the_first_run_that_replaces_leaves_the_newest_generation_of_each_key_and_loads_no_model_for_that(
    job: ScoreJob, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(compacting, "MOST_ROWS", most)
    newest = {row["_key"]: row["_scored_at"] for row in job.table().sort_by("_scored_at").to_pylist()}
    job.put("k7.csv", rows(8.0, count=1))
    refuse_models(monkeypatch, "k7")

    assert counts(job.score(**REPLACE)) == (1, 9, 0, 0)

    assert job.keys() == {**dict.fromkeys(KEYS, 6), "k1": 2, "k5": 3, "k7": 1}
    found = {row["_key"]: row["_scored_at"] for row in job.table().to_pylist()}
    assert {key for key in KEYS if found[key] != newest[key]} == {"k7"}
    assert ranges(job)[0][0] == "k0"
    assert ranges(job)[-1][1] == "k9"
    assert list(job.predictions.damaged()) == []
    compacted = job.predictions.history(2)[1]
    assert (compacted.operation, compacted.removed) == ("compact", 12)
    assert counts(job.score(**REPLACE)) == (0, 10, 0, 0)


def test_after_that_nobody_appends(job: ScoreJob) -> None:
    job.score(**REPLACE)

    with pytest.raises(OtherJobError, match=r"one generation of each key, and output\.mode is append"):
        job.score()

    assert job.keys()["k1"] == 2


def test_an_output_whose_first_release_replaces_is_not_appended_to_though_it_was_begun_to_be(tmp_path: Path) -> None:
    job = ScoreJob(tmp_path, keys=2)
    job.trained.run()
    for name in ("k0.csv", "k1.csv"):
        job.put(name, b"not a table")
    assert not job.score(run={"max_failed": 2}).published or job.predictions.version() is None
    job.put("k0.csv", rows(1.0))
    job.score(**REPLACE, run={"max_failed": 2})
    job.put("k0.csv", rows(1.0, count=2))

    with pytest.raises(OtherJobError, match=r"one generation of each key, and output\.mode is append"):
        job.score()


def test_a_plan_of_the_first_run_that_replaces_changes_nothing(job: ScoreJob) -> None:
    made = job.assembly(**REPLACE)
    before = job.predictions.version()
    plan, _ = ScoringRun(made).plan(made, Started(id="a", plan="b", at=datetime.now(UTC)), None)

    assert plan.planned == 10
    assert job.predictions.version() == before


def test_a_rollback_brings_all_generations_back_and_the_next_run_compacts_again(job: ScoreJob) -> None:
    job.score(**REPLACE)
    job.put("k7.csv", rows(8.0, count=1))
    job.score(**REPLACE)
    versions = {each.version: each.operation for each in job.predictions.history()}
    assert list(versions.values()) == ["release", "compact", "release", "release", "create"]

    job.predictions.rollback(2)
    assert (job.keys()["k1"], job.keys()["k7"]) == (8, 6)
    assert counts(job.score(**REPLACE)) == (1, 9, 0, 0)
    assert job.keys() == {**dict.fromkeys(KEYS, 6), "k1": 2, "k5": 3, "k7": 1}
    job.predictions.rollback(3)
    assert job.keys() == {**dict.fromkeys(KEYS, 6), "k1": 2, "k5": 3}
    assert counts(job.score(**REPLACE)) == (1, 9, 0, 0)


@pytest.mark.parametrize("after", [False, True], ids=["before the commit", "after it"])
def test_a_run_that_dies_while_it_compacts_leaves_each_row_once(
    job: ScoreJob, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    commit = compacting.compaction.compact

    def die(*given: Any, **more: Any) -> int:
        if after:
            commit(*given, **more)
        raise UnreachableError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(compacting.compaction, "compact", die)
        with pytest.raises(OutputError, match="killed"):
            job.score(**REPLACE)
    assert job.keys()["k1"] == (2 if after else 8)

    assert counts(job.score(**REPLACE)) == (0, 10, 0, 0)

    assert job.keys() == {**dict.fromkeys(KEYS, 6), "k1": 2, "k5": 3}
    assert [each.operation for each in job.predictions.history()].count("compact") == 1


def test_a_run_that_appends_meanwhile_is_not_lost(job: ScoreJob, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = compacting.compaction.compact

    def second(*given: Any, **more: Any) -> int:
        job.put("k2.csv", rows(3.0, count=1))
        job.score()
        return commit(*given, **more)

    with monkeypatch.context() as patched:
        patched.setattr(compacting.compaction, "compact", second)
        with pytest.raises(OutputError, match="another run released"):
            job.score(**REPLACE)
    assert job.keys()["k2"] == 7

    assert counts(job.score(**REPLACE)) == (0, 10, 0, 0)
    assert job.keys() == {**dict.fromkeys(KEYS, 6), "k1": 2, "k2": 1, "k5": 3}


@pytest.mark.parametrize(("on_gone", "keys"), [("keep", 10), ("retire", 9)])
def test_gone_keys_stay_unless_they_are_retired(job: ScoreJob, on_gone: str, keys: int) -> None:
    (job.data / "k4.csv").unlink()
    if on_gone == "retire":
        job.score(input={"on_gone": "retire"})  # appending: the key leaves the index, its rows stay
        assert job.keys()["k4"] == 6

    job.score(**REPLACE, input={"on_gone": on_gone})

    assert len(job.keys()) == keys


def test_a_key_that_fails_or_is_skipped_keeps_its_newest_generation(job: ScoreJob) -> None:
    job.put("k1.csv", b"id,y\n1,2\n")
    job.put("k5.csv", b"id,x,y\n")
    assert counts(job.score(run={"max_failed": 1})) == (0, 8, 1, 1)

    job.score(**REPLACE, run={"max_failed": 1})

    assert (job.keys()["k1"], job.keys()["k5"]) == (2, 3)


def test_what_is_newest_is_told_by_the_releases_and_not_by_the_times_in_the_rows(
    job: ScoreJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that was taken over is older than the release before it."""
    names = {each: number for number, each in enumerate(sorted(job.predictions.files()))}
    turned = {name: -number for name, number in names.items()}
    monkeypatch.setattr(lineage, "ranks", lambda *_: turned)
    old = max(turned, key=lambda name: turned[name])
    keys = dict(part_files.rows(job.assembly().output, old, ["_key"])["_key"].value_counts().to_pylist()[0])

    job.score(**REPLACE)

    assert job.keys()[str(keys["values"])] == keys["counts"]


def test_parts_keep_their_order_through_rollbacks_and_forget(job: ScoreJob) -> None:
    def newest() -> dict[str, int]:
        """The number of rows of the newest part of two keys."""
        output, version = job.assembly().output, job.predictions.version()
        assert version is not None
        order = lineage.ranks(output, "predictions", version)
        assert order.keys() == job.predictions.files().keys()
        found: dict[str, int] = {}
        for path in sorted(order, key=lambda path: order[path]):
            counted = part_files.rows(output, path, ["_key"])["_key"].value_counts().to_pylist()
            found |= {str(each["values"]): each["counts"] for each in counted}
        return {key: found[key] for key in ("k1", "k5")}

    assert newest() == {"k1": 2, "k5": 3}
    job.predictions.rollback(1)
    assert newest() == {"k1": 6, "k5": 6}
    job.put("k1.csv", rows(2.0, count=1))
    job.score()
    assert newest() == {"k1": 1, "k5": 3}
    job.predictions.rollback(2)
    assert newest() == {"k1": 2, "k5": 3}
    output = job.assembly().output
    forgetting.forget(output, forgetting.find(output, ["k0"]))
    assert newest() == {"k1": 2, "k5": 3}
    (job.data / "k0.csv").unlink()
    assert job.score(**REPLACE).exit_code == 0
    kept = job.keys()
    assert (kept["k1"], kept["k5"], "k0" in kept) == (1, 3, False)


def test_a_table_that_another_tool_has_rewritten_is_refused_by_name(job: ScoreJob) -> None:
    table = DeltaTable(str(job.out / "predictions"))
    table.optimize.compact()
    with pytest.raises(OutputError, match="was not written by manyfit"):
        job.score(**REPLACE)
    table.restore(2)  # the files are those of before; in which order they came, its log does not say any more

    with pytest.raises(OutputError, match=r"newest cannot be told.* commit 4 is not of manyfit"):
        job.score(**REPLACE)

    job.predictions.rollback(2)  # as the message says
    assert job.score(**REPLACE).exit_code == 0
    assert job.keys() == {**dict.fromkeys(KEYS, 6), "k1": 2, "k5": 3}
