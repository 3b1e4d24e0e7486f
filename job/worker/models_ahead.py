"""Models for the keys of a task, read by threads ahead of their use: one request each, and checked.

A key's model goes along with its rows, so that an operation, and a guarded child, need no store.
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
"""Models that are read before their turn."""
AHEAD_BYTES = 64_000_000
_KEPT = 4
"""Models that are kept for the next keys: of a fallback there is one for many."""


class WithModel:
    """The data of a key, and the bytes of its model.

    Parameters
    ----------
    payload
        The rows, or what they are made of.
    model, digest, versions
        The bytes, their SHA-256, and the versions that they were made with, as JSON.
    source
        Where the rows come from, for a person.
    held
        What intervals are made of; None for none.
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
        """Digest of the rows, the model and its residuals: equal rows under another model are scored again."""
        told = "" if self.held is None else f" {self.held.residuals} {self.held.until}"
        return hashlib.sha256(f"{self._payload.content()} {self.digest}{told}".encode()).hexdigest()

    def rows(self, spec: ReadSpec) -> pa.Table:
        """The rows."""
        return self._payload.rows(spec)

    def as_before(self, spec: ReadSpec, version: int) -> bool:
        """Whether an earlier version of the rules of reading gives the same rows."""
        return self._payload.as_before(spec, version)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._payload, bytes(self.model), self.digest, self.versions, self.source, self.held)


class ModelsAhead:
    """A source whose payloads have their key's model.

    Parameters
    ----------
    source
        The keys with their rows.
    models
        Where the models lie.
    """

    def __init__(self, source: Source, models: Store) -> None:
        self._source, self._store = source, models
        self._waiting: dict[str, dict[str, Any]] = {}
        self._reading: OrderedDict[str, Future[Any]] = OrderedDict()
        self._done: OrderedDict[str, Any] = OrderedDict()

    def read(
        self, wanted: Callable[[Item], bool], last: Callable[[Item], bool] = lambda item: False
    ) -> Iterator[tuple[Item, Payload | PartitionError]]:
        """The wanted keys with rows and model."""

        def noted(item: Item) -> bool:
            if not wanted(item):
                return False
            about = json.loads(item.model or "{}")
            self._waiting[about["digest"]] = about
            return True

        with ThreadPoolExecutor(AHEAD, "model") as pool:
            for item, read in self._source.read(noted, last):
                if isinstance(read, PartitionError):
                    yield item, read
                    continue
                about = json.loads(item.model or "{}")
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
            self._reading[digest] = pool.submit(self._get, about)
        future = self._reading.pop(digest)
        held = 0
        for each in list(self._waiting.values()):
            held += each["size"]
            if len(self._reading) >= AHEAD or held > AHEAD_BYTES:
                break
            self._reading[each["digest"]] = pool.submit(self._get, self._waiting.pop(each["digest"]))
        self._done[digest] = future.result()
        while len(self._done) > _KEPT:
            self._done.popitem(last=False)
        return self._done[digest]

    def _get(self, about: dict[str, Any]) -> Any:
        with storage("input", "the models cannot be read"):
            try:
                data = self._store.get(about["name"])
            except NotFoundError:
                raise InputError(
                    f"{about['name']} is not in {self._store.uri} any more: gc removed the version that this run "
                    "was planned with",
                    hint="Run again: it takes the current version. `manyfit gc --margin` longer than a scoring takes "
                    "keeps that from happening.",
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
