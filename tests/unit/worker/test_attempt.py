"""A later attempt at a task: what it leaves behind when a partition takes the whole container with it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from job import run_paths
from job.config.settings import JobSettings, StorageSide
from job.engine.spark.session import most_attempts
from job.errors import PartitionError
from job.run.assembly import assemble
from job.store import open_store
from job.worker import direct, segment
from job.worker.attempt import Attempt
from job.worker.operation import Item, perform
from job.worker.training import Training
from job.worker.work import Work


class Container(BaseException):
    """The end of the container: nothing of ours runs any more."""


class Data:
    """What was read for a key; fitting a deadly one ends everything, as often as it is told to."""

    def __init__(self, key: str, deaths: dict[str, int]) -> None:
        self.key, self.deaths = key, deaths

    def content(self) -> str:
        return "content"

    def rows(self, spec: Any) -> Any:
        if self.deaths.get(self.key, 0):
            self.deaths[self.key] -= 1
            raise Container
        raise PartitionError("fit_error", "no model, which is quickly said")


class Child:
    """A guarded child in this process: what ends the container ends the test's part of it, too."""

    def __init__(self, operation: Any, **_: object) -> None:
        self.operation = operation

    def run(self, key: str, payload: Data, champion: Any = None) -> Any:
        return perform(self.operation, key, payload, champion)

    def close(self) -> None: ...


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("job.worker.attempt.Child", Child)


POISON = 1000
"""deaths: more than there are attempts"""


class Source:
    """Keys whose fit ends the container so many times."""

    def __init__(self, **deaths: int) -> None:
        self.keys, self.deaths = list(deaths), deaths

    def read(
        self, wanted: Callable[[Item], bool], last: Callable[[Item], bool] = lambda item: False
    ) -> Iterator[tuple[Item, Data]]:
        for key in self.keys:
            item = Item(key=key, data=key, content=None, bytes=1, objects=[{"name": f"{key}.csv"}])
            if wanted(item):
                yield item, Data(key, self.deaths)


def test_objects_of_a_suspect_are_read_after_all_others_and_not_kept_in_memory_meanwhile(work: Work) -> None:
    items = [Item(key=key, data=key, content=None, bytes=1, objects=[_object(work, key)]) for key in "abc"]
    suspects: set[str] = set()

    def wanted(item: Item) -> bool:
        if item.key == "a":
            suspects.add("a")
        return True

    read = direct.Objects(work, items).read(wanted, lambda item: item.key in suspects)

    assert [item.key for item, _ in read] == ["b", "c", "a"]


def _object(work: Work, key: str) -> dict[str, Any]:
    work.input.put(f"{key}.csv", key.encode())
    info = work.input.head(f"{key}.csv")
    assert info is not None
    return {"name": info.name, "etag": info.etag, "size": info.size, "modified": info.modified}


@pytest.fixture
def work() -> Work:
    store = open_store(f"memory://attempts-{uuid.uuid4().hex}", StorageSide())
    recipe = {"features": ["x"], "target": "y", "estimator": {"_target_": "sklearn.linear_model.LinearRegression"}}
    settings = JobSettings.model_validate(
        {"input": {"uri": "memory://in"}, "recipe": recipe, "output": {"uri": "memory://out"}}
    )
    return Work(
        run="r",
        plan="p",
        input=store,
        output=store,
        operation=Training(fitting=assemble(settings).fitting, recipe="recipe", environment="environment"),
        hive=False,
        timeout=None,
        memory=None,
        table=None,
    )


def attempted(work: Work, source: Source) -> tuple[int, dict[str, str]]:
    """Attempts until one ends well or Spark would end the job, and what became of each key."""
    for attempt in range(work.attempts):
        try:
            Attempt(work, 0, attempt, expendable=False).work_on(source)
            break
        except Container:
            pass
    else:
        attempt += 1
    rows = segment.read(work.output, run_paths.segments(work.run)).to_pylist()
    assert len({row["key"] for row in rows}) == len(rows), "no key has two outcomes"
    return attempt + 1, {row["key"]: row["reason"] for row in rows}


def test_a_death_throws_suspicion_on_the_one_partition_that_was_being_fitted_and_on_no_other(work: Work) -> None:
    attempts, reasons = attempted(work, Source(a=0, b=0, deadly=POISON, z=0))

    assert attempts == 4
    assert reasons == {"a": "fit_error", "b": "fit_error", "deadly": "worker_died", "z": "fit_error"}


