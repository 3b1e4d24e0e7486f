"""``manyfit forget``: nothing of a key is left, everything of the others is, and nothing brings it back."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from job.arrow import decode
from job.cli.main import main
from job.engine import EngineReport
from job.engine.inline import InlineEngine
from job.errors import ConfigurationError, ForgottenError, OutputError, UnreachableError
from job.registry.index import Index
from job.registry.model_set import ModelSet
from job.registry.verify import verify
from job.run import forgetting, notice
from job.store import open_store
from job.store.folder import FolderStore
from job.worker.direct import Work
from tests.support.folder_job import Job, counts, line
from tests.support.score_job import ScoreJob, rows
from tests.support.signing_keys import PRIVATE, PUBLIC

KEY, OTHER = "jane.doe", "jane.roe"
PREFIX = "customer-"
"""of keys that no bytes in a file look like by chance"""


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Two versions; in the second the key failed, so that it has a traceback and an old model."""
    made = Job(tmp_path)
    for key in (KEY, OTHER, "k1"):
        made.put(f"{key}.csv.gz", line(2.0))
    made.run()
    made.put(f"{KEY}.csv.gz", line(3.0))
    made.run()
    made.put(f"{KEY}.csv.gz", b"no gzip")
    made.run()
    (made.data / f"{KEY}.csv.gz").unlink()
    return made


def forgotten(out: Path, *keys: str) -> forgetting.Done:
    store = open_store(str(out))
    return forgetting.forget(store, forgetting.find(store, keys))


def tree(out: Path) -> dict[str, str]:
    files = [path for path in sorted(out.rglob("*")) if path.is_file()]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def mentions(out: Path, key: str) -> list[str]:
    """Files that hold the key: in their names, as plain text, or in a column."""
    found = []
    for path in (each for each in sorted(out.rglob("*")) if each.is_file()):
        name, data = str(path.relative_to(out)), path.read_bytes()
        values: list[Any] = []
        if path.suffix in (".parquet", ".arrow"):
            table = pq.ParquetFile(path).read() if path.suffix == ".parquet" else decode(data)
            for column in {"key", "_key"}.intersection(table.column_names):
                values += table[column].to_pylist()
        if f"/{key}/" in f"/{Path(name).parent}/" or key in values or key.encode() in data:
            found.append(name)
    return found


def aged(out: Path) -> None:
    """All was written a day ago: nobody is at work."""
    then = time.time() - 86400
    for path in out.rglob("*"):
        os.utime(path, (then, then))


