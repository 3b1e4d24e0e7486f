"""The published table: what a release may change, in which order, and that it never changes half."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake.exceptions import CommitFailedError
from hypothesis import given, settings
from hypothesis import strategies as st

from job.config.settings import StorageSide
from job.errors import AccountingError, ConfigurationError, HeldError, NotFoundError, OutputError
from job.registry import data_file, index, merge
from job.registry.delta_log import Table
from job.registry.index import GONE, RETIRE, ROW, TOUCH, Index
from job.store import Store, open_store
from tests.conftest import S3


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "output"), StorageSide())


@pytest.fixture
def table(store: Store) -> Index:
    return Index(store)


def at(minute: int) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)


def model(key: str, minute: int, **columns: Any) -> dict[str, Any]:
    """A live row of a run that listed at this minute; its digest tells the minute."""
    row = {
        "key": key,
        "state": "live",
        "digest": f"{minute:064x}",
        "size": 900,
        "data": f"data-{minute}",
        "content": "c",
    }
    row |= {
        "recipe": "r",
        "environment": "e",
        "run": f"run-{minute}",
        "trained_at": at(minute),
        "listed_at": at(minute),
    }
    return row | columns


def failure(key: str, minute: int, state: str = "failed", reason: str = "fit_error") -> dict[str, Any]:
    return {
        "key": key,
        "state": state,
        "reason": reason,
        "message": "m",
        "run": f"run-{minute}",
        "listed_at": at(minute),
    }


def just(key: str, minute: int, action: str, **columns: Any) -> dict[str, Any]:
    return {"key": key, "action": action, "listed_at": at(minute), **columns}


def release(table: Index, run: str, *rows: dict[str, Any], complete: bool = False) -> index.Release:
    return table.release(index.changes(rows), run=run, complete=complete)


def rows(table: Index, at: int | None = None) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in table.read(at=at).to_pylist()}


# ---- reading


def test_before_the_first_release_there_is_no_version_and_an_empty_table(table: Index) -> None:
    assert table.version() is None
    assert table.read() == ROW.empty_table()
    assert table.read(columns=["size", "key"]).column_names == ["size", "key"]
    assert table.history() == []
    assert table.released("any") is None
    assert not table.held()


def test_reading_an_empty_output_writes_nothing(table: Index, tmp_path: Path) -> None:
    table.read()
    table.version()

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_was_released_is_read_back_with_every_column(table: Index) -> None:
    row = {
        **model("a", 1),
        "rows": 7,
        "metrics": '{"r2": 0.5}',
        "warnings": "[]",
        "seconds": 0.25,
        "reason": None,
        "message": None,
        "versions": "{}",
        "source": "a.csv",
        "bytes": 10,
        "gone_since": None,
    }
    release(table, "run-1", row)

    found = table.read()

    assert found.schema == ROW
    assert found.to_pylist() == [dict.fromkeys(ROW.names) | row | {"listed_at": at(1)}]


def test_columns_come_in_the_order_asked_for(table: Index) -> None:
    release(table, "run-1", model("a", 1))

    assert table.read(columns=["size", "key"], keys=["a"]).to_pylist() == [{"size": 900, "key": "a"}]
    assert table.read(columns=["size"], keys=["a"]).column_names == ["size"]


@pytest.mark.parametrize("count", [2, 600])
def test_some_keys_are_read_however_many_are_asked_for(table: Index, count: int) -> None:
    release(table, "run-1", *(model(f"k{i}", 1) for i in range(700)))
    keys = [f"k{i}" for i in range(count)]

    found = table.read(columns=["key"], keys=[*keys, "nobody"]).column("key").to_pylist()

    assert sorted(found) == sorted(keys)
    assert table.read(keys=[]).num_rows == 0


@settings(max_examples=20, deadline=None)
@given(keys=st.sets(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=8))
def test_any_text_is_a_key_and_is_found_again(tmp_path_factory: pytest.TempPathFactory, keys: set[str]) -> None:
    table = Index(open_store(str(tmp_path_factory.mktemp("keys") / "o"), StorageSide()))
    release(table, "run-1", *(model(key, 1) for key in keys))

    assert {*table.read(columns=["key"], keys=list(keys)).column("key").to_pylist()} == keys


def test_an_older_version_stays_readable(table: Index) -> None:
    release(table, "run-1", model("a", 1))
    release(table, "run-2", model("a", 2), model("b", 2))

    assert rows(table, at=1)["a"]["digest"] == f"{1:064x}"
    assert list(rows(table, at=1)) == ["a"]


def test_a_version_that_does_not_exist_is_a_configuration_error(table: Index) -> None:
    with pytest.raises(ConfigurationError, match="no version 3"):
        table.read(at=3)
    release(table, "run-1", model("a", 1))
    with pytest.raises(ConfigurationError, match="no version 3"):
        table.read(at=3)


# ---- releasing


def test_a_release_is_one_version(table: Index) -> None:
    first = release(table, "run-1", model("a", 1), model("b", 1))
    second = release(table, "run-2", model("b", 2), failure("c", 2), just("a", 2, GONE))

    assert (first.version, first.applied) == (1, 2)
    assert (second.version, second.applied) == (2, 3)


def test_a_run_that_changed_nothing_commits_nothing(table: Index) -> None:
    assert release(table, "run-0").version is None
    release(table, "run-1", model("a", 1), just("b", 1, GONE))
    release(table, "run-2", just("a", 2, GONE))

    again = release(table, "run-3", just("a", 3, GONE), just("nobody", 3, RETIRE))

    assert again == index.Release(version=2)
    assert release(table, "run-4").version == 2
    assert table.version() == 2
    assert table.released("run-3") is None


def test_releasing_a_run_twice_does_nothing_the_second_time(table: Index) -> None:
    first = release(table, "run-1", model("a", 1), model("b", 1))
    release(table, "run-2", model("a", 2))
    before = rows(table)

    again = release(table, "run-1", model("a", 1), model("b", 1))

    assert again == index.Release(version=first.version, applied=first.applied, already=True)
    assert (table.version(), rows(table)) == (2, before)
    assert table.released("run-1") == 1


def test_a_repeated_release_tells_again_which_keys_it_was_refused(table: Index) -> None:
    release(table, "run-5", model("a", 5))
    first = release(table, "run-3", model("a", 3), model("b", 3))

    again = release(table, "run-3", model("a", 3), model("b", 3))

    assert first.superseded == again.superseded == ("a",)
    assert again.already


def test_a_commit_whose_answer_was_lost_is_found_and_not_repeated(
    table: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge = index.merge

    def committed_but_unheard(*args: Any) -> None:
        merge(*args)
        monkeypatch.setattr(index, "merge", merge)
        raise OSError("connection reset")

    monkeypatch.setattr(index, "merge", committed_but_unheard)

    released = release(table, "run-1", model("a", 1))

    assert (released.version, released.applied, released.already) == (1, 1, True)
    assert table.version() == 1


def test_storage_that_stays_broken_ends_as_an_output_error(table: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any) -> None:
        raise OSError("503 SlowDown")

    monkeypatch.setattr(index, "merge", broken)
    with pytest.raises(OutputError, match="503 SlowDown"):
        release(table, "run-1", model("a", 1))


def test_two_runs_that_publish_at_once_both_arrive(store: Store) -> None:
    """Both compute their commit from the same version: one is first, the other merges again on top of it."""
    release(Index(store), "run-0", model("shared", 0), model("other", 0))
    together = threading.Barrier(4)
    done: dict[int, index.Release] = {}

    def run(minute: int) -> None:
        table = Index(store)
        together.wait()
        done[minute] = release(table, f"run-{minute}", model("shared", minute), model(f"own-{minute}", minute))

    threads = [threading.Thread(target=run, args=(minute,)) for minute in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = rows(Index(store))
    assert sorted(found) == ["other", "own-1", "own-2", "own-3", "own-4", "shared"]
    assert found["shared"]["digest"] == f"{4:064x}"
    assert sorted(released.version or 0 for released in done.values()) == [2, 3, 4, 5]
    assert {minute: Index(store).released(f"run-{minute}") for minute in done} == {
        minute: released.version for minute, released in done.items()
    }


def test_two_first_releases_at_once_make_one_table(store: Store) -> None:
    together = threading.Barrier(4)

    def run(number: int) -> None:
        together.wait()
        release(Index(store), f"run-{number}", model(f"k{number}", number), model("same", number))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(Index(store).read().column("key").to_pylist()) == ["k0", "k1", "k2", "k3", "same"]
    assert [each.operation for each in Index(store).history()] == ["release"] * 4 + ["create"]


def test_a_commit_succeeds_only_on_the_version_it_was_computed_from(table: Index, store: Store) -> None:
    release(table, "run-1", model("a", 1))
    stale = Table(store, "index", ROW).open()
    release(table, "run-2", model("a", 2))
    attempts = []

    def attempt(handle: Any) -> None:
        attempts.append(handle.version())
        chosen = stale if len(attempts) == 1 else handle
        index.merge(Table(store, "index", ROW), chosen, index.changes([model("b", 3)]), {"run-3": 3}, {})

    Table(store, "index", ROW).retried(attempt)

    assert attempts == [2, 2]
    assert {key: row["digest"][-1] for key, row in rows(table).items()} == {"a": "2", "b": "3"}


def test_no_commit_is_moved_onto_another_version_even_where_nothing_would_conflict(table: Index, store: Store) -> None:
    """Else a transaction's number would not be the version that it made."""
    release(table, "run-1", model("a", 1))
    delta = Table(store, "index", ROW)
    stale = delta.open()
    assert stale is not None
    delta.append(stale, "RESUME", {"mark": 2}, {})

    with pytest.raises(CommitFailedError):
        delta.append(stale, "RESUME", {"mark": 2}, {})
    with pytest.raises(CommitFailedError):
        index.merge(delta, stale, index.changes([model("b", 3)]), {"run-3": 2}, {})
    assert table.version() == 2