def test_several_partitions_of_one_task_that_kill_the_container_are_named_within_the_attempts_there_are(
    work: Work,
) -> None:
    attempts, reasons = attempted(work, Source(a=0, one=POISON, b=0, two=POISON, z=0))

    assert attempts == 4
    assert {key for key, reason in reasons.items() if reason == "worker_died"} == {"one", "two"}
    assert set(reasons) == {"a", "b", "z", "one", "two"}


def test_more_than_two_of_them_in_one_task_need_more_attempts(work: Work) -> None:
    poisons = Source(one=POISON, two=POISON, three=POISON, z=0)
    assert attempted(work, poisons)[0] == 5, "Spark would have ended the job"

    more = replace(work, plan="q", run="s", attempts=6)
    attempts, reasons = attempted(more, Source(one=POISON, two=POISON, three=POISON, z=0))

    assert attempts == 6
    assert {key for key, reason in reasons.items() if reason == "worker_died"} == {"one", "two", "three"}


def test_a_worker_killed_from_outside_during_a_second_attempt_costs_no_partition(work: Work) -> None:
    attempts, reasons = attempted(work, Source(first=1, healthy=1, z=0))

    assert attempts == 3
    assert set(reasons.values()) == {"fit_error"}, "each was fitted in the end"


def test_a_suspect_is_tried_again_only_after_all_others(work: Work) -> None:
    for attempt in (1, 2):
        with pytest.raises(Container):
            Attempt(work, 0, attempt, expendable=False).work_on(Source(deadly=POISON, a=0, z=0))

    rows = segment.read(work.output, run_paths.segments(work.run)).to_pylist()
    assert {row["key"] for row in rows} == {"a", "z"}


def test_the_last_attempt_lets_no_suspect_in(work: Work) -> None:
    """If it was a poison after all, the run would end with nothing published."""
    with pytest.raises(Container):
        Attempt(work, 0, 2, expendable=False).work_on(Source(killed_from_outside=1, z=0))

    Attempt(work, 0, 3, expendable=False).work_on(Source(killed_from_outside=0, z=0))

    rows = segment.read(work.output, run_paths.segments(work.run)).to_pylist()
    assert {row["key"]: row["reason"] for row in rows} == {"killed_from_outside": "worker_died", "z": "fit_error"}


@pytest.mark.parametrize("letter", "0af")
def test_a_mark_counts_whatever_the_attempt_that_left_it_is_called(
    work: Work, letter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (SimpleNamespace(hex=letter * 15 + f"{number:x}" * 17) for number in range(16))
    monkeypatch.setattr(segment, "uuid", SimpleNamespace(uuid4=lambda: next(names)))
    source = Source(deadly=POISON)
    for _ in range(2):
        with pytest.raises(Container):
            Attempt(work, 0, 1, expendable=False).work_on(source)

    Attempt(work, 0, 1, expendable=False).work_on(source)

    rows = segment.read(work.output, run_paths.segments(work.run)).to_pylist()
    assert [row["reason"] for row in rows] == ["worker_died"]


def test_an_attempt_that_spark_numbers_again_counts_as_one_of_its_own(work: Work) -> None:
    """A stage that is repeated begins at 0."""
    source = Source(deadly=POISON, z=0)
    for _ in range(2):
        with pytest.raises(Container):
            Attempt(work, 0, 1, expendable=False).work_on(source)

    Attempt(work, 0, 1, expendable=False).work_on(source)

    rows = segment.read(work.output, run_paths.segments(work.run)).to_pylist()
    assert {row["key"]: row["reason"] for row in rows} == {"deadly": "worker_died", "z": "fit_error"}


@pytest.mark.parametrize(
    ("master", "conf", "attempts"),
    [
        ("local", {}, 1),
        ("local[2]", {}, 1),
        ("local[*,4]", {}, 4),
        ("local[2, 7]", {"spark.task.maxFailures": "9"}, 7),
        ("k8s://https://cluster", {}, 4),
        ("local-cluster[2,1,512]", {"spark.task.maxFailures": "8"}, 8),
    ],
)
def test_how_many_attempts_there_are_is_spark_s_to_say(master: str, conf: dict[str, str], attempts: int) -> None:
    assert most_attempts(master, lambda name, default: conf.get(name, default)) == attempts
