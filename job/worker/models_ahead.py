"""Reads and checks the models for the keys of a task, by threads ahead of their use, with one request for each.

The model of a key is passed on with its rows, so that neither the operation nor a guarded child needs a store.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from job.errors import InputError, NotFoundError, PartitionError
from job.reader.spec import ReadSpec
from job.score.bounds import HeldOut
from job.store import Store
from job.store.side import storage
from job.worker.operation import Item, Payload
from job.worker.work import Source

AHEAD = 16
"""Number of models that are read ahead of their use."""
AHEAD_BYTES = 64_000_000
_KEPT = 4
"""Number of models that are kept for the next keys, because many keys may use the same fallback model."""


class WithModel:
    """The data of a key, and the bytes of its model.

    Parameters
    ----------
    payload
        The data of the key.
    model, digest, versions
        The bytes of the model, their SHA-256, and the library versions of its training as JSON.
    source
        The origin of the rows, for messages.
    held
        The residuals on held-out rows, for intervals; None if there are none.
    """

    __slots__ = ("_payload", "digest", "held", "model", "source", "versions")

    def __init__(
        self,
        payload: Payload,
        model: Any,
        digest: str,
        versions: str | None,
        source: str,
        held: HeldOut | None = None,
    ) -> None:
        self._payload, self.model, self.digest, self.versions, self.source = payload, model, digest, versions, source
        self.held = held

    def content(self) -> str:
        """Digest of the data, the model and its residuals: equal data with another model is scored again."""
        told = "" if self.held is None else f" {self.held.residuals} {self.held.until}"
        return hashlib.sha256(f"{self._payload.content()} {self.digest}{told}".encode()).hexdigest()

    def rows(self, spec: ReadSpec) -> pa.Table:
        """The rows of the key."""
        return self._payload.rows(spec)

    def as_before(self, spec: ReadSpec, version: int) -> bool:
        """Whether ``version`` of the reading rules gives the same rows as the current version."""
        return self._payload.as_before(spec, version)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._payload, bytes(self.model), self.digest, self.versions, self.source, self.held)


class ModelsAhead:
    """A source that adds the model of each key to its payload.

    Parameters
    ----------
    source
        Yields the keys with their data.
    models
        The store that holds the models.
    """

    def __init__(self, source: Source, models: Store) -> None:
        self._source, self._store = source, models
        self._waiting: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._reading: dict[str, Future[Any]] = {}
        self._ahead = 0  # bytes of the models in `_reading`
        self._done: OrderedDict[str, Any] = OrderedDict()

    def read(
        self, wanted: Callable[[Item], bool], last: Callable[[Item], bool] = lambda item: False
    ) -> Iterator[tuple[Item, Payload | PartitionError]]:
        """Yield the wanted keys with data and model."""

        told: dict[str, dict[str, Any]] = {}

        def noted(item: Item) -> bool:
            if not wanted(item):
                return False
            told[item.key] = about = json.loads(item.model or "{}")
            self._waiting[about["digest"]] = about
            return True

        with ThreadPoolExecutor(AHEAD, "model") as pool:
            for item, read in self._source.read(noted, last):
                about = told.pop(item.key)
                if isinstance(read, PartitionError):
                    self._leave(about)
                    yield item, read
                    continue
                found = self._model(pool, about)
                if isinstance(found, PartitionError):
                    yield item, found
                else:
                    held = HeldOut(**about["held"]) if about.get("held") else None
                    yield item, WithModel(read, found, about["digest"], about.get("versions"), item.source, held)

    def _model(self, pool: ThreadPoolExecutor, about: dict[str, Any]) -> Any:
        digest = about["digest"]
        if digest in self._done:
            return self._done[digest]
        self._waiting.pop(digest, None)
        if digest not in self._reading:
            self._begin(pool, about)
        future = self._reading.pop(digest)
        self._ahead -= about["size"]
        while self._waiting and len(self._reading) < AHEAD:
            following = next(iter(self._waiting.values()))
            if self._ahead + following["size"] > AHEAD_BYTES:
                break
            self._waiting.popitem(last=False)
            self._begin(pool, following)
        self._done[digest] = future.result()
        while len(self._done) > _KEPT:
            self._done.popitem(last=False)
        return self._done[digest]

    def _leave(self, about: dict[str, Any]) -> None:
        """Leave out the model of a key that cannot be read: nobody would take it out of those that are read ahead."""
        self._waiting.pop(about["digest"], None)
        if self._reading.pop(about["digest"], None) is not None:
            self._ahead -= about["size"]

    def _begin(self, pool: ThreadPoolExecutor, about: dict[str, Any]) -> None:
        self._reading[about["digest"]] = pool.submit(self._get, about)
        self._ahead += about["size"]

    def _get(self, about: dict[str, Any]) -> Any:
        with storage("input", "the models cannot be read"):
            try:
                data = self._store.get(about["name"])
            except NotFoundError:
                raise InputError(
                    f"{about['name']} is not in {self._store.uri} any more: gc removed the version that this run "
                    "was planned with",
                    hint="Run again: without models.at it takes the current version. `manyfit gc --margin` longer than "
                    "a scoring takes keeps that from happening.",
                ) from None
            except PartitionError as error:
                return error
        size = memoryview(data).nbytes
        if size != about["size"] or hashlib.sha256(data).hexdigest() != about["digest"]:
            return PartitionError(
                "model_damaged",
                f"{about['name']} is not the model that was published",
                hint="`manyfit verify` lists what is damaged; train the key again.",
            )
        return data