def test_a_row_that_cannot_be_right_is_refused_before_anything_is_written(table: Index) -> None:
    with pytest.raises(AccountingError, match=r"occur twice.*'a'"):
        release(table, "run-1", model("a", 1), failure("a", 1))
    with pytest.raises(AccountingError, match="no listed_at"):
        release(table, "run-1", {**model("a", 1), "listed_at": None})
    with pytest.raises(AccountingError, match="of a is neither live"):
        release(table, "run-1", {**model("a", 1), "digest": None})
    assert table.version() is None


# ---- an older listing


def test_an_older_listing_never_overwrites_a_newer_one(table: Index) -> None:
    release(table, "run-5", model("a", 5), model("b", 1))

    late = release(table, "run-3", model("a", 3), model("b", 3), model("c", 3))

    assert late.superseded == ("a",)
    assert late.applied == 2
    assert {key: row["digest"][-1] for key, row in rows(table).items()} == {"a": "5", "b": "3", "c": "3"}


def test_an_older_failure_touch_or_retirement_is_refused_too(table: Index) -> None:
    release(table, "run-5", model("a", 5), model("b", 5), model("c", 5), model("d", 5))
    before = rows(table)

    late = release(
        table, "run-3", failure("a", 3), just("b", 3, TOUCH, data="x"), just("c", 3, RETIRE), just("d", 3, GONE)
    )

    assert late == index.Release(version=1, superseded=("a", "b", "c", "d"))
    assert rows(table) == before


