"""Scoring a fleet, on a folder and in one process: each row once, by the right model, and never twice whatever dies."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from deltalake.exceptions import CommitFailedError

from job.engine import Engine, EngineReport
from job.engine.inline import InlineEngine
from job.errors import (
    AccountingError,
    ConfigurationError,
    DamageError,
    InputError,
    OtherJobError,
    OutputError,
    UnreachableError,
)
from job.registry.delta_log import Table
from job.registry.index import Index
from job.registry.model_set import ModelSet
from job.registry.predictions import Predictions
from job.run import scored_before
from job.run.assembly import Assembly
from job.run.report import lines
from job.worker.direct import Work, work_on
from tests.support.folder_job import line
from tests.support.score_job import ScoreJob, counts, rows


@pytest.fixture
def job(tmp_path: Path) -> ScoreJob:
    made = ScoreJob(tmp_path)
    made.trained.run()
    return made


def refuse(_: Assembly) -> Engine:
    raise AssertionError("an engine was started")


def test_each_row_is_written_once_and_as_its_own_model_predicts_it_to_the_last_bit(job: ScoreJob) -> None:
    report = job.score()

    assert counts(report) == (4, 0, 0, 0)
    assert (report.totals.rows_read, report.totals.rows_written, report.exit_code) == (24, 24, 0)
    models, found = job.trained.models(), job.table().to_pandas()
    assert len(found) == 24
    for key, part in found.groupby("_key"):
        given = pd.read_csv(job.data / f"{key}.csv")
        assert part["prediction"].tolist() == models[key].predict(given[["x"]]).tolist()
        assert part["id"].tolist() == given["id"].tolist()
        assert set(part["_model"]) == {models.info(key)["digest"]}
    assert set(found["_models_version"]) == {1}
    assert set(found["_run"]) == {report.run}


def test_what_was_scored_is_neither_read_nor_loaded_again(job: ScoreJob) -> None:
    first = job.score()
    for path in (job.trained.out / "models").rglob("*.joblib"):
        path.unlink()

    second = job.score(engine=refuse)

    assert counts(second) == (0, 4, 0, 0)
    assert second.version == first.version
    assert job.table().num_rows == 24


def test_a_new_model_or_new_rows_are_scored_and_the_other_keys_are_not(job: ScoreJob) -> None:
    job.score()
    job.trained.put("k1.csv.gz", line(9.0))
    job.trained.run()
    job.put("k2.csv", rows(2.0, count=3))

    report = job.score()

    assert counts(report) == (2, 2, 0, 0)
    assert job.keys() == {"k0": 6, "k1": 12, "k2": 9, "k3": 6}


def test_equal_rows_under_a_new_time_are_read_and_not_written_again(job: ScoreJob) -> None:
    job.score()
    body = (job.data / "k1.csv").read_bytes()
    (job.data / "k1.csv").unlink()
    job.put("k1.csv", body)

    report = job.score()

    assert counts(report) == (0, 4, 0, 0)
    assert report.totals.touched == 1
    assert job.keys()["k1"] == 6


def test_equal_rows_under_a_new_time_are_scored_where_the_model_is_another(job: ScoreJob) -> None:
    job.score()
    body = (job.data / "k1.csv").read_bytes()
    (job.data / "k1.csv").unlink()
    job.put("k1.csv", body)
    job.trained.put("k1.csv.gz", line(9.0))
    job.trained.run()

    assert counts(job.score()) == (1, 3, 0, 0)
    assert job.keys()["k1"] == 12


def test_again_scores_what_was_scored_before(job: ScoreJob) -> None:
    job.score()

    assert counts(job.score(score={"again": True})) == (4, 0, 0, 0)
    assert counts(job.score()) == (0, 4, 0, 0)


@pytest.mark.parametrize(
    ("policy", "expected", "code", "written"),
    [("skip", (4, 0, 1, 0), 0, 24), ("fail", (4, 0, 0, 1), 6, 24), ({"fallback": "k2"}, (5, 0, 0, 0), 0, 30)],
)
def test_a_key_without_a_model_is_dealt_with_by_policy(
    job: ScoreJob, policy: Any, expected: tuple[int, ...], code: int, written: int
) -> None:
    job.put("new.csv", rows(1.0))

    report = job.score(score={"missing_model": policy})

    assert counts(report) == expected
    assert report.exit_code == code
    assert {**report.failures, **report.skips} == ({} if written == 30 else {"no_model": 1})
    assert job.table().num_rows == written
    if written == 30:
        stand_in = job.trained.models().info("k2")["digest"]
        assert set(job.table().filter(pa.compute.equal(job.table()["_key"], "new"))["_model"].to_pylist()) == {stand_in}


def test_a_fallback_without_a_model_is_refused(job: ScoreJob) -> None:
    with pytest.raises(ConfigurationError, match="no model of 'zz'"):
        job.score(score={"missing_model": {"fallback": "zz"}})


def test_a_key_that_was_skipped_is_scored_once_it_has_a_model(job: ScoreJob) -> None:
    job.put("new.csv", rows(5.0))
    job.score()
    assert counts(job.score(engine=refuse)) == (0, 4, 1, 0)
    job.trained.put("new.csv.gz", line(5.0))
    job.trained.run()

    assert counts(job.score()) == (1, 4, 0, 0)
    assert job.keys()["new"] == 6


def test_a_stale_model_is_used_or_skipped(job: ScoreJob) -> None:
    job.trained.put("k3.csv.gz", gzip.compress(b"x,y\n1,\n2,\n3,\n4,\n"))
    job.trained.run(run={"max_failed": 1})
    assert job.trained.row("k3")["state"] == "stale"

    used = job.score()
    skipped = job.score(score={"stale_model": "skip"}, output={"uri": str(job.out) + "-other"})

    assert counts(used) == (4, 0, 0, 0)
    assert counts(skipped) == (3, 0, 1, 0)
    assert skipped.skips == {"model_stale": 1}


def test_an_old_model_counts_as_missing(job: ScoreJob, monkeypatch: pytest.MonkeyPatch) -> None:
    assert counts(job.score(score={"max_age": "1d"})) == (4, 0, 0, 0)
    later = datetime.now(UTC) + timedelta(days=2)

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return later

    monkeypatch.setattr("job.run.run.datetime", Later)
    report = job.score(score={"max_age": "1d"}, output={"uri": str(job.out) + "-later"})

    assert counts(report) == (0, 0, 4, 0)
    assert report.skips == {"model_too_old": 4}


def test_features_go_by_name_in_any_order_and_one_that_is_missing_fails_its_key_alone(tmp_path: Path) -> None:
    job = ScoreJob(tmp_path, keys=3)
    for number in range(3):
        body = "a,b,y\n" + "".join(f"{at},{at * at},{number + at + 10 * at * at}\n" for at in range(20))
        (job.trained.data / f"k{number}.csv.gz").write_bytes(gzip.compress(body.encode()))
    job.trained.overrides["recipe"] = {"features": ["a", "b"]}
    job.trained.run()
    job.put("k0.csv", b"b,extra,a\n9,z,3\n")
    job.put("k1.csv", b"a,b\n3,9\n")
    job.put("k2.csv", b"a,c\n3,9\n")

    report = job.score(run={"max_failed": 1})

    assert counts(report) == (2, 0, 0, 1)
    assert report.failures == {"missing_feature": 1}
    found = {row["_key"]: row for row in job.table().to_pylist()}
    assert found["k0"]["prediction"] == pytest.approx(0 + 3 + 90)
    assert found["k1"]["prediction"] == pytest.approx(1 + 3 + 90)
    assert found["k0"]["extra"] == "z"
    assert found["k1"]["extra"] is None


def test_probabilities_have_a_column_for_each_class_of_the_set_and_nulls_where_a_model_has_not_seen_it(
    tmp_path: Path,
) -> None:
    job = ScoreJob(tmp_path, keys=2)
    for number, classes in enumerate((["red", "blue"], ["red", "green"])):
        body = "x,y\n" + "".join(f"{at},{classes[at > 10]}\n" for at in range(20))
        (job.trained.data / f"k{number}.csv.gz").write_bytes(gzip.compress(body.encode()))
        job.put(f"k{number}.csv", b"x,y\n1,red\n19,red\n")
    job.trained.overrides["recipe"] = {"estimator": {"_target_": "sklearn.linear_model.LogisticRegression"}}
    job.trained.run()

    report = job.score(score={"method": "predict_proba", "actual": "y"})

    assert counts(report) == (2, 0, 0, 0)
    found = job.table().to_pandas()
    assert [name for name in found if name.startswith("proba_")] == ["proba_blue", "proba_green", "proba_red"]
    assert found[found["_key"] == "k0"]["proba_green"].isna().all()
    chances = job.trained.models()["k1"].predict_proba(pd.DataFrame({"x": [1, 19]}))
    assert found[found["_key"] == "k1"]["proba_green"].tolist() == chances[:, 0].tolist()
    assert set(found.columns) <= {field.name for field in job.predictions.schema() or ()}
    assert job.errors()["k0"]["accuracy"] == 0.5
    assert job.errors()["k0"]["log_loss"] > 0


@pytest.mark.parametrize(("policy", "written"), [("drop", 2), ("null", 3)])
def test_rows_without_a_feature_are_left_out_or_written_without_a_prediction(
    job: ScoreJob, policy: str, written: int
) -> None:
    job.put("k1.csv", b"id,x,y\n1,1,3\n2,,4\n3,3,6\n")
    assert job.score(run={"max_failed": 1}, output={"uri": str(job.out) + "-failed"}).failures == {"missing_values": 1}

    report = job.score(score={"missing": policy})

    assert report.totals.rows_read == 21
    assert report.totals.rows_refused == 3 - written
    part = job.table().to_pandas().query("_key == 'k1'")
    assert part["id"].tolist() == ([1, 3] if policy == "drop" else [1, 2, 3])
    assert part["prediction"].isna().tolist() == ([False, False] if policy == "drop" else [False, True, False])


def test_a_column_whose_name_the_predictions_need_is_refused_before_anything_is_scored(job: ScoreJob) -> None:
    job.put("k0.csv", b"prediction,x\n1,1\n")

    with pytest.raises(ConfigurationError, match=r"'prediction' of the input"):
        job.score(engine=refuse)

    assert counts(job.score(score={"keep": ["x"]})) == (4, 0, 0, 0)


def test_kept_columns_have_one_type_and_a_file_that_does_not_fit_fails_with_the_way_out(job: ScoreJob) -> None:
    job.score()
    job.put("k1.csv", b"id,x\none,1\n")

    report = job.score(run={"max_failed": 1})

    assert report.failures == {"schema_mismatch": 1}
    assert "input.schema" in report.examples[0]["message"]


def test_a_column_that_no_sampled_key_has_is_not_kept_and_its_key_says_so(
    job: ScoreJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("job.run.score_types.TRIED", 1)
    job.put("k3.csv", b"id,x,y,note\n1,1,4,late\n")

    report = job.score()

    assert "note" not in job.table().column_names
    assert report.warnings == 1
    assert any("1 key with warnings" in text for text in lines(report))
    (said,) = Index(job.assembly().output).read(columns=["warnings"], keys=["k3"])["warnings"].to_pylist()
    assert "'note'" in said


def test_an_output_belongs_to_its_models_and_its_input(job: ScoreJob, tmp_path: Path) -> None:
    job.score()

    with pytest.raises(OtherJobError, match="models"):
        job.score(models={"uri": str(tmp_path / "others")})
    with pytest.raises(OtherJobError):
        job.trained.run(output={"uri": str(job.out)})


def test_the_models_are_the_same_however_their_address_is_written(
    job: ScoreJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.score()
    monkeypatch.chdir(job.trained.out.parent)

    for uri in (f"{job.trained.out}/", job.trained.out.name):
        assert counts(job.score(models={"uri": uri})) == (0, 4, 0, 0)
    monkeypatch.chdir(job.data)
    with pytest.raises(OtherJobError, match="models"):
        job.score(models={"uri": job.trained.out.name})


@pytest.mark.parametrize("section", ["models", "input"])
def test_an_address_with_a_typo_does_not_claim_the_output(job: ScoreJob, tmp_path: Path, section: str) -> None:
    with pytest.raises((ConfigurationError, InputError)):
        job.score(**{section: {"uri": str(tmp_path / "typo")}})

    assert counts(job.score()) == (4, 0, 0, 0)


@pytest.mark.parametrize(
    ("sections", "message", "hint"),
    [
        ({"models": {"uri": "."}}, "models.uri: nothing is published at ", "output.uri of a trained job"),
        ({"models": {"uri": "predictions"}}, "models.uri: .*predictions holds predictions", "output.uri of a trained"),
        ({"models": {"at": 9}}, "models.at: .* has no version 9", "`manyfit history .*out` lists"),
        ({"models": {"min_version": 9}}, "version 1, older than models.min_version: 9", "or lower models.min_version"),
        ({"score": {"missing_model": {"fallback": "zz"}}}, "fallback: version 1 of .*out has no model of 'zz'", "'k0'"),
    ],
)
def test_models_that_are_not_there_are_told_by_their_setting_and_the_way_out(
    job: ScoreJob, monkeypatch: pytest.MonkeyPatch, sections: dict[str, Any], message: str, hint: str
) -> None:
    job.score()
    monkeypatch.chdir(job.out.parent)

    with pytest.raises((ConfigurationError, DamageError), match=message) as caught:
        job.score(**sections, output={"uri": str(job.out) + "-2"})

    assert re.search(hint, caught.value.hint)


# -- whatever dies


class Dying(InlineEngine):
    """Ends after the first task, or within one, as a killed driver does."""

    def __init__(self, after: int) -> None:
        self._after = after

    def number_of_tasks(self, costs: Any) -> int:
        return min(2, len(costs))

    def run(self, work: Work, tasks: int, tick: Callable[[], None]) -> EngineReport:
        for task in range(self._after):
            work_on(work, task, 0, expendable=False)
        raise UnreachableError("killed")


def test_a_run_that_dies_is_taken_over_by_whole_parts_and_every_row_is_there_once(job: ScoreJob) -> None:
    with pytest.raises(OutputError, match="killed"):
        job.score(engine=lambda _: Dying(1))
    parts = list((job.out / "predictions").rglob("*.parquet"))
    assert parts

    report = job.score()

    assert counts(report) == (4, 0, 0, 0)
    assert report.totals.adopted == 2
    assert job.keys() == {"k0": 6, "k1": 6, "k2": 6, "k3": 6}


def test_a_part_of_which_one_key_has_changed_since_is_not_taken_over(job: ScoreJob) -> None:
    with pytest.raises(OutputError, match="killed"):
        job.score(engine=lambda _: Dying(2))
    job.put("k0.csv", rows(1.0, count=2))

    report = job.score()

    assert counts(report) == (4, 0, 0, 0)
    assert report.totals.adopted == 2
    assert job.keys() == {"k0": 2, "k1": 6, "k2": 6, "k3": 6}


def test_what_a_release_did_not_get_to_is_made_good_and_no_row_is_written_twice(
    job: ScoreJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any, **__: Any) -> None:
        raise UnreachableError("killed after the commit of the predictions")

    with monkeypatch.context() as patched:
        patched.setattr(scored_before, "derive", die)
        with pytest.raises(OutputError, match="killed"):
            job.score(score={"actual": "y"})
    assert job.table().num_rows == 24
    assert Index(job.assembly().output).version() is None

    report = job.score(engine=refuse, score={"actual": "y"})

    assert counts(report) == (0, 4, 0, 0)
    assert job.table().num_rows == 24
    assert sorted(job.errors()) == ["k0", "k1", "k2", "k3"]


def test_of_two_runs_at_once_the_second_publishes_nothing_and_the_next_finds_all_done(
    job: ScoreJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = Predictions.release

    def overtaken(self: Predictions, *given: Any, **more: Any) -> Any:
        with monkeypatch.context() as patched:
            patched.setattr(Predictions, "release", release)
            job.score()
        return release(self, *given, **more)

    with monkeypatch.context() as patched:
        patched.setattr(Predictions, "release", overtaken)
        with pytest.raises(OutputError, match="another run"):
            job.score()

    assert counts(job.score(engine=refuse)) == (0, 4, 0, 0)
    assert job.table().num_rows == 24


def test_a_driver_that_is_started_again_after_its_release_releases_nothing(job: ScoreJob) -> None:
    job.score(run={"id": "night"})
    (job.out / "runs" / "night" / "result.json").unlink()

    job.score(run={"id": "night"})

    assert job.table().num_rows == 24


def test_a_commit_whose_answer_was_lost_is_found_and_not_made_again(
    job: ScoreJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, lost = Table.append, []

    def losing(self: Table, *given: Any, **more: Any) -> None:
        append(self, *given, **more)
        if self.where.endswith("/predictions") and not lost:
            lost.append(self.where)
            raise CommitFailedError("the answer was lost")

    monkeypatch.setattr(Table, "append", losing)
    report = job.score()

    assert lost
    assert counts(report) == (4, 0, 0, 0)
    assert (report.version, report.published) == (1, True)
    assert job.table().num_rows == 24


class Twice(InlineEngine):
    """Every task is tried again after it has ended, as Spark does with an executor that was lost, guarded."""

    def run(self, work: Work, tasks: int, tick: Callable[[], None]) -> EngineReport:
        for task in range(tasks):
            work_on(work, task, 0, expendable=False)
            for path in Path(work.output.uri).rglob(f"segments/*/t{task:05d}-a0-*"):
                path.unlink()
            work_on(work, task, 1, expendable=False)
        return EngineReport()


def test_a_second_attempt_in_a_guarded_child_writes_the_same_part(job: ScoreJob) -> None:
    report = job.score(engine=lambda _: Twice())

    assert counts(report) == (4, 0, 0, 0)
    assert len(list((job.out / "predictions").rglob("*.parquet"))) == 1
    assert job.table().num_rows == 24


class Half(InlineEngine):
    """The first attempt's outcomes are lost but for one key of the chunk."""

    def run(self, work: Work, tasks: int, tick: Callable[[], None]) -> EngineReport:
        from job.arrow import decode, encode

        for task in range(tasks):
            work_on(work, task, 0, expendable=False)
            (path,) = Path(work.output.uri).rglob(f"segments/*/t{task:05d}-a0-*")
            kept = decode(path.read_bytes()).slice(0, 1)
            path.with_name(path.name.rpartition("-n")[0] + "-n1-f0.arrow").write_bytes(encode(kept))
            path.unlink()
            if self.again:
                work_on(work, task, 1, expendable=False)
        return EngineReport()

    def __init__(self, again: bool) -> None:
        self.again = again


