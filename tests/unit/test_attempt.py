"""A later attempt at a task: what it leaves behind when a partition takes the whole container with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from job import segment
from job.assembly import assemble
from job.attempt import Attempt
from job.fit import Result, failed
from job.settings import JobSettings, StorageSide
from job.store import Store
from job.work import Item, Work


class Container(BaseException):
    """The end of the container: nothing of ours runs any more."""


class Data:
    """What was read for a key; fitting the deadly one ends everything."""

    def content(self) -> str:
        return "content"

    def fit(self, fitting: Any, key: str) -> Result:
        if key == "deadly":
            raise Container
        return failed("fit_error", "no model, which is quickly said")

    def fit_in(self, child: Any, key: str) -> Result:
        return self.fit(None, key)


class Source:
    """Two harmless keys, then the deadly one, then another."""

    def read(self, wanted: Callable[[Item], bool]) -> Iterator[tuple[Item, Data]]:
        for key in ("a", "b", "deadly", "z"):
            item = Item(key=key, data=key, content=None, bytes=1, objects=[{"name": f"{key}.csv"}])
            if wanted(item):
                yield item, Data()


@pytest.fixture
def work() -> Work:
    store = Store.open("memory://attempts", StorageSide())
    recipe = {"features": ["x"], "target": "y", "estimator": {"_target_": "sklearn.linear_model.LinearRegression"}}
    settings = JobSettings.model_validate(
        {"input": {"uri": "memory://in"}, "recipe": recipe, "output": {"uri": "memory://out"}}
    )
    return Work(
        run="r",
        plan="p",
        input=store,
        output=store,
        fitting=assemble(settings).fitting,
        recipe="recipe",
        environment="environment",
        hive=False,
        timeout=None,
        memory=None,
        table=None,
    )


def test_a_death_throws_suspicion_on_the_one_partition_that_was_being_fitted_and_on_no_other(work: Work) -> None:
    with pytest.raises(Container):
        Attempt(work, 0, 1, expendable=False).train(Source())

    Attempt(work, 0, 2, expendable=False).train(Source())

    rows = segment.read(work.output, segment.folder(work.run)).to_pylist()
    assert {row["key"]: row["reason"] for row in rows} == {
        "a": "fit_error",
        "b": "fit_error",
        "deadly": "worker_died",
        "z": "fit_error",
    }
