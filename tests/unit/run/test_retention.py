"""gc: what it removes, and above all what it never touches."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from job import run_paths
from job.arrow import encode
from job.cli.main import main
from job.errors import ConfigurationError, DamageError
from job.keys import model_name
from job.outcome import Outcome, to_table
from job.registry import index
from job.registry.index import RETIRE, Index
from job.registry.model_set import ModelSet
from job.registry.verify import verify
from job.run import retention
from job.store import Store, open_store
from tests.support import folder_job
from tests.support.folder_job import Job
from tests.support.published import at, dumped, line, publish, put, slope

DAY = 24 * 3600.0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "output"))


def names(store: Store, prefix: str) -> set[str]:
    return set(store.list(prefix)["name"].to_pylist())


def data_files(store: Store) -> set[str]:
    return {name for name in names(store, "index") if name.endswith(".parquet") and "_delta_log" not in name}


def blob(key: str, model: object) -> str:
    import hashlib

    return model_name(key, hashlib.sha256(dumped(model)).hexdigest())


def age(store: Store, days: float, prefix: str = "") -> None:
    """Let everything below a prefix have been written so many days ago."""
    then = time.time() - days * DAY
    for name in names(store, ""):
        if name.startswith(prefix):
            os.utime(Path(store.uri.removeprefix("file://")) / name, (then, then))


def run(store: Store, name: str, *, finished: bool, **models: object) -> None:
    """What a run leaves below runs/: a segment that names its models, and a result if it finished."""
    rows = []
    for key, model in models.items():
        row = put(store, key, dumped(model))
        rows.append(Outcome(key=key, status="trained", digest=row["digest"], size=row["size"]))
    store.create(f"runs/{name}/run.json", b"{}")
    segment_name = f"{run_paths.segments(name, 'p')}t00000-a0-0123456789abcdef-0000-n{len(rows)}-f0.arrow"
    store.create(segment_name, encode(to_table(rows)))
    if finished:
        store.create(f"runs/{name}/result.json", b"{}")


def three_versions(store: Store) -> None:
    for minute in (1, 2, 3):
        publish(store, {"a": line(float(minute)), "b": line(10.0)}, minute=minute)


# ---- what goes


def test_a_pinned_version_stays_however_old_it_is_and_an_unknown_one_is_refused(store: Store) -> None:
    for minute, slope_ in ((1, 1.0), (2, 2.0), (3, 3.0)):
        publish(store, {"a": line(slope_)}, minute=minute)
    age(store, 5)

    with pytest.raises(ConfigurationError, match="has no version 9"):
        retention.gc(store, keep=1, dry_run=False, margin=0, pins=[9])
    done = retention.gc(store, keep=1, dry_run=False, margin=0, pins=[1])

    assert (done.kept_versions, done.models) == (2, 1)
    assert [slope(ModelSet.open(store.uri, at=version)["a"]) for version in (1, 3)] == [1.0, 3.0]
    with pytest.raises(ConfigurationError):
        ModelSet.open(store.uri, at=2)


def test_a_dry_run_is_the_default_and_touches_nothing(store: Store) -> None:
    three_versions(store)
    before = names(store, "")

    told = retention.gc(store, keep=1, margin=0)

    assert names(store, "") == before
    assert (told.kept_versions, told.expired_versions, told.index_files, told.models) == (1, 3, 2, 2)
    assert told.model_bytes == 2 * len(dumped(line(1.0)))
    assert told.index_bytes > 0


def test_rows_and_models_of_expired_versions_go_and_kept_ones_stay_whole(store: Store) -> None:
    three_versions(store)

    done = retention.gc(store, keep=2, margin=0, dry_run=False)

    assert (done.kept_versions, done.index_files, done.models) == (2, 1, 1)
    assert names(store, "models") == {blob("a", line(2.0)), blob("a", line(3.0)), blob("b", line(10.0))}
    for version in (2, 3):
        assert verify(store, at=version).damaged == ()
        assert slope(ModelSet.open(store.uri, at=version)["a"]) == version
    again = retention.gc(store, keep=2, margin=0, dry_run=False)
    assert (again.index_files, again.models, again.runs, again.others) == (0, 0, 0, 0)


def test_an_expired_version_says_that_it_is_no_longer_kept(store: Store) -> None:
    three_versions(store)
    retention.gc(store, keep=1, margin=0, dry_run=False)

    for use in (
        lambda: ModelSet.open(store.uri, at=1),
        lambda: Index(store).rollback(1),
        lambda: Index(store).differing(1),
    ):
        with pytest.raises(ConfigurationError, match="no version 1, or it is no longer kept"):
            use()
    assert [each.version for each in Index(store).history()] == [3, 2, 1, 0]


def test_models_of_retired_keys_go_with_the_last_version_that_has_them(store: Store) -> None:
    publish(store, {"a": line(1.0), "b": line(1.0)})
    Index(store).retire(["a"])

    assert retention.gc(store, keep=2, margin=0).models == 0
    assert retention.gc(store, keep=1, margin=0, dry_run=False).models == 1
    assert names(store, "models") == {blob("b", line(1.0))}, "equal bytes under another key are another model"


def test_models_that_were_never_published_go(store: Store) -> None:
    publish(store, {"a": line(1.0)})
    run(store, "superseded", finished=True, a=line(5.0))

    assert retention.gc(store, margin=0, dry_run=False).models == 1
    assert verify(store).damaged == ()


def test_files_of_commits_that_were_never_made_go(store: Store) -> None:
    """A merge that lost its race leaves its data files behind."""
    publish(store, {"a": line(1.0)})
    store.create("index/part-00000-lost.snappy.parquet", b"lost")

    assert retention.gc(store, margin=0, dry_run=False).index_files == 1
    assert verify(store).damaged == ()


def test_the_logs_of_finished_runs_go_but_their_results_stay(store: Store) -> None:
    for number in range(4):
        run(store, f"run-{number}", finished=True)
        age(store, 10 - number, f"runs/run-{number}")
    store.put("runs/latest.json", b"{}")

    done = retention.gc(store, keep=2, dry_run=False)

    assert done.runs == 2
    assert {name for name in names(store, "runs") if name.startswith(("runs/run-0", "runs/run-1"))} == {
        "runs/run-0/result.json",
        "runs/run-1/result.json",
    }
    assert len([name for name in names(store, "runs") if name.startswith("runs/run-3/")]) == 3
    assert "runs/latest.json" in names(store, "runs")


def test_the_run_that_made_a_kept_version_stays(store: Store) -> None:
    publish(store, {"a": line(1.0)}, run="maker")
    for number, name in enumerate(["maker", "later", "newest"]):
        run(store, name, finished=True)
        age(store, 10 - number, f"runs/{name}")

    retention.gc(store, keep=1, dry_run=False)

    assert {name.split("/")[1] for name in names(store, "runs") if name.endswith("run.json")} == {"maker", "newest"}


def test_signatures_of_expired_versions_and_old_probes_go(store: Store) -> None:
    three_versions(store)
    for version in (1, 2, 3):
        store.create(f"signatures/{version:020d}.json", b"{}")
    store.create(".probe/one/x", b"")

    assert retention.gc(store, keep=1, margin=0, dry_run=False).others == 3
    assert names(store, "signatures") == {f"signatures/{3:020d}.json"}
    assert names(store, ".probe") == set()


# ---- what stays


def test_nothing_younger_than_the_margin_is_touched(store: Store) -> None:
    three_versions(store)
    run(store, "done", finished=True, c=line(7.0))
    store.create(".probe/one/x", b"")
    before = names(store, "")

    done = retention.gc(store, keep=1, dry_run=False)

    assert names(store, "") == before
    assert (done.index_files, done.models, done.runs, done.others) == (0, 0, 0, 0)


def test_a_version_that_was_current_within_the_margin_stays_however_old_its_files(store: Store) -> None:
    """Somebody may be reading it still."""
    three_versions(store)
    age(store, 100)

    assert retention.gc(store, keep=1, dry_run=False).kept_versions == 4
    assert verify(store, at=1).damaged == ()


def test_models_of_an_unfinished_run_stay_until_it_has_finished(store: Store) -> None:
    publish(store, {"a": line(1.0)})
    run(store, "crashed", finished=False, a=line(2.0), b=line(3.0))
    run(store, "other", finished=True, c=line(4.0))
    age(store, 7)

    done = retention.gc(store, keep=1, dry_run=False)

    assert (done.unfinished_runs, done.models, done.blocked_by) == (1, 1, ())
    assert {blob("a", line(2.0)), blob("b", line(3.0))} <= names(store, "models")
    assert any(name.startswith("runs/crashed/segments/") for name in names(store, "runs"))
    store.create("runs/crashed/result.json", b"{}")
    age(store, 400)
    assert retention.gc(store, keep=1, dry_run=False).models == 2


def test_a_run_that_nobody_takes_over_any_more_goes_whole_and_so_do_the_models_that_only_it_names(store: Store) -> None:
    publish(store, {"a": line(1.0)})
    run(store, "crashed", finished=False, a=line(1.0), b=line(3.0))
    store.create("runs/crashed/marks/p/t00000-mark-a1", b"")
    store.create("runs/crashed/plan/p/00000.arrow", b"")
    run(store, "later", finished=False, b=line(4.0))
    age(store, 8.5, "models")
    age(store, 8.5, "runs/crashed")
    age(store, 7.9, "runs/later")

    told = retention.gc(store)
    assert (told.runs, told.models, told.unfinished_runs) == (1, 1, 1)
    assert "runs/crashed/run.json" in names(store, "runs"), "a dry run"
    done = retention.gc(store, dry_run=False)

    assert (done.runs, done.models, done.run_bytes) == (1, 1, told.run_bytes)
    assert {name.split("/")[1] for name in names(store, "runs")} == {"later"}
    assert names(store, "models") == {blob("a", line(1.0)), blob("b", line(4.0))}
    assert verify(store).damaged == ()


def test_the_segments_of_an_abandoned_run_go_before_anything_that_they_name(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store, {"a": line(1.0)})
    run(store, "crashed", finished=False, b=line(3.0))
    age(store, 30)
    removed: list[str] = []
    monkeypatch.setattr(type(store), "delete", lambda self, doomed: removed.extend(doomed))

    retention.gc(store, dry_run=False)

    assert [name.split("/")[2 if name.startswith("runs") else 0] for name in removed] == [
        "segments",
        "run.json",
        "models",
    ]


def test_counted_keys_of_the_newest_tables_stay_and_those_that_a_kept_run_planned_from(store: Store) -> None:
    for number in range(5):
        store.create(f"keys/state{number}.arrow", b"keys")
        age(store, 100 - number, f"keys/state{number}.arrow")
    store.create("runs/old/run.json", b'{"table": "state1"}')
    store.create("runs/old/result.json", b"{}")
    store.create("runs/newest/run.json", b'{"table": "state2"}')
    store.create("runs/newest/result.json", b"{}")
    age(store, 50, "runs/old")
    age(store, 40, "runs/newest")

    assert retention.gc(store, keep=1).others == 3
    retention.gc(store, keep=1, dry_run=False)

    assert names(store, "keys") == {"keys/state2.arrow", "keys/state4.arrow"}


def test_counted_keys_younger_than_the_margin_stay(store: Store) -> None:
    for number in range(3):
        store.create(f"keys/state{number}.arrow", b"keys")

    assert retention.gc(store, keep=1).others == 0


def test_a_run_that_wrote_a_moment_ago_is_at_work_whatever_the_margin(store: Store) -> None:
    publish(store, {"a": line(1.0)})
    run(store, "old", finished=True, a=line(9.0))
    run(store, "working", finished=False)
    store.create("index/part-00000-of-the-next-commit.parquet", b"rows")

    assert retention.gc(store, keep=1, margin=0, dry_run=False).blocked_by == ("working",)
    assert blob("a", line(9.0)) in names(store, "models")
    assert "index/part-00000-of-the-next-commit.parquet" in names(store, "index")
    age(store, 1)
    retention.gc(store, keep=1, margin=0, dry_run=False)
    assert "index/part-00000-of-the-next-commit.parquet" not in names(store, "index")


def test_while_a_run_may_be_at_work_no_model_is_removed(store: Store) -> None:
    """It may be about to take over a model that lies there already, before any segment names it."""
    publish(store, {"a": line(1.0)})
    run(store, "old", finished=True, a=line(9.0))
    age(store, 400)
    run(store, "working", finished=False)

    done = retention.gc(store, keep=1, dry_run=False)

    assert (done.models, done.blocked_by) == (0, ("working",))
    assert blob("a", line(9.0)) in names(store, "models")


def test_a_rollback_keeps_what_it_restored(store: Store) -> None:
    three_versions(store)
    Index(store).rollback(1, hold=True)

    retention.gc(store, keep=1, margin=0, dry_run=False)

    assert verify(store).damaged == ()
    assert slope(ModelSet.open(store.uri)["a"]) == 1.0
    assert Index(store).held()


def test_a_stale_row_keeps_its_model(store: Store) -> None:
    publish(store, {"a": line(1.0)})
    failed = {"key": "a", "state": "failed", "reason": "oom", "listed_at": at(2)}
    Index(store).release(index.changes([failed]), run="run-2")

    retention.gc(store, keep=1, margin=0, dry_run=False)

    assert verify(store).damaged == ()


def test_releases_go_on_after_gc(store: Store) -> None:
    three_versions(store)
    retention.gc(store, keep=1, margin=0, dry_run=False)

    assert publish(store, {"a": line(4.0)}, minute=4) == 4
    assert Index(store).released("run-1") == 1
    assert verify(store).checked == 2


def test_an_output_where_nothing_was_published_has_nothing_to_remove(store: Store, tmp_path: Path) -> None:
    (tmp_path / "output").mkdir()

    assert retention.gc(store, margin=0, dry_run=False).kept_versions == 0


def test_a_rollback_to_a_version_that_is_just_being_removed_is_told(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_versions(store)
    delete = type(store).delete

    def rolled_back_first(self: Store, doomed: object) -> int:
        if Index(store).version() == 3:
            Index(store).rollback(1)
        return delete(self, doomed)  # type: ignore[arg-type]

    monkeypatch.setattr(type(store), "delete", rolled_back_first)

    with pytest.raises(DamageError, match="version 4 was published while gc ran"):
        retention.gc(store, keep=1, margin=0, dry_run=False)


@pytest.mark.parametrize(("keep", "margin"), [(0, 0.0), (1, -1.0)])
def test_settings_that_make_no_sense_are_refused(store: Store, keep: int, margin: float) -> None:
    with pytest.raises(ConfigurationError, match="gc keeps at least one version"):
        retention.gc(store, keep=keep, margin=margin)


def test_a_retired_key_that_comes_back_with_a_removed_model_is_uploaded_again(store: Store) -> None:
    publish(store, {"a": line(1.0), "b": line(2.0)})
    retired = {"key": "a", "action": RETIRE, "listed_at": at(2)}
    Index(store).release(index.changes([retired]), run="run-2")
    retention.gc(store, keep=1, margin=0, dry_run=False)

    publish(store, {"a": line(1.0)}, minute=3)

    assert verify(store).damaged == ()


def test_gc_keeps_as_many_versions_as_the_job_says_unless_it_is_told_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = Job(tmp_path)

    def kept(*options: str) -> int:
        capsys.readouterr()
        assert main(["gc", str(job.out), "--margin", "0s", "--json", *options]) == 0
        return int(json.loads(capsys.readouterr().out)["kept_versions"])

    for number in range(4):
        job.put("k.csv.gz", folder_job.line(number + 1.0))
        job.run(output={"keep": 2})

    assert kept() == 2
    assert kept("--keep", "3") == 3
    job.run(recipe={"version": "2"})  # this run says nothing, so the default of 30 holds
    assert kept() == 6


def test_models_of_a_run_that_ended_before_the_first_release_go(store: Store) -> None:
    run(store, "abandoned", finished=True, a=line(1.0))
    age(store, 10)

    retention.gc(store, margin=DAY, dry_run=False)

    assert names(store, "models") == set()


def test_a_gc_that_would_keep_more_than_an_earlier_one_has_left_keeps_what_is_there(tmp_path: Path) -> None:
    job = Job(tmp_path)
    for each in (1.0, 2.0, 3.0):
        job.put("a.csv.gz", folder_job.line(each))
        job.run()
    store = open_store(str(job.out))
    retention.gc(store, keep=1, margin=0, dry_run=False)
    assert retention.gc(store, keep=30, margin=0, dry_run=False).kept_versions == 1 + 1, (
        "the newest, and the empty version 0"
    )
    assert retention.gc(store, keep=1, margin=86400, dry_run=False).models == 0
    with pytest.raises(ConfigurationError, match="has no version 2"):
        retention.gc(store, keep=1, margin=0, pins=[2])
    job.put("a.csv.gz", folder_job.line(4.0))
    job.run()
    assert retention.gc(store, keep=30, margin=0, dry_run=False).kept_versions == 3
    assert job.models()["a"].coef_[0] == pytest.approx(4.0)
