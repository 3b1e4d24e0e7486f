"""A published set as a mapping: lazy, pinned, verified before anything is unpickled."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job.errors import ConfigurationError, DamageError
from job.registry import index
from job.registry.index import Index
from job.registry.model_set import ModelSet
from job.store import Store, open_store
from tests.support.published import at, line, publish, slope


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "output"))


def failure(key: str, minute: int = 1) -> dict[str, Any]:
    return {"key": key, "state": "failed", "reason": "oom", "message": "m", "listed_at": at(minute)}


def blob(store: Store, models: ModelSet, key: str) -> Path:
    return Path(store.uri.removeprefix("file://")) / models.path(key)


# ---- the mapping


def test_a_set_is_a_mapping_from_key_to_estimator(store: Store) -> None:
    publish(store, {"b": line(2.0), "a": line(1.0)})

    models = ModelSet.open(store.uri)

    assert isinstance(models, Mapping)
    assert list(models) == ["a", "b"]
    assert len(models) == 2
    assert "a" in models
    assert "c" not in models
    assert 7 not in models
    assert {key: slope(model) for key, model in models.items()} == {"a": 1.0, "b": 2.0}
    assert models["a"].predict([[10.0]])[0] == pytest.approx(10.0)
    assert models.get("c") is None
    assert (models.uri, models.version) == (store.uri, 1)


def test_a_key_without_a_model_is_a_key_error(store: Store) -> None:
    Index(store).release(index.changes([failure("f")]), run="run-0")
    models = ModelSet.open(store.uri)

    for key in ("f", "nobody"):
        with pytest.raises(KeyError, match=key):
            models[key]
    assert list(models) == []
    assert models.info("f")["reason"] == "oom"
    with pytest.raises(KeyError, match="nobody"):
        models.info("nobody")


def test_a_stale_model_is_in_the_set_and_says_so(store: Store) -> None:
    publish(store, {"a": line(1.0)})
    Index(store).release(index.changes([failure("a", 2)]), run="run-2")

    models = ModelSet.open(store.uri)

    assert slope(models["a"]) == 1.0
    assert models.info("a")["state"] == "stale"


def test_a_set_stays_at_the_version_it_was_opened_at(store: Store) -> None:
    publish(store, {"a": line(1.0)})
    before = ModelSet.open(store.uri)
    publish(store, {"a": line(2.0), "b": line(3.0)}, minute=2)

    assert (before.version, list(before), slope(before["a"])) == (1, ["a"], 1.0)
    assert slope(ModelSet.open(store.uri)["a"]) == 2.0
    assert slope(ModelSet.open(store.uri, at=1)["a"]) == 1.0


def test_nothing_published_is_a_configuration_error_that_names_the_place(store: Store) -> None:
    with pytest.raises(ConfigurationError, match=r"nothing has been published at .*output"):
        ModelSet.open(store.uri)
    publish(store, {"a": line(1.0)})
    with pytest.raises(ConfigurationError, match="no version 9"):
        ModelSet.open(store.uri, at=9)


@settings(max_examples=15, deadline=None)
@given(keys=st.sets(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30), min_size=1, max_size=5))
def test_any_text_is_a_key_whose_model_is_found(tmp_path_factory: pytest.TempPathFactory, keys: set[str]) -> None:
    store = open_store(str(tmp_path_factory.mktemp("o")))
    publish(store, {key: line(float(number)) for number, key in enumerate(sorted(keys))})

    models = ModelSet.open(store.uri)

    assert [slope(models[key]) for key in sorted(keys)] == [float(number) for number in range(len(keys))]


# ---- what is known about a model


def test_info_is_the_row_with_its_json_unpacked(store: Store) -> None:
    publish(store, {"a": line(1.0)}, warnings='["w"]', source="a.csv")

    info = ModelSet.open(store.uri).info("a")

    assert (info["metrics"], info["warnings"], info["source"], info["rows"]) == ({"r2": 1.0}, ["w"], "a.csv", 3)
    assert info["versions"]["python"]
    assert info["listed_at"] == at(1)


def test_metrics_is_a_frame_with_a_row_for_each_model(store: Store) -> None:
    publish(store, {"b": line(2.0)}, metrics='{"r2": 0.5, "mae": 1}')
    publish(store, {"a": line(1.0)}, minute=2, metrics='{"rows": 7}')
    publish(store, {"c": line(1.0)}, minute=3, metrics=None)
    Index(store).release(index.changes([failure("f", 4)]), run="run-4")

    metrics = ModelSet.open(store.uri).metrics()

    assert list(metrics.index) == ["a", "b", "c"]
    assert metrics.loc["b", "r2"] == 0.5
    assert metrics.loc["a", "rows"] == 7, "a metric of the user's own name wins"
    assert metrics.loc["a", "rows_"] == 3
    assert list(metrics["state"]) == ["live"] * 3


def test_frame_has_every_key_those_without_a_model_too(store: Store) -> None:
    publish(store, {"a": line(1.0)})
    Index(store).release(index.changes([failure("f", 2)]), run="run-2")

    frame = ModelSet.open(store.uri).frame()

    assert list(frame.index) == ["a", "f"]
    assert frame.loc["f", "reason"] == "oom"


# ---- loading


def test_nothing_is_loaded_before_it_is_asked_for(store: Store) -> None:
    publish(store, {"a": line(1.0), "b": line(2.0)})
    models = ModelSet.open(store.uri)
    blob(store, models, "b").unlink()

    assert slope(models["a"]) == 1.0
    with pytest.raises(DamageError, match="model 'b' is missing"):
        models["b"]


def test_a_loaded_model_is_kept_and_the_longest_unused_one_goes_first(store: Store) -> None:
    publish(store, {key: line(1.0) for key in "abc"})
    models = ModelSet.open(store.uri, cache=2)
    a, b = models["a"], models["b"]

    assert models["a"] is a
    assert models["c"] is models["c"]
    assert models["a"] is a
    assert models["b"] is not b


def test_no_cache_means_a_new_object_each_time(store: Store) -> None:
    publish(store, {"a": line(1.0)})
    models = ModelSet.open(store.uri, cache=0)

    assert models["a"] is not models["a"]


def test_threads_may_share_a_set(store: Store) -> None:
    publish(store, {f"k{n}": line(float(n)) for n in range(20)})
    models = ModelSet.open(store.uri, cache=4)
    wrong: list[str] = []

    def read() -> None:
        wrong.extend(key for key in models if slope(models[key]) != float(key[1:]))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_a_set_can_be_sent_to_another_process(store: Store) -> None:
    publish(store, {"a": line(1.0)})
    models = ModelSet.open(store.uri)
    models["a"]

    sent = pickle.loads(pickle.dumps(models))

    assert (list(sent), sent.version, slope(sent["a"])) == (["a"], 1, 1.0)
    assert sent["a"] is not models["a"]


@pytest.mark.parametrize("package", ["scikit-learn", "python"])
def test_a_model_of_another_version_is_refused_unless_told_otherwise(store: Store, package: str) -> None:
    from job.fit import artifact

    publish(store, {"a": line(1.0)}, versions=json.dumps({**artifact.versions(), package: "1.0.2"}))

    with pytest.raises(DamageError, match=f"model 'a'.*{package} 1.0"):
        ModelSet.open(store.uri)["a"]
    assert slope(ModelSet.open(store.uri, allow_version_skew=True)["a"]) == 1.0


# ---- the import


PROGRAM = """
import sys
from job.registry.model_set import ModelSet
models = ModelSet.open(sys.argv[1])
assert list(models) == ["a"] and models.metrics().loc["a", "r2"] == 1.0
assert float(models["a"].coef_[0]) > 0.9
assert "pyspark" not in sys.modules and "py4j" not in sys.modules
"""


def test_using_a_set_needs_neither_spark_nor_java_and_exits_cleanly(store: Store) -> None:
    publish(store, {"a": line(1.0)})

    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, store.uri],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "JAVA_HOME": "/nowhere"},
    )

    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_package_offers_model_set_without_importing_it_before_it_is_asked_for() -> None:
    program = "import sys, job; assert 'job.registry.model_set' not in sys.modules; from job import ModelSet; print(ModelSet.__name__)"

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout) == (0, "ModelSet\n")