def test_a_run_that_listed_at_the_same_moment_is_not_older(table: Index) -> None:
    release(table, "run-a", model("a", 1))

    assert release(table, "run-b", model("a", 1, data="later")).superseded == ()
    assert rows(table)["a"]["data"] == "later"


def minutes_from_now(minutes: float) -> datetime:
    return datetime.now(UTC) + timedelta(minutes=minutes)


DAYS = 400 * 24 * 60


def test_a_clock_that_was_ahead_once_does_not_stop_publication(table: Index, caplog: pytest.LogCaptureFixture) -> None:
    release(table, "ahead", {**model("a", 1), "listed_at": minutes_from_now(DAYS)}, complete=True)

    later = release(table, "run-2", {**model("a", 2), "listed_at": minutes_from_now(0)}, complete=True)

    assert (later.applied, later.superseded) == (1, ())
    assert rows(table)["a"]["digest"] == f"{2:064x}"
    assert rows(table)["a"]["listed_at"] < minutes_from_now(1)
    assert "1 rows in" in caplog.text
    assert "the clock of the machine that published them was ahead" in caplog.text
    # And what was published since counts again.
    caplog.clear()
    assert release(table, "run-3", {**model("a", 3), "listed_at": minutes_from_now(0)}).applied == 1
    assert caplog.text == ""
    assert release(table, "run-1", {**model("a", 1), "listed_at": minutes_from_now(-9)}).superseded == ("a",)


def test_a_rollback_or_retirement_by_a_clock_that_was_ahead_does_not_stop_publication(table: Index) -> None:
    """Their moments hold for keys that no row tells of."""
    release(table, "run-1", {**model("a", 1), "listed_at": minutes_from_now(-5)}, {**model("b", 1)})
    release(table, "run-2", {**model("a", 2), "listed_at": minutes_from_now(-4)})
    right, table.store.now = table.store.now, lambda: minutes_from_now(DAYS)  # type: ignore[method-assign]
    table.retire(["b"])
    table.rollback(1)
    table.store.now = right  # type: ignore[method-assign]

    later = release(table, "run-3", *({**model(key, 3), "listed_at": minutes_from_now(0)} for key in "abc"))

    assert (later.applied, later.superseded) == (3, ())
    table.rollback(1)
    assert release(table, "run-4", {**model("a", 4), "listed_at": minutes_from_now(-1)}).superseded == ("a",)


