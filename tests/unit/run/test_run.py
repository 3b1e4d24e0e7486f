"""A run from objects to the published set, on a folder and in one process (``inline``): what is trained, kept, published."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from job.engine import Engine, EngineReport
from job.engine.inline import InlineEngine
from job.errors import (
    HeldError,
    InputError,
    InterruptedRun,
    OtherJobError,
    OutputError,
    UnreachableError,
)
from job.run.assembly import Assembly, assemble
from job.run.report import lines
from job.run.run import run
from job.worker.direct import Work
from tests.support.folder_job import Job, counts, line


@pytest.fixture
def job(tmp_path: Path) -> Job:
    made = Job(tmp_path)
    for number in range(6):
        made.put(f"k{number}.csv.gz", line(number + 1.0))
    return made


def test_each_object_becomes_one_right_model_and_the_numbers_add_up(job: Job) -> None:
    report = job.run()

    assert counts(report) == (6, 0, 0, 0)
    assert report.exit_code == 0
    models = job.models()
    assert sorted(models) == [f"k{n}" for n in range(6)]
    for number in range(6):
        assert models[f"k{number}"].coef_[0] == pytest.approx(number + 1.0, abs=1e-6)


def test_a_second_run_trains_nothing_reads_nothing_and_publishes_nothing(job: Job) -> None:
    first = job.run()

    def refuse(_: Assembly) -> Engine:
        raise AssertionError("an engine was started")

    second = job.run(engine=refuse)

    assert counts(second) == (0, 6, 0, 0)
    assert second.version == first.version
    assert not second.published


def test_a_changed_object_alone_is_trained_again(job: Job) -> None:
    job.run()
    job.put("k3.csv.gz", line(42.0))

    report = job.run()

    assert counts(report) == (1, 5, 0, 0)
    assert job.models()["k3"].coef_[0] == pytest.approx(42.0, abs=1e-6)


def test_a_key_of_run_retrain_alone_is_trained_again_and_the_next_run_leaves_it_alone(job: Job) -> None:
    first = job.run()
    before = job.row("k3")

    again = job.run(run={"retrain": ["k3"]})

    assert counts(again) == (1, 5, 0, 0)
    assert (again.version or 0) > (first.version or 0)
    assert job.row("k3")["run"] == again.run
    assert (job.row("k3")["digest"], job.row("k3")["recipe"]) == (before["digest"], before["recipe"])
    assert counts(job.run()) == (0, 6, 0, 0)


def test_equal_bytes_under_a_new_time_are_read_but_not_fitted_and_the_next_run_does_not_read_them(job: Job) -> None:
    job.run()
    path = job.data / "k3.csv.gz"
    body = path.read_bytes()
    path.unlink()
    path.write_bytes(body)

    touched = job.run()
    again = job.run()

    assert counts(touched) == (0, 6, 0, 0)
    assert touched.totals.touched == 1
    assert again.totals.touched == 0


def test_a_changed_recipe_trains_every_key_again(job: Job) -> None:
    job.run()

    assert counts(job.run(recipe={"version": "2"})) == (6, 0, 0, 0)


def test_a_broken_object_is_a_named_row_and_the_others_are_published(job: Job) -> None:
    job.put("k2.csv.gz", line(3.0)[:60])

    report = job.run()

    assert counts(report) == (5, 0, 0, 1)
    assert report.exit_code == 6
    assert report.published
    assert report.failures == {"corrupt_compression": 1}
    assert report.examples[0]["key"] == "k2"
    assert len(job.models()) == 5
    assert (job.out / f"runs/{report.run}/failures/k2.txt").read_text().startswith("k2\n")


def test_a_failed_key_is_tried_again_by_the_next_run_and_heals(job: Job) -> None:
    job.put("k2.csv.gz", b"no gzip")
    job.run()
    job.put("k2.csv.gz", line(3.0))

    report = job.run()

    assert counts(report) == (1, 5, 0, 0)
    assert report.exit_code == 0


def test_the_old_good_model_stays_live_and_is_marked_stale_when_its_retraining_fails(job: Job) -> None:
    job.run()
    job.put("k2.csv.gz", b"no gzip")

    report = job.run()

    assert counts(report) == (0, 5, 0, 1)
    assert job.row("k2")["state"] == "stale"
    assert job.row("k2")["reason"] == "corrupt_compression"
    assert job.models()["k2"].coef_[0] == pytest.approx(3.0, abs=1e-6)


def test_the_same_failure_again_commits_nothing(job: Job) -> None:
    job.put("k2.csv.gz", b"no gzip")
    first = job.run()

    assert job.run().version == first.version


def test_failures_within_max_failed_are_success(job: Job) -> None:
    job.put("k2.csv.gz", b"no gzip")

    assert job.run(run={"max_failed": 1}).exit_code == 0
    assert job.run(run={"max_failed": "10%"}).exit_code == 6
    assert job.run(run={"max_failed": "20%"}).exit_code == 0


def test_all_or_nothing_publishes_nothing_when_too_many_fail(job: Job) -> None:
    job.put("k2.csv.gz", b"no gzip")

    report = job.run(run={"publish": "all_or_nothing"})

    assert report.exit_code == 6
    assert not report.published
    assert report.version is None


def test_an_empty_object_is_skipped_and_is_not_read_again(job: Job) -> None:
    job.put("k2.csv.gz", gzip.compress(b"x,y\n"))

    first, second = job.run(), job.run()

    assert counts(first) == (5, 0, 1, 0)
    assert first.skips == {"empty": 1}
    assert counts(second) == (0, 5, 1, 0)
    assert first.exit_code == second.exit_code == 0


def test_an_empty_object_fails_where_the_settings_say_so(job: Job) -> None:
    job.put("k2.csv.gz", gzip.compress(b"x,y\n"))

    assert job.run(input={"on_empty": "fail"}).failures == {"empty": 1}


def test_too_few_rows_are_skipped_by_name(job: Job) -> None:
    job.put("k2.csv.gz", line(1.0, rows=5))

    assert job.run(recipe={"min_rows": 10}).skips == {"too_few_rows": 1}


class DiesAfter(InlineEngine):
    """An engine whose driver dies when the tasks are done: nothing is settled or published."""

    def run(self, work: Work, tasks: int, tick: Callable[[], None]) -> EngineReport:
        super().run(work, tasks, tick)
        raise UnreachableError("the store went away")


class Interrupted(InlineEngine):
    """Ctrl-C after the tasks have done some work."""

    def run(self, work: Work, tasks: int, tick: Callable[[], None]) -> EngineReport:
        super().run(work, tasks, tick)
        raise KeyboardInterrupt


def test_a_rate_below_ten_and_a_single_failure_are_said_as_a_person_would(job: Job) -> None:
    job.put("k0.csv.gz", b"not gzip")
    done = replace(job.run(), phases={"train": 10.0}, warnings=1)

    said = "\n".join(lines(done))
    assert "0.5 models/s" in said
    assert "1 model with warnings" in said


def test_a_run_that_died_is_taken_over_and_nothing_is_trained_twice(job: Job) -> None:
    with pytest.raises(OutputError, match="the store went away"):
        job.run(engine=lambda _: DiesAfter())
    assert assemble(job.settings()).index.version() is None
    job.put("k3.csv.gz", line(42.0))

    report = job.run()

    assert counts(report) == (6, 0, 0, 0)
    assert report.totals.adopted == 5
    assert job.models()["k3"].coef_[0] == pytest.approx(42.0, abs=1e-6)


def test_what_a_driver_that_is_started_again_takes_over_from_its_first_life_is_counted(job: Job) -> None:
    with pytest.raises(OutputError, match="the store went away"):
        job.run(run={"application": "nightly-17"}, engine=lambda _: DiesAfter())

    report = job.run(run={"application": "nightly-17"})

    assert counts(report) == (6, 0, 0, 0)
    assert report.totals.adopted == 6


def test_a_failure_of_a_run_that_died_is_never_taken_over(job: Job) -> None:
    job.put("k2.csv.gz", b"no gzip")
    with pytest.raises(OutputError):
        job.run(engine=lambda _: DiesAfter())

    report = job.run()

    assert report.totals.adopted == 5
    assert report.totals.failed == 1


def test_an_interrupted_run_says_what_is_kept_and_how_to_go_on(job: Job) -> None:
    with pytest.raises(InterruptedRun, match=r"6 of 6 partitions are finished and kept") as caught:
        job.run(engine=lambda _: Interrupted())

    assert caught.value.exit_code == 130
    assert "same command again" in caught.value.hint


def test_a_run_id_that_ended_answers_at_once_with_its_recorded_exit_code(job: Job) -> None:
    job.put("k2.csv.gz", b"no gzip")
    first = job.run(run={"id": "nightly"})
    job.put("k2.csv.gz", line(3.0))

    second = job.run(run={"id": "nightly"})

    assert first.exit_code == second.exit_code == 6
    assert second.finished_at == first.finished_at


def test_the_run_of_an_application_is_the_same_for_a_retry_and_another_for_another_document(job: Job) -> None:
    first = job.run(run={"application": "nightly-17"})
    retry = job.run(run={"application": "nightly-17"})
    other = job.run(run={"application": "nightly-17", "seed": 5})

    assert first.run == retry.run
    assert first.run.startswith("nightly-17-")
    assert other.run != first.run


def test_another_job_is_refused_at_an_output_that_is_not_its_own(job: Job) -> None:
    job.run()
    settings = job.settings().model_copy(update={"name": "another"})

    with pytest.raises(OtherJobError, match="name is 'manyfit' there and 'another' here"):
        run(assemble(settings), {})


def test_an_input_with_a_typo_does_not_claim_the_output(job: Job) -> None:
    with pytest.raises(InputError):
        job.run(input={"uri": str(job.data) + "-typo"})

    assert job.run().totals.trained == job.run().totals.unchanged > 0


def test_a_key_that_is_gone_stays_with_a_date_and_comes_back_unread(job: Job) -> None:
    job.run()
    path = job.data / "k2.csv.gz"
    aside = job.data.parent / "aside"
    path.rename(aside)

    gone = job.run()
    assert gone.totals.gone == 1
    assert job.row("k2")["gone_since"] is not None
    assert "k2" in job.models()

    aside.rename(path)
    back = job.run()
    assert counts(back) == (0, 6, 0, 0)
    assert job.row("k2")["gone_since"] is None


def test_gone_keys_are_retired_on_request_but_never_more_than_a_tenth(job: Job) -> None:
    for number in range(6, 12):
        job.put(f"k{number}.csv.gz", line(number + 1.0))
    job.run()
    (job.data / "k2.csv.gz").unlink()
    job.run(input={"on_gone": "retire"})
    assert "k2" not in job.models()

    for number in (3, 4):
        (job.data / f"k{number}.csv.gz").unlink()
    with pytest.raises(InputError, match="would take 2 of 11 published keys"):
        job.run(input={"on_gone": "retire"})


def test_keys_are_retired_beside_objects_that_match_leaves_out_and_not_because_it_does(
    job: Job, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(6, 12):
        job.put(f"k{number}.csv.gz", line(number + 1.0))
    job.put("readme.txt", b"hello")
    wanted: dict[str, Any] = {"on_gone": "retire", "match": "*.csv.gz"}
    job.run(input=wanted)
    (job.data / "k2.csv.gz").unlink()
    job.run(input={**wanted, "limit": 5})
    assert "k2" in job.models()
    assert "takes no key out in this run" in caplog.text

    job.run(input=wanted)
    assert "k2" not in job.models()
    assert job.run(input={**wanted, "match": "k1*.csv.gz"}).totals.gone == 0
    assert len(job.models()) == 11


def test_a_held_rollback_refuses_runs_until_it_is_resumed(job: Job) -> None:
    first = job.run()
    job.put("k3.csv.gz", line(42.0))
    job.run()
    index = assemble(job.settings()).index
    assert first.version is not None
    index.rollback(first.version, hold=True)

    with pytest.raises(HeldError, match="a rollback holds"):
        job.run()
    assert job.models()["k3"].coef_[0] == pytest.approx(4.0, abs=1e-6)
    index.resume()
    assert counts(job.run())[0] == 1


def test_the_settings_of_a_run_are_recorded_without_what_is_default(job: Job) -> None:
    report = job.run()

    record = json.loads((job.out / f"runs/{report.run}/run.json").read_text())
    assert record["settings"]["recipe"]["target"] == "y"
    assert "run" not in record["settings"]


def test_hive_levels_are_columns_of_the_frame(tmp_path: Path) -> None:
    job = Job(tmp_path)
    for store in (1, 2):
        for item in (1, 2, 3):
            job.put(f"store={store}/item={item}/part-0.csv.gz", line(store * 10.0))
    overrides = {"input": {"layout": "hive", "keys": ["store"]}, "recipe": {"features": ["x", "item"]}}

    report = job.run(**overrides)

    assert counts(report) == (2, 0, 0, 0)
    model = job.models()["store=2"]
    assert list(model.feature_names_in_) == ["x", "item"]
    assert model.coef_[0] == pytest.approx(20.0, abs=1e-6)


@pytest.mark.parametrize(
    "name", ["a b", "100%", "k=v", "Zürich", "名前", "a#b?c", "Congo, Dem. Rep.", "x" * 120, "a+b&c"]
)
def test_odd_keys_are_trained_published_and_found_by_their_exact_text(tmp_path: Path, name: str) -> None:
    job = Job(tmp_path)
    job.put(f"{name}.csv.gz", line(2.0))
    job.put(f"deep/{name}.csv.gz", line(3.0))

    assert counts(job.run()) == (2, 0, 0, 0)
    assert job.models()[name].coef_[0] == pytest.approx(2.0, abs=1e-6)
    assert counts(job.run()) == (0, 2, 0, 0)


def test_the_same_inputs_give_the_same_model_files(tmp_path: Path) -> None:
    digests = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        job = Job(tmp_path / name)
        job.put("k.csv.gz", line(2.0))
        forest = {"_target_": "sklearn.ensemble.RandomForestRegressor", "n_estimators": 5}
        job.run(recipe={"estimator": forest})
        digests.append(job.row("k")["digest"])

    assert digests[0] == digests[1]
