"""Models are read ahead of their use: some, not all, and not more bytes than memory has room for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from job.errors import PartitionError
from job.store import open_store
from job.worker import models_ahead
from job.worker.models_ahead import ModelsAhead, WithModel
from job.worker.operation import Item
from job.worker.payload import NoRows

STORE = "memory://models-ahead"
OBJECTS = [{"name": "rows.csv"}]


def item(number: int, body: bytes) -> Item:
    digest = hashlib.sha256(body).hexdigest()
    name = f"models/k{number}/{digest}.joblib"
    store = open_store(STORE)
    if store.head(name) is None:
        store.put(name, body)
    about = {"name": name, "digest": digest, "size": len(body), "versions": None}
    return Item(key=f"k{number}", data="", content=None, bytes=0, objects=OBJECTS, model=json.dumps(about))


class Listed:
    """A source of keys without rows; every key with an odd number cannot be read if there are ``broken`` ones."""

    def __init__(self, items: list[Item], *, broken: bool = False) -> None:
        self._items, self._broken = items, broken

    def read(self, wanted: Callable[[Item], bool], last: Any = None) -> Iterator[tuple[Item, NoRows | PartitionError]]:
        for number, each in enumerate([each for each in self._items if wanted(each)]):
            yield each, PartitionError("input_changed", "replaced") if self._broken and number % 2 else NoRows()


def read(items: list[Item], monkeypatch: pytest.MonkeyPatch, *, broken: bool = False) -> tuple[list[bytes], list[int]]:
    """The models in the order of the keys, and how many had been asked for when each was handed out."""
    asked = []
    begin = ModelsAhead._begin
    monkeypatch.setattr(
        ModelsAhead, "_begin", lambda self, pool, about: (asked.append(about["name"]), begin(self, pool, about))[1]
    )
    found, numbers = [], []
    for _, payload in ModelsAhead(Listed(items, broken=broken), open_store(STORE)).read(lambda _: True):
        if broken and isinstance(payload, PartitionError):
            continue
        assert isinstance(payload, WithModel)
        found.append(bytes(payload.model))
        numbers.append(len(asked))
    return found, numbers


def test_each_key_gets_its_model_and_a_few_are_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = [b"model %d" % number for number in range(100)]

    found, asked = read([item(number, body) for number, body in enumerate(bodies)], monkeypatch)

    assert found == bodies
    assert asked[0] == 1 + models_ahead.AHEAD
    assert asked[-1] == 100


def test_large_models_are_read_ahead_only_as_far_as_their_bytes_have_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models_ahead, "AHEAD_BYTES", 250)
    bodies = [b"%0100d" % number for number in range(20)]

    found, asked = read([item(number, body) for number, body in enumerate(bodies)], monkeypatch)

    assert found == bodies
    assert all(number <= at + 3 for at, number in enumerate(asked))  # the model in use, and two of 100 bytes


def test_a_model_of_many_keys_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    one = item(0, b"the fallback")
    items = [
        Item(key=f"k{number}", data="", content=None, bytes=0, objects=OBJECTS, model=one.model) for number in range(9)
    ]

    found, asked = read(items, monkeypatch)

    assert found == [b"the fallback"] * 9
    assert asked == [1] * 9


def test_keys_that_cannot_be_read_do_not_end_the_reading_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = [b"model %d" % number for number in range(100)]

    found, asked = read([item(number, body) for number, body in enumerate(bodies)], monkeypatch, broken=True)

    assert found == bodies[::2]
    assert asked[30] > 60 + models_ahead.AHEAD / 2, "of 61 keys that were passed, with more to come"