def test_clocks_may_be_a_few_minutes_apart(table: Index) -> None:
    release(table, "run-1", {**model("a", 1), "listed_at": minutes_from_now(5)})

    assert release(table, "run-2", {**model("a", 2), "listed_at": minutes_from_now(0)}).superseded == ("a",)


def test_a_complete_release_confirms_also_the_keys_it_does_not_mention(table: Index) -> None:
    release(table, "run-1", model("quiet", 1), model("a", 1))
    release(table, "run-5", model("a", 5), complete=True)

    late = release(table, "run-3", model("quiet", 3), model("new", 3))

    assert late.superseded == ("new", "quiet")
    assert rows(table)["quiet"]["digest"] == f"{1:064x}"


def test_a_retired_key_is_not_put_back_by_a_run_that_listed_before(table: Index) -> None:
    release(table, "run-1", model("a", 1), model("b", 1))
    release(table, "run-5", just("a", 5, RETIRE))

    assert release(table, "run-3", model("a", 3), model("b", 3)).superseded == ("a",)
    assert release(table, "run-4", just("a", 4, TOUCH)).superseded == ("a",)
    assert release(table, "run-6", model("a", 6)).superseded == ()
    assert sorted(rows(table)) == ["a", "b"]


def test_taking_a_key_out_stops_no_run_from_publishing_the_others(table: Index) -> None:
    release(table, "run-1", model("a", 1), model("b", 1))
    table.retire(["a"])

    late = release(table, "run-3", model("a", 3), model("b", 3))

    assert late.superseded == ("a",)
    assert rows(table)["b"]["digest"] == f"{3:064x}"


# ---- what becomes of a row


@pytest.mark.parametrize("state", ["failed", "skipped"])
def test_a_failure_over_a_live_model_is_stale_and_keeps_the_model(table: Index, state: str) -> None:
    release(table, "run-1", model("a", 1, metrics="{}"))
    release(table, "run-2", failure("a", 2, state, "empty"))

    expected = model("a", 1, metrics="{}") | {"state": "stale", "reason": "empty", "message": "m", "listed_at": at(2)}
    assert {name: value for name, value in rows(table)["a"].items() if value is not None} == expected


def test_a_second_failure_stays_stale_with_the_newer_reason(table: Index) -> None:
    release(table, "run-1", model("a", 1))
    release(table, "run-2", failure("a", 2))
    release(table, "run-3", failure("a", 3, reason="timeout"))

    row = rows(table)["a"]
    assert (row["state"], row["reason"], row["digest"]) == ("stale", "timeout", f"{1:064x}")


def test_a_new_model_over_a_stale_one_is_live_without_a_reason(table: Index) -> None:
    release(table, "run-1", model("a", 1))
    release(table, "run-2", failure("a", 2))
    release(table, "run-3", model("a", 3))

    row = rows(table)["a"]
    assert (row["state"], row["reason"], row["message"], row["digest"]) == ("live", None, None, f"{3:064x}")


def test_a_failure_without_a_model_is_failed_and_never_looks_unchanged(table: Index) -> None:
    release(table, "run-1", failure("a", 1))
    release(table, "run-2", failure("a", 2, "skipped", "empty"))
    assert rows(table)["a"]["state"] == "skipped"
    release(table, "run-3", failure("a", 3, reason="timeout"))
    release(table, "run-4", just("a", 4, TOUCH, data="d", recipe="r", environment="e"))

    row = rows(table)["a"]
    assert (row["state"], row["reason"], row["digest"]) == ("failed", "timeout", None)
    assert (row["data"], row["recipe"], row["environment"]) == ("", "", "")


def test_a_touch_renews_the_fingerprint_and_keeps_the_model(table: Index) -> None:
    release(table, "run-1", model("a", 1, source="old.csv", bytes=1))
    release(table, "run-2", just("a", 2, TOUCH, data="etag-2", source="new.csv", bytes=2))

    row = rows(table)["a"]
    assert (row["data"], row["source"], row["bytes"], row["listed_at"]) == ("etag-2", "new.csv", 2, at(2))
    assert (row["digest"], row["content"], row["recipe"], row["run"]) == (f"{1:064x}", "c", "r", "run-1")