def test_without_delete_nothing_is_changed_and_it_is_told_what_would_go_and_what_stays(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(job.out)

    assert main(["forget", str(job.out), KEY]) == 0

    told = capsys.readouterr().out
    assert tree(job.out) == before
    assert "1 row of the published table" in told
    assert "2 models" in told
    assert "object versioning" in told
    assert "nothing was removed; --delete removes it" in told


def test_models_of_all_versions_row_traceback_and_outcomes_go_and_the_other_keys_stay(job: Job) -> None:
    others = {key: job.row(key) for key in (OTHER, "k1")}

    assert main(["forget", str(job.out), KEY, "--delete"]) == 0

    assert set(mentions(job.out, KEY)) <= older(job.out)
    assert {key: job.row(key) for key in others} == others
    models = job.models()
    assert sorted(models) == sorted(others)
    assert [models[key].coef_[0] for key in models] == pytest.approx([2.0] * 2, abs=1e-6)


def older(out: Path) -> set[str]:
    """Data files of the published table that only older versions have."""
    index = Index(open_store(str(out)))
    now = index.version()
    assert now is not None
    files = [{f"index/{name}" for name in index.files(version)} for version in range(1, now + 1)]
    return set().union(*files[:-1]) - files[-1]


def test_models_of_a_key_below_it_lie_in_its_folder_and_stay(tmp_path: Path) -> None:
    job = Job(tmp_path)
    for key in ("a", "a/b"):
        job.put(f"{key}.csv.gz", line(2.0))
    job.run()

    forgotten(job.out, "a")

    assert [job.models()[key].coef_[0] for key in job.models()] == pytest.approx([2.0], abs=1e-6)
    assert list(job.models()) == ["a/b"]


def test_old_versions_say_that_the_key_was_forgotten_and_verify_takes_it_for_no_damage(job: Job) -> None:
    done = forgotten(job.out, KEY)
    store = open_store(str(job.out))

    now, then = verify(store), verify(store, at=1)

    assert (now.version, now.damaged, now.forgotten) == (done.version, (), ())
    assert (then.damaged, then.forgotten) == ((), (KEY,))
    with pytest.raises(ForgottenError, match=r"model 'jane\.doe' was forgotten: version 1 still names it"):
        ModelSet.open(str(job.out), at=1)[KEY]
    assert main(["verify", str(job.out), "--at", "2"]) == 0


def test_a_model_that_is_lost_after_the_key_was_trained_again_is_damage(job: Job) -> None:
    forgotten(job.out, KEY)
    job.put(f"{KEY}.csv.gz", line(3.0))
    job.run()
    store = open_store(str(job.out))
    assert (verify(store).damaged, verify(store).checked) == ((), 3)

    next((job.out / "models" / KEY).glob("*.joblib")).unlink()

    assert [key for key, _ in verify(store).damaged] == [KEY]


def test_a_rollback_to_an_older_version_brings_the_others_back_alone(job: Job) -> None:
    forgotten(job.out, KEY)

    Index(open_store(str(job.out))).rollback(1)

    assert sorted(job.models()) == sorted((OTHER, "k1"))
    assert verify(open_store(str(job.out))).damaged == ()
    assert counts(job.run()) == (0, 2, 0, 0)


class DiesAfter(InlineEngine):
    """An engine whose driver dies when the tasks are done: nothing is settled or published."""

    def run(self, work: Work, tasks: int, tick: Callable[[], None]) -> EngineReport:
        super().run(work, tasks, tick)
        raise UnreachableError("the store went away")


def test_what_a_run_that_died_has_trained_of_the_key_is_not_taken_over(job: Job) -> None:
    job.put(f"{KEY}.csv.gz", line(3.0))
    with pytest.raises(OutputError, match="the store went away"):
        job.run(recipe={"version": "2"}, engine=lambda _: DiesAfter())
    with pytest.raises(ConfigurationError, match="may be at work"):
        forgotten(job.out, KEY)
    aged(job.out)

    forgotten(job.out, KEY)

    assert not list((job.out / "models" / KEY).glob("*.joblib"))
    report = job.run(recipe={"version": "2"})
    assert (report.totals.trained, report.totals.adopted) == (3, 2)
    assert verify(open_store(str(job.out))).damaged == ()


def test_a_run_does_not_wait_for_a_forget_that_was_refused(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    job.put(f"{KEY}.csv.gz", line(3.0))
    with pytest.raises(OutputError, match="the store went away"):
        job.run(engine=lambda _: DiesAfter())
    with pytest.raises(ConfigurationError, match="may be at work"):
        forgotten(job.out, KEY)

    def waits(_: float) -> None:
        raise AssertionError("it waits")

    monkeypatch.setattr(notice, "time", SimpleNamespace(sleep=waits))
    assert job.run().published


def test_what_a_run_published_during_the_search_is_not_left_behind_unsaid(job: Job) -> None:
    store = open_store(str(job.out))
    found = forgetting.find(store, [KEY])
    job.put(f"{KEY}.csv.gz", line(5.0))
    job.run()
    with pytest.raises(ConfigurationError, match="another version"):
        forgetting.forget(store, found)

    forgotten(job.out, KEY)
    assert not list((job.out / "models" / KEY).glob("*.joblib"))


class Crash(BaseException):
    """The process ends here."""


@contextlib.contextmanager
def dying(at: int) -> Iterator[None]:
    """The process ends at one of the writes and removals of a folder, counted from 1."""
    write, delete = FolderStore._write, FolderStore.delete
    left = at

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Crash

    def counted_write(store: FolderStore, target: str, data: bytes) -> str:
        count()
        return write(store, target, data)

    def counted_delete(store: FolderStore, names: Iterable[str]) -> int:
        for name in names:
            count()
            delete(store, [name])
        return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FolderStore, "_write", counted_write)
        patch.setattr(FolderStore, "delete", counted_delete)
        yield


def test_called_again_after_a_death_at_any_write_or_removal_it_makes_good_what_is_missing(
    job: Job, tmp_path: Path
) -> None:
    died = 0
    for at in range(1, 200):
        out = tmp_path / f"copy-{at}"
        shutil.copytree(job.out, out)
        try:
            with dying(at):
                forgotten(out, KEY)
        except Crash:
            died += 1
        else:
            break
        forgotten(out, KEY)
        store = open_store(str(out))
        assert forgetting.find(store, [KEY]).empty, at
        assert sorted(ModelSet.open(str(out))) == sorted((OTHER, "k1")), at
        assert (verify(store).damaged, verify(store, at=1).damaged) == ((), ()), at
        assert "forget" in {each.operation for each in Index(store).history()}
        shutil.rmtree(out)
    assert died > 10


def test_a_signed_set_is_signed_again_or_nothing_is_changed(job: Job, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(PRIVATE)
    assert main(["sign", str(job.out), "--signing-key", str(key), "--vouch"]) == 0
    before = tree(job.out)

    assert main(["forget", str(job.out), KEY, "--delete"]) == 2
    assert tree(job.out) == before
    assert main(["forget", str(job.out), KEY, "--delete", "--signing-key", str(key)]) == 0

    assert KEY not in ModelSet.open(str(job.out), public_key=PUBLIC)


def test_a_key_of_which_nothing_is_there_is_refused_and_one_that_was_forgotten_is_not(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["forget", str(job.out), "nobody", "--delete"]) == 2
    assert "holds nothing of 'nobody'" in capsys.readouterr().err
    assert main(["forget", str(job.out), KEY, "--delete"]) == 0
    capsys.readouterr()

    assert main(["forget", str(job.out), KEY, "--delete"]) == 0
    assert "nothing is left of 1 key" in capsys.readouterr().out


def test_settings_that_name_the_key_stay_and_are_told(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    job.put(f"{KEY}.csv.gz", line(3.0))
    job.run(input={"only": [KEY]})

    assert main(["forget", str(job.out), KEY, "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert len(found["settings_that_name_it"]) == 1
    assert found["deleted"] is False


# ---- predictions


@pytest.fixture
def scores(tmp_path: Path) -> ScoreJob:
    """Two scorings of three keys, with errors; the second of new rows."""
    made = ScoreJob(tmp_path, keys=3, prefix=PREFIX)
    made.trained.run()
    made.overrides = {"score": {"actual": "y"}}
    made.score()
    for number in range(3):
        made.put(f"customer-{number}.csv", rows(number + 1.0, count=4))
    made.score()
    (made.data / "customer-1.csv").unlink()
    return made


def test_predictions_and_errors_of_the_key_go_and_those_of_others_stay_as_they_are(scores: ScoreJob) -> None:
    before = scores.table().sort_by([("_key", "ascending"), ("_run", "ascending"), ("id", "ascending")])

    assert main(["forget", str(scores.out), "customer-1", "--delete"]) == 0

    after = scores.table().sort_by([("_key", "ascending"), ("_run", "ascending"), ("id", "ascending")])
    expected = [row for row in before.to_pylist() if row["_key"] != "customer-1"]
    assert after.to_pylist() == expected
    assert after.schema == before.schema
    assert scores.keys() == {"customer-0": 10, "customer-2": 10}
    held = [each for each in mentions(scores.out, "customer-1") if not each.startswith("index/")]
    assert held == []
    assert list(scores.predictions.damaged()) == []
    assert main(["verify", str(scores.out)]) == 0
    assert main(["verify", str(scores.out), "--at", "1"]) == 0


def test_the_notice_is_renewed_while_files_are_looked_through(
    scores: ScoreJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table of many files takes longer than runs respect a notice."""
    renewed: list[None] = []
    monkeypatch.setattr(notice.Removal, "renew", lambda self: renewed.append(None))
    files = len(scores.predictions.files())
    forgotten(scores.out, f"{PREFIX}1")

    assert len(renewed) >= files + 2


def test_the_log_of_predictions_names_keys_at_the_ends_of_files_and_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = ScoreJob(tmp_path, keys=3, prefix=PREFIX)
    scores.trained.run()
    scores.overrides = {"output": {"mode": "replace"}}
    scores.score()
    scores.put("customer-2.csv", rows(3.0, count=4))
    scores.score()
    (scores.data / "customer-0.csv").unlink()

    assert main(["forget", str(scores.out), "customer-0", "--delete"]) == 0

    assert "the first and the last key of each file in the log" in capsys.readouterr().out
    left = [each for each in mentions(scores.out, "customer-0") if not each.startswith("index/")]
    assert left
    assert all(each.startswith("predictions/_delta_log/") for each in left)
    scores.put("customer-1.csv", rows(2.0, count=3))
    assert scores.score().exit_code == 0
    assert scores.keys() == {"customer-1": 3, "customer-2": 4}


def test_forgotten_predictions_do_not_return_by_a_rollback_or_the_next_scoring(scores: ScoreJob) -> None:
    assert main(["forget", str(scores.out), "customer-1", "--delete"]) == 0

    assert main(["rollback", str(scores.out), "1"]) == 2
    report = scores.score()

    assert (report.totals.scored, report.totals.unchanged) == (0, 2)
    assert scores.keys() == {"customer-0": 10, "customer-2": 10}
    version = scores.predictions.version()
    scores.put("customer-0.csv", rows(1.0, count=2))
    scores.score()
    assert main(["rollback", str(scores.out), str(version)]) == 0
    assert scores.keys() == {"customer-0": 10, "customer-2": 10}


def test_predictions_are_forgotten_wholly_when_called_again_after_a_death_at_any_write_or_removal(
    scores: ScoreJob, tmp_path: Path
) -> None:
    before = tmp_path / "before"
    shutil.copytree(scores.out, before)
    died = 0
    for at in range(1, 200):
        shutil.rmtree(scores.out)
        shutil.copytree(before, scores.out)
        try:
            with dying(at):
                forgotten(scores.out, "customer-1")
        except Crash:
            died += 1
        else:
            break
        assert main(["forget", str(scores.out), "customer-1", "--delete"]) == 0, at
        assert scores.keys() == {"customer-0": 10, "customer-2": 10}, at
        assert [each for each in mentions(scores.out, "customer-1") if not each.startswith("index/")] == [], at
        assert sorted(Index(open_store(str(scores.out))).read(columns=["key"])["key"].to_pylist()) == [
            "customer-0",
            "customer-2",
        ], at
        assert list(scores.predictions.damaged()) == [], at
        if at > 8:  # the tables are done by then
            continue
        # A run waits for ten minutes for one that has died while it removed.
        shutil.rmtree(scores.out / "gc")
        version = scores.predictions.version()
        scores.put("customer-0.csv", rows(1.0, count=2))
        scores.score()
        assert main(["rollback", str(scores.out), str(version)]) == 0, at
        scores.put("customer-0.csv", rows(1.0, count=4))
    assert died > 10


def test_a_scoring_after_a_death_between_the_two_tables_does_not_take_the_key_for_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ScoreJob(tmp_path, keys=2, prefix=PREFIX)
    job.trained.run()
    job.score()
    with monkeypatch.context() as patch:
        patch.setattr(forgetting, "_unpublish", lambda *_: (_ for _ in ()).throw(Crash()))
        with pytest.raises(Crash):
            forgotten(job.out, "customer-1")
    shutil.rmtree(job.out / "gc")
    assert job.keys() == {"customer-0": 6}

    report = job.score()

    assert (report.totals.scored, report.totals.unchanged) == (1, 1)
    assert job.keys() == {"customer-0": 6, "customer-1": 6}


def test_a_scoring_with_an_older_version_has_no_model_for_a_key_that_was_forgotten_since(tmp_path: Path) -> None:
    scores = ScoreJob(tmp_path, keys=3, prefix=PREFIX)
    scores.trained.run()
    assert main(["forget", str(scores.trained.out), "customer-1", "--delete"]) == 0

    report = scores.score(models={"at": 1}, score={"missing_model": "skip"})

    assert (report.exit_code, report.totals.scored, report.totals.skipped) == (0, 2, 1)
    assert report.skips == {"no_model": 1}
    assert sorted(scores.keys()) == ["customer-0", "customer-2"]


def test_the_record_of_a_key_goes_with_the_last_version_that_has_the_key(job: Job) -> None:
    def records() -> list[Path]:
        return list((job.out / "forgotten").glob("*.json"))

    version = forgotten(job.out, KEY).version
    assert version is not None
    assert main(["gc", str(job.out), "--keep", "2", "--margin", "0s", "--delete"]) == 0
    assert len(records()) == 1, "the version before still has the key"
    assert main(["gc", str(job.out), "--keep", "1", "--margin", "24h", "--delete"]) == 0
    assert len(records()) == 1, "it is younger than the margin"
    assert main(["gc", str(job.out), "--keep", "1", "--margin", "0s", "--delete"]) == 0
    assert records() == []
    assert main(["rollback", str(job.out), str(version - 1)]) == 2
    assert KEY not in ModelSet.open(str(job.out))
