"""Predictions with one generation a key: replaced, retired, copied without a model, rolled back, made good."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from job.errors import OtherJobError, OutputError, UnreachableError
from job.registry.index import Index
from job.run import forgetting, part_files, replacing, scored_before
from job.score import generation
from job.worker.scoring import Scoring
from tests.support.folder_job import line
from tests.support.score_job import ScoreJob, counts, rows


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "MOST_KEYS", 4)


@pytest.fixture
def job(tmp_path: Path) -> ScoreJob:
    made = ScoreJob(tmp_path, keys=0)
    for number in range(10):
        made.trained.put(f"k{number}.csv.gz", line(number + 1.0))
        made.put(f"k{number}.csv", rows(number + 1.0))
    made.trained.run()
    made.overrides = {"output": {"mode": "replace"}}
    return made


def parts(job: ScoreJob) -> set[str]:
    return set(job.predictions.files())


def refuse_models(monkeypatch: pytest.MonkeyPatch, *allowed: str) -> None:
    run = Scoring.run

    def checked(self: Scoring, key: str, *given: Any, **more: Any) -> Any:
        assert key in allowed, f"the model of {key} was loaded"
        return run(self, key, *given, **more)

    monkeypatch.setattr(Scoring, "run", checked)


def test_the_first_run_lays_neighbouring_keys_in_parts_and_copies_nothing(
    job: ScoreJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_files, "put", lambda *given: pytest.fail("rows were copied"))

    assert counts(job.score()) == (10, 0, 0, 0)

    spans = sorted((each.first, each.last, each.rows) for each in job.predictions.held(1))
    assert spans == [("k0", "k3", 24), ("k4", "k7", 24), ("k8", "k9", 12)]
    assert job.keys() == dict.fromkeys((f"k{number}" for number in range(10)), 6)


def test_a_changed_key_is_replaced_and_its_neighbours_are_copied_without_a_model(
    job: ScoreJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.score()
    before, kept = parts(job), job.table().to_pandas().query("_key != 'k5'").sort_values(["_key", "id"])
    job.put("k5.csv", rows(6.0, count=3))
    refuse_models(monkeypatch, "k5")

    report = job.score()

    assert counts(report) == (1, 9, 0, 0)
    assert job.keys() == {**dict.fromkeys((f"k{number}" for number in range(10)), 6), "k5": 3}
    assert len(before & parts(job)) == 2
    found = job.table().to_pandas().query("_key != 'k5'").sort_values(["_key", "id"])
    assert found.reset_index(drop=True).equals(kept.reset_index(drop=True))
    assert (job.predictions.history(1)[0].inserted, job.predictions.history(1)[0].removed) == (3, 6)


def test_a_run_that_replaces_all_keys_of_a_part_does_not_copy(job: ScoreJob, monkeypatch: pytest.MonkeyPatch) -> None:
    first = job.score()
    monkeypatch.setattr(part_files, "put", lambda *given: pytest.fail("rows were copied"))

    report = job.score(score={"again": True})

    assert counts(report) == (10, 0, 0, 0)
    assert set(job.table()["_run"].to_pylist()) == {report.run} != {first.run}
    assert job.table().num_rows == 60


def test_new_keys_go_where_their_neighbours_are_and_a_part_that_grows_is_divided(job: ScoreJob) -> None:
    job.score()
    for name in ("k10", "a", "z"):
        job.trained.put(f"{name}.csv.gz", line(2.0))
        job.put(f"{name}.csv", rows(2.0))
    job.trained.run()

    job.score()

    spans = sorted((each.first, each.last) for each in job.predictions.held(2))
    assert spans == [("a", "k1"), ("k10", "k3"), ("k4", "k7"), ("k8", "z")]
    assert set(job.keys().values()) == {6}
    assert len(job.keys()) == 13


def test_gone_keys_stay_unless_they_are_to_be_retired(job: ScoreJob) -> None:
    job.score()
    (job.data / "k4.csv").unlink()

    kept = job.score()
    assert (kept.totals.gone, "k4" in set(job.keys())) == (1, True)
    retired = job.score(input={"on_gone": "retire"})

    assert retired.published
    assert "k4" not in set(job.keys())
    assert len(job.keys()) == 9
    assert Index(job.assembly().output).read(keys=["k4"]).num_rows == 0
    assert not job.score(input={"on_gone": "retire"}).published
    job.put("k4.csv", rows(5.0))
    assert counts(job.score()) == (1, 9, 0, 0)
    assert job.keys()["k4"] == 6


def test_a_key_that_fails_keeps_its_last_generation(job: ScoreJob) -> None:
    job.score()
    job.put("k2.csv", b"id,y\n1,2\n")
    job.put("k3.csv", rows(4.0, count=2))

    report = job.score(run={"max_failed": 1})

    assert counts(report) == (1, 8, 0, 1)
    assert (job.keys()["k2"], job.keys()["k3"]) == (6, 2)


def test_a_rollback_takes_the_generation_back_and_the_next_run_replaces_again(job: ScoreJob) -> None:
    job.score()
    job.put("k5.csv", rows(6.0, count=3))
    job.score()
    job.predictions.rollback(1)
    assert job.keys()["k5"] == 6

    assert counts(job.score()) == (1, 9, 0, 0)

    assert job.keys()["k5"] == 3
    assert list(job.predictions.damaged()) == []
    assert len(job.keys()) == 10


def test_plain_readers_and_those_of_the_log_read_each_row_once(job: ScoreJob) -> None:
    job.score()
    job.put("k5.csv", rows(6.0, count=3))
    job.score()

    table = DeltaTable(str(job.out / "predictions"))

    plain = pa.concat_tables([pq.read_table(name) for name in table.file_uris()], promote_options="default")
    assert plain.num_rows == job.table().num_rows == 57
    assert table.protocol().min_reader_version == 1


def test_an_output_that_replaces_is_not_appended_to(job: ScoreJob) -> None:
    job.score()

    with pytest.raises(OtherJobError, match="mode is 'replace' there and 'append' here"):
        job.score(output={"mode": "append"})


def test_a_release_that_died_before_its_commit_or_after_it_leaves_each_row_once(
    job: ScoreJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.score()

    def die(*_: Any, **__: Any) -> None:
        raise UnreachableError("killed")

    for number, (place, name) in enumerate(((replacing, "replace"), (scored_before, "derive"))):
        job.put("k5.csv", rows(6.0, count=number + 1))
        job.put("k9.csv", rows(6.0, count=number + 1))
        with monkeypatch.context() as patched:
            patched.setattr(place, name, die)
            with pytest.raises(OutputError, match="killed"):
                job.score()
        report = job.score()

        assert report.exit_code == 0
        assert (job.keys()["k5"], job.keys()["k9"], len(job.keys())) == (number + 1, number + 1, 10)
        assert counts(job.score())[1] == 10


def test_whatever_changes_each_key_has_its_last_generation_and_no_other(
    job: ScoreJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("job.run.run.MOST_RETIRED", 1.0)
    dice = random.Random(5)
    expected = {f"k{number}": 6 for number in range(10)}
    job.score()
    for _ in range(6):
        for _ in range(dice.randint(1, 5)):
            key, size = f"k{dice.randint(0, 19)}", dice.randint(1, 9)
            if key in expected and dice.random() < 0.2:
                (job.data / f"{key}.csv").unlink(missing_ok=True)
                expected.pop(key)
                continue
            if key not in expected:
                job.trained.put(f"{key}.csv.gz", line(2.0))
                job.trained.run()
            job.put(f"{key}.csv", rows(2.0, count=size))
            expected[key] = size
        job.score(input={"on_gone": "retire"})

        assert job.keys() == expected
        held = job.predictions.held(None)
        assert all(one.last < other.first for one, other in pairwise(held))
        assert list(job.predictions.damaged()) == []


def test_a_key_is_forgotten_and_the_other_keys_of_its_part_are_replaced_as_before(job: ScoreJob) -> None:
    job.score()
    output = job.assembly().output
    forgetting.forget(output, forgetting.find(output, ["k1"]))
    (job.data / "k1.csv").unlink()
    assert "k1" not in set(job.keys())
    job.put("k0.csv", rows(1.0, count=2))

    assert counts(job.score()) == (1, 8, 0, 0)

    assert (job.keys()["k0"], job.keys()["k2"], len(job.keys())) == (2, 6, 9)
    assert sorted((each.first, each.last) for each in job.predictions.held(None))[0] == ("k0", "k3")