def test_a_touch_made_of_a_model_that_was_replaced_meanwhile_is_refused(table: Index) -> None:
    """Its run found the content unchanged; before it publishes, an older listing's run publishes another model."""
    release(table, "run-1", model("a", 1, content="one"))
    release(table, "run-2", model("a", 2, content="two"))

    late = release(table, "run-3", just("a", 3, TOUCH, data="etag-3", content="one", recipe="r", environment="e"))

    assert late.superseded == ("a",)
    assert (rows(table)["a"]["content"], rows(table)["a"]["data"]) == ("two", "data-2")
    assert release(table, "run-4", just("a", 4, TOUCH, data="etag-4", content="two", recipe="other")).superseded == (
        "a",
    )
    assert release(table, "run-5", just("a", 5, TOUCH, data="etag-5", content="two", recipe="r")).superseded == ()
    assert rows(table)["a"]["data"] == "etag-5"


def test_a_stale_key_whose_data_went_back_is_live_again(table: Index) -> None:
    release(table, "run-1", model("a", 1))
    release(table, "run-2", failure("a", 2))
    release(table, "run-3", just("a", 3, TOUCH, data="data-1"))

    row = rows(table)["a"]
    assert (row["state"], row["reason"], row["message"]) == ("live", None, None)


def test_a_skipped_key_that_was_touched_stays_skipped(table: Index) -> None:
    release(table, "run-1", failure("a", 1, "skipped", "empty") | {"data": "one"})
    release(table, "run-2", just("a", 2, TOUCH, data="two"))

    row = rows(table)["a"]
    assert (row["state"], row["reason"], row["data"]) == ("skipped", "empty", "two")


def test_gone_since_is_set_once_and_the_model_stays(table: Index) -> None:
    release(table, "run-1", model("a", 1))
    release(table, "run-2", just("a", 2, GONE))
    release(table, "run-3", just("a", 3, GONE), model("b", 3))

    row = rows(table)["a"]
    assert (row["state"], row["gone_since"], row["digest"]) == ("live", at(2), f"{1:064x}")


@pytest.mark.parametrize("back", [just("a", 3, TOUCH), model("a", 3), failure("a", 3)])
def test_gone_since_is_cleared_when_the_key_is_back(table: Index, back: dict[str, Any]) -> None:
    release(table, "run-1", model("a", 1))
    release(table, "run-2", just("a", 2, GONE))
    release(table, "run-3", back)

    assert rows(table)["a"]["gone_since"] is None


def test_a_stale_key_that_is_merely_back_stays_stale(table: Index) -> None:
    release(table, "run-1", model("a", 1))
    release(table, "run-2", failure("a", 2))
    release(table, "run-3", just("a", 3, GONE))
    release(table, "run-4", just("a", 4, TOUCH))

    assert (rows(table)["a"]["state"], rows(table)["a"]["gone_since"]) == ("stale", None)


def test_retire_takes_keys_out_and_older_versions_still_have_them(table: Index) -> None:
    release(table, "run-1", model("a", 1), model("b", 1), model("c", 1))

    retired = table.retire(["a", "b"])

    assert (retired.version, retired.applied) == (2, 2)
    assert list(rows(table)) == ["c"]
    assert sorted(rows(table, at=1)) == ["a", "b", "c"]
    assert table.history()[0].operation == "retire"


def test_retiring_an_unknown_key_is_refused_and_retires_nothing(table: Index) -> None:
    release(table, "run-1", model("a", 1))

    with pytest.raises(ConfigurationError, match="1 of the keys to retire are not published: 'b'"):
        table.retire(["a", "b"])
    assert list(rows(table)) == ["a"]


# ---- rollback


def test_rollback_is_a_new_version_with_the_rows_of_an_older_one(table: Index) -> None:
    release(table, "run-1", model("a", 1), model("b", 1))
    release(table, "run-2", model("a", 2), model("c", 2), just("b", 2, RETIRE))
    then, before = rows(table, at=1), rows(table)

    back = table.rollback(1)

    assert back == index.Rollback(version=3, restored=1)
    assert rows(table) == then
    assert rows(table, at=2) == before
    assert [each.operation for each in table.history()] == ["rollback", "release", "release", "create"]
    assert table.rollback(2).version == 4
    assert rows(table) == before


def test_rollback_leaves_files_alone_that_both_versions_have(table: Index) -> None:
    """A run of new keys only adds a file; going back and forth over it must neither lose nor double it."""
    release(table, "run-1", model("a", 1))
    release(table, "run-2", model("b", 2))
    assert set(table.files(1)) < set(table.files(2))

    for version, keys in ((1, ["a"]), (2, ["a", "b"]), (3, ["a"]), (4, ["a", "b"])):
        table.rollback(version)
        assert table.read().column("key").sort().to_pylist() == keys
    release(table, "run-3", model("b", 3, listed_at=datetime.now(UTC) + timedelta(hours=1)))
    assert {key: row["digest"][-1] for key, row in rows(table).items()} == {"a": "1", "b": "3"}


