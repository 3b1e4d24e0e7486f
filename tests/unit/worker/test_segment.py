"""Outcome segments: durable by count, by time and at the end; a failure in the background is not lost."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from job import run_paths
from job.arrow import encode
from job.errors import FullError, StoreError, UnreachableError
from job.outcome import FAILED, SCHEMA, TRAINED, Outcome
from job.store import Store, open_store
from job.worker import segment
from job.worker.segment import SegmentWriter


@pytest.fixture
def store() -> Store:
    return open_store(f"memory://{uuid.uuid4().hex}")


@pytest.fixture
def writers(store: Store) -> Iterator[Any]:
    made: list[SegmentWriter] = []

    def writer(**options: Any) -> SegmentWriter:
        made.append(SegmentWriter(store, **{"run": "r", "plan": "p", "task": 3, "attempt": 0, **options}))
        return made[-1]

    yield writer
    for each in made:
        each._stop.set()
        each._thread.join()


def outcome(number: int, status: str = TRAINED) -> Outcome:
    return Outcome(key=f"k{number:04}", status=status, data="d")


def names(store: Store) -> list[str]:
    return [name.rpartition("/")[2] for name in store.list(run_paths.segments("r"))["name"].to_pylist()]


def keys(store: Store) -> list[str]:
    return sorted(segment.read(store, run_paths.segments("r"))["key"].to_pylist())


def test_a_segments_name_tells_task_attempt_outcomes_and_failures(store: Store, writers: Any) -> None:
    writer = writers(task=7, attempt=2)
    for number in range(5):
        writer.add(outcome(number, FAILED if number < 2 else TRAINED))
    writer.close()
    assert names(store) == [f"t00007-a2-{writer.id}-0000-n5-f2.arrow"]
    assert segment.progress(names(store)) == segment.Progress(done=5, failed=2, segments=1)
    assert segment.by_task(names(store)) == {7: 5}
    assert segment.failures(names(store)[0]) == 2


def test_names_of_other_things_count_for_nothing() -> None:
    others = ["t1-a0.arrow", "result.json", "t00001-a0-ff-0000-n5-f2.arrow.tmp"]
    assert segment.progress(others) == segment.Progress(done=0, failed=0, segments=0)
    assert segment.by_task(others) == {}
    assert segment.failures(others[0]) == 0


def test_outcomes_are_put_when_there_are_many(store: Store, writers: Any) -> None:
    writer = writers()
    for number in range(segment.EVERY_OUTCOMES - 1):
        writer.add(outcome(number))
    assert names(store) == []
    writer.add(outcome(9999))
    assert names(store)[0].endswith("-n512-f0.arrow")
    writer.add(outcome(10000))
    writer.close()
    assert segment.progress(names(store)).done == segment.EVERY_OUTCOMES + 1
    assert len(set(names(store))) == 2, "each has a name of its own"


def test_outcomes_are_put_after_a_while(store: Store, writers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment, "EVERY_SECONDS", 0.0)
    put = threading.Event()
    ensure = store.ensure
    monkeypatch.setattr(store, "ensure", lambda name, data: (ensure(name, data), put.set())[0])
    writer = writers()
    writer.add(outcome(1))
    assert put.wait(30)
    assert keys(store) == ["k0001"]


def test_nothing_is_put_where_there_is_nothing(store: Store, writers: Any) -> None:
    writer = writers()
    writer.flush()
    writer.close()
    assert names(store) == []


def test_a_failure_in_the_background_is_raised_by_the_next_outcome_and_by_the_end(
    store: Store, writers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment, "EVERY_SECONDS", 0.0)

    def unreachable(name: str, data: bytes) -> bool:
        raise UnreachableError("gone")

    monkeypatch.setattr(store, "ensure", unreachable)
    writer = writers()
    writer.add(outcome(1))
    writer._thread.join(30)
    assert not writer._thread.is_alive()
    with pytest.raises(UnreachableError, match="gone"):
        writer.add(outcome(2))
    with pytest.raises(UnreachableError, match="gone"):
        writer.close()


@pytest.mark.parametrize(("error", "kept"), [(FullError("full"), ["k0001"]), (StoreError("gone"), [])])
def test_an_abandoned_task_puts_what_is_finished_only_after_a_full_disk(
    store: Store, writers: Any, error: StoreError, kept: list[str]
) -> None:
    """Else the store is out of reach, and waiting for it once more would take minutes."""
    writer = writers()
    writer.add(outcome(1))
    writer.abandon(error)
    assert keys(store) == kept


def test_room_is_given_back_before_the_last_segment_is_put(
    store: Store, writers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = writers()
    said: list[str] = []
    monkeypatch.setattr(writer._reserve, "give_back", lambda: said.append("given back"))
    monkeypatch.setattr(store, "ensure", lambda name, data: said.append("put"))
    writer.add(outcome(1))
    writer.abandon(FullError("full"))
    assert said == ["given back", "put"]


def test_outcomes_that_did_not_fit_are_put_with_the_next(
    store: Store, writers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = writers()
    writer.add(outcome(1))
    ensure = store.ensure

    def full(name: str, data: bytes) -> bool:
        raise FullError("full")

    monkeypatch.setattr(store, "ensure", full)
    with pytest.raises(FullError):
        writer.flush()
    monkeypatch.setattr(store, "ensure", ensure)
    writer.add(outcome(2))
    writer.close()
    assert keys(store) == ["k0001", "k0002"]


def test_segments_of_an_older_version_have_nulls_in_new_columns(store: Store) -> None:
    folder = run_paths.segments("r", "p")
    old = pa.table({"key": ["a"], "status": ["trained"], "task": pa.array([1], pa.int32())})
    store.create(f"{folder}t00001-a0-ff-0000-n1-f0.arrow", encode(old))
    found = segment.read(store, run_paths.segments("r"))
    assert found.column_names == SCHEMA.names
    assert found["key"].to_pylist() == ["a"]
    assert found["digest"].to_pylist() == [None]
    assert segment.read(store, run_paths.segments("r"), columns=["task", "key"]).to_pylist() == [
        {"task": 1, "key": "a"}
    ]


def test_no_segment_is_an_empty_table_with_the_columns_asked_for(store: Store) -> None:
    store.create(f"{run_paths.segments('r', 'p')}other.txt", b"x")
    assert segment.read(store, run_paths.segments("r")).column_names == SCHEMA.names
    assert segment.read(store, run_paths.segments("r"), columns=["key"]).column_names == ["key"]