def test_a_chunk_of_which_not_all_is_written_down_is_done_again(job: ScoreJob) -> None:
    assert counts(job.score(engine=lambda _: Half(again=True))) == (4, 0, 0, 0)
    assert job.table().num_rows == 24


def test_a_chunk_of_which_not_all_is_written_down_is_not_released(job: ScoreJob) -> None:
    with pytest.raises(AccountingError, match="4 planned partitions have no outcome"):
        job.score(engine=lambda _: Half(again=False))

    assert job.predictions.version() is None


def test_models_that_gc_removed_meanwhile_end_the_run_by_name(job: ScoreJob) -> None:
    from job.errors import InputError

    class Removing(InlineEngine):
        def run(self, work: Work, tasks: int, tick: Callable[[], None]) -> EngineReport:
            for path in (job.trained.out / "models").rglob("*.joblib"):
                path.unlink()
            return super().run(work, tasks, tick)

    with pytest.raises(InputError, match="gc removed the version"):
        job.score(engine=lambda _: Removing())


def test_models_whose_runs_gc_has_removed_are_applied_all_the_same(job: ScoreJob) -> None:
    for path in (job.trained.out / "runs").rglob("run.json"):
        path.unlink()

    assert counts(job.score()) == (4, 0, 0, 0)


def test_a_damaged_model_fails_its_key_and_is_not_loaded(job: ScoreJob) -> None:
    models = ModelSet.open(str(job.trained.out))
    path = job.trained.out / models.path("k1")
    path.write_bytes(b"x" * path.stat().st_size)

    assert job.score(run={"max_failed": 1}).failures == {"model_damaged": 1}