def test_a_rolled_back_table_goes_on_through_checkpoints(table: Index) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    for number in range(1, 30):
        if number % 3 == 0:
            table.rollback(number - 2)
        else:
            release(
                table, f"run-{number}", model("a", number, listed_at=later), model(f"k{number}", 1, listed_at=later)
            )

    assert table.version() == 29
    assert table.released("run-28") == 28
    assert {row["key"]: row["digest"][-2:] for row in table.read().to_pylist()}["a"] == "1d"


def test_rollback_tells_how_many_keys_would_be_trained_again(table: Index) -> None:
    release(table, "run-1", model("a", 1), model("b", 1))
    release(table, "run-2", model("a", 2), model("c", 2))

    assert table.differing(1) == 2
    assert table.differing(2) == 0


@pytest.mark.parametrize("version", [-1, 0, 2, 9])
def test_rollback_to_a_version_that_is_none_or_the_current_is_refused(table: Index, version: int) -> None:
    release(table, "run-1", model("a", 1))
    release(table, "run-2", model("a", 2))

    with pytest.raises(ConfigurationError, match=f"cannot roll back to version {version}"):
        table.rollback(version)
    assert table.version() == 2


def test_a_run_that_listed_before_a_rollback_does_not_undo_it(table: Index) -> None:
    release(table, "run-1", model("a", 1))
    release(table, "run-2", model("a", 2))
    table.rollback(1)

    assert release(table, "run-3", model("a", 3)).superseded == ("a",)
    later = datetime.now(UTC) + timedelta(seconds=5)
    assert release(table, "run-4", model("a", 4, listed_at=later)).superseded == ()


def test_a_held_rollback_refuses_releases_until_it_is_resumed(table: Index) -> None:
    release(table, "run-1", model("a", 1))
    release(table, "run-2", model("a", 2))
    later = datetime.now(UTC) + timedelta(hours=1)

    assert table.rollback(1, hold=True).held
    assert table.held()
    with pytest.raises(HeldError, match="a rollback holds"):
        release(table, "run-3", model("a", 3, listed_at=later))
    assert table.retire(["a"]).applied == 1
    assert table.rollback(1).held

    resumed = table.resume()

    assert (resumed.version, resumed.held, table.held()) == (6, False, False)
    assert table.resume().version == 6
    assert release(table, "run-3", model("a", 3, listed_at=later)).version == 7


def test_a_run_stays_released_after_a_rollback(table: Index) -> None:
    release(table, "run-1", model("a", 1))
    release(table, "run-2", model("a", 2))
    table.rollback(1)

    assert table.released("run-2") == 2
    assert release(table, "run-2", model("a", 2)).already


# ---- the rules, once more, in plain Python


def expected(published: dict[str, Any], fences: dict[str, int], change: dict[str, Any]) -> str:
    """What one change does to a published set; an independent reading of job/row.py's docstring."""
    key, minute, action, old = change["key"], change["minute"], change["action"], published.get(change["key"])
    if minute < fences["everything"] or (old is not None and minute < old["minute"]):
        return "superseded"
    if old is None:
        if action in ("gone", "retire"):
            return "idle"
        if action == "touch" or minute < fences["insertions"]:
            return "superseded"
        published[key] = {"state": action, "model": change["model"] if action == "live" else None}
        published[key] |= {"data": change["data"] if action != "failed" else "", "minute": minute, "gone": None}
        return "applied"
    if action == "gone" and old["gone"] is not None:
        return "idle"
    old["minute"] = minute
    if action == "retire":
        del published[key]
        return "applied"
    if action == "gone":
        old["gone"] = minute
        return "applied"
    old["gone"] = None
    if action == "live":
        old |= {"state": "live", "model": change["model"], "data": change["data"]}
    elif action in ("failed", "skipped"):
        if old["model"] is None:
            old |= {"state": action, "data": "" if action == "failed" else change["data"]}
        else:
            old["state"] = "stale"
    elif change["data"]:
        if old["state"] != "failed":
            old["data"] = change["data"]
        if old["model"] is not None:
            old["state"] = "live"
    return "applied"


def as_row(change: dict[str, Any]) -> dict[str, Any]:
    listed, action, data = at(change["minute"]), change["action"], change["data"]
    if action in ("gone", "retire", "touch"):
        return {
            "key": change["key"],
            "action": action,
            "listed_at": listed,
            "data": data if action == "touch" else None,
        }
    row = {"key": change["key"], "state": action, "listed_at": listed, "reason": None if action == "live" else "oom"}
    return row | {"digest": change["model"] if action == "live" else None, "data": "" if action == "failed" else data}


CHANGE = st.fixed_dictionaries(
    {
        "key": st.sampled_from("abc"),
        "action": st.sampled_from(["live", "failed", "skipped", "touch", "gone", "retire"]),
        "data": st.sampled_from(["", "d1", "d2"]),
        "model": st.sampled_from(["m1", "m2", "m3"]),
    }
)
RELEASE = st.tuples(
    st.integers(1, 9), st.booleans(), st.lists(CHANGE, min_size=1, max_size=3, unique_by=lambda each: each["key"])
)


@settings(max_examples=12, deadline=None)
@given(releases=st.lists(RELEASE, min_size=1, max_size=8))
def test_any_order_of_releases_gives_what_the_rules_say(
    tmp_path_factory: pytest.TempPathFactory, releases: list[tuple[int, bool, list[dict[str, Any]]]]
) -> None:
    table = Index(open_store(str(tmp_path_factory.mktemp("rules") / "o"), StorageSide()))
    published: dict[str, Any] = {}
    fences = {"everything": 0, "insertions": 0}
    for number, (minute, complete, chosen) in enumerate(releases):
        chosen = [{**change, "minute": minute} for change in chosen]
        # Fences are those before the release; its own come after it.
        became = {change["key"]: expected(published, fences, change) for change in chosen}
        if "applied" in became.values():
            if complete:
                fences["everything"] = max(fences["everything"], minute)
            if any(change["action"] == "retire" and became[change["key"]] == "applied" for change in chosen):
                fences["insertions"] = max(fences["insertions"], minute)

        done = release(table, f"run-{number}", *map(as_row, chosen), complete=complete)

        assert done.superseded == tuple(sorted(key for key, what in became.items() if what == "superseded"))
        assert done.applied == list(became.values()).count("applied")
        assert {
            key: (row["state"], row["digest"], row["data"], row["listed_at"], row["gone_since"])
            for key, row in rows(table).items()
        } == {
            key: (row["state"], row["model"], row["data"], at(row["minute"]), row["gone"] and at(row["gone"]))
            for key, row in published.items()
        }


# ---- history and the process


def test_history_tells_who_made_each_version_and_what_it_changed(table: Index) -> None:
    release(table, "run-1", model("a", 1), model("b", 1))
    table.release(
        index.changes([model("a", 2), just("b", 2, RETIRE), model("c", 2)]), run="run-2", metadata={"trained": "2"}
    )

    newest, first, created = table.history()

    assert (newest.version, newest.operation, newest.run) == (2, "release", "run-2")
    assert (newest.inserted, newest.updated, newest.removed, newest.metadata) == (1, 1, 1, {"trained": "2"})
    assert (first.run, first.inserted) == ("run-1", 2)
    assert (created.version, created.operation) == (0, "create")
    assert abs(newest.at - datetime.now(UTC)) < timedelta(minutes=1)
    assert table.history(1) == [newest]


def test_history_and_fences_survive_checkpoints(table: Index) -> None:
    for minute in range(1, 26):
        release(table, f"run-{minute}", model("a", minute), complete=True)

    assert table.released("run-3") == 3
    assert [each.version for each in table.history()] == list(range(25, -1, -1))
    assert rows(table, at=2)["a"]["digest"] == f"{2:064x}"
    assert release(table, "late", model("b", 24)).superseded == ("b",)


PROGRAM = """
import sys
from datetime import UTC, datetime
from job.registry import data_file, index, merge
from job.config.settings import StorageSide
from job.store import Store, open_store
table = index.Index(open_store(sys.argv[1], StorageSide()))
for run in ("one", "two"):
    now = datetime.now(UTC)
    table.release(index.changes([{"key": "a", "state": "live", "digest": run, "listed_at": now}]), run=run)
assert table.read().num_rows == 1 and table.read(columns=["key"], keys=["a"], at=1).num_rows == 1
table.rollback(1), table.history(), table.differing(1)
table.read().to_pandas()
"""


def test_the_interpreter_exits_cleanly_after_reading_and_writing(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "output")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, "")


def test_on_s3_a_set_lives_through_all_of_this(s3: S3) -> None:
    store = open_store(f"s3://{s3.bucket()}/a b/out", StorageSide(**s3.storage))
    table = Index(store)
    assert (table.version(), table.read().num_rows, table.history()) == (None, 0, [])

    release(table, "run-1", model("a", 1), model("b", 1))
    assert release(table, "run-1", model("a", 1), model("b", 1)).already
    release(table, "run-3", model("a", 3), just("b", 3, GONE))
    assert release(table, "run-2", model("a", 2)).superseded == ("a",)
    table.rollback(1, hold=True)
    with pytest.raises(HeldError):
        release(table, "run-4", model("a", 4, listed_at=datetime.now(UTC) + timedelta(hours=1)))
    table.resume()

    assert {key: row["digest"][-1] for key, row in rows(table).items()} == {"a": "1", "b": "1"}
    assert rows(table, at=2)["b"]["gone_since"] == at(3)
    assert [each.operation for each in table.history()] == ["resume", "rollback", "release", "release", "create"]
    with pytest.raises(ConfigurationError, match="no version 9"):
        table.read(at=9)


def test_on_s3_two_runs_that_publish_at_once_both_arrive(s3: S3) -> None:
    store = open_store(f"s3://{s3.bucket()}/out", StorageSide(**s3.storage))
    together = threading.Barrier(3)

    def run(number: int) -> None:
        together.wait()
        release(Index(store), f"run-{number}", model(f"k{number}", number), model("same", number))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = rows(Index(store))
    assert sorted(found) == ["k0", "k1", "k2", "same"]
    assert found["same"]["digest"] == f"{2:064x}"


def test_on_s3_a_missing_bucket_is_told_as_such(s3: S3) -> None:
    store = open_store("s3://no-such-bucket/out", StorageSide(**s3.storage))

    with pytest.raises(NotFoundError, match="bucket 'no-such-bucket' does not exist"):
        release(Index(store), "run-1", model("a", 1))


def test_a_release_of_plain_rows_is_all_puts(table: Index) -> None:
    plain = pa.Table.from_pylist([model("a", 1)], schema=ROW)

    assert table.release(plain, run="run-1").applied == 1


# ---- the files that a release is written to


def test_a_release_writes_only_the_files_anew_that_hold_its_keys(table: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_file, "_MOST", 3)
    release(table, "run-1", *(model(key, 1) for key in "abcdef"))
    first = set(table.files(1))

    release(table, "run-2", model("b", 2), model("z", 2))

    assert len(first) == 2
    assert len(first & set(table.files(2))) == 1
    assert {key: row["digest"][-1] for key, row in rows(table).items()} == {
        **dict.fromkeys("acdef", "1"),
        "b": "2",
        "z": "2",
    }


def test_rows_are_the_same_in_slices_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, and a release, longer than what is held at a time: every row has its own new values."""
    found = []
    for size in (65_536, 2, 1):
        monkeypatch.setattr(data_file, "SLICE", size)
        monkeypatch.setattr(merge, "SLICE", size)
        monkeypatch.setattr(data_file, "_MOST", 2 * size + 1)
        table = Index(open_store(str(tmp_path / str(size)), StorageSide()))
        release(table, "run-1", *(model(key, 1) for key in "abcdefg"), failure("x", 1))
        release(
            table,
            "run-2",
            failure("b", 2),
            just("c", 2, RETIRE),
            just("d", 2, TOUCH, data="later", content="c"),
            just("e", 2, GONE),
            model("x", 2),
            model("y", 2),
        )
        found.append(rows(table))
        assert [(each.inserted, each.updated, each.removed) for each in table.history()[:2]] == [(1, 4, 1), (8, 0, 0)]

    assert [found[0][key]["state"] for key in "abdexy"] == ["live", "stale", "live", "live", "live", "live"]
    assert (found[0]["d"]["data"], found[0]["e"]["gone_since"], sorted(found[0])) == ("later", at(2), list("abdefgxy"))
    assert found[0] == found[1] == found[2]


def test_many_releases_of_new_keys_do_not_leave_a_file_each(table: Index) -> None:
    for number in range(12):
        release(table, f"run-{number}", model(f"key-{number}", number))

    newest = table.version()
    assert newest is not None
    assert len(table.files(newest)) < 10
    assert len(rows(table)) == 12


def test_every_tenth_version_has_a_checkpoint(table: Index, store: Store) -> None:
    for number in range(11):
        release(table, f"run-{number}", model(f"key-{number}", number))

    names = store.list("index/_delta_log")["name"].to_pylist()
    assert [name for name in names if ".checkpoint." in name] == [
        "index/_delta_log/00000000000000000010.checkpoint.parquet"
    ]


def test_a_table_that_another_tool_has_moved_on_is_not_rewritten(table: Index, store: Store) -> None:
    release(table, "run-1", model("a", 1))
    log = Path(store.address.path) / "index/_delta_log/00000000000000000002.json"
    log.write_text(
        '{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],'
        '"writerFeatures":["deletionVectors"]}}'
    )

    with pytest.raises(OutputError, match="version 3 of the Delta protocol"):
        release(table, "run-2", model("a", 2))
