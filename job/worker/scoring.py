"""Scoring as the operation of a task: applies the model of each key to its rows."""

from __future__ import annotations

import json
import traceback
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import pyarrow as pa

from job.errors import DamageError, PartitionError, SkipPartition
from job.fit import artifact, partition_fit
from job.fit.contest import Champion
from job.fit.partition_fit import Result, failed
from job.outcome import SCORED
from job.reader.spec import VERSION, ReadSpec
from job.score import forecast, part
from job.score.apply import Recipe
from job.score.part import Part
from job.worker.models_ahead import WithModel
from job.worker.operation import Payload

_KEPT = 4
"""Number of loaded models that are kept for the next keys."""


@lru_cache(maxsize=16)
def _versions(text: str | None) -> dict[str, str] | None:
    return json.loads(text) if text else None


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """Applies each key's model to its rows."""

    what: Recipe
    """how each key is scored"""
    fingerprint: str
    """fingerprint of the settings that decide the predictions"""
    _loaded: OrderedDict[str, Any] = field(default_factory=OrderedDict, repr=False)

    @property
    def done(self) -> str:
        """The status of a scored key."""
        return SCORED

    @property
    def named(self) -> str:
        """The work on one key, for messages."""
        return "the scoring of this key"

    @property
    def spec(self) -> ReadSpec:
        """How bytes become rows."""
        return self.what.spec

    def __getstate__(self) -> dict[str, Any]:
        """The state for another process, without loaded models."""
        return {"what": self.what, "fingerprint": self.fingerprint, "_loaded": OrderedDict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)

    def run(
        self, key: str, rows: Callable[[], pa.Table], champion: Champion | None = None, payload: Payload | None = None
    ) -> Result:
        """Load the model, and predict the rows of the key."""
        assert isinstance(payload, WithModel)
        try:
            told: list[str] = []
            table = partition_fit.arranged(rows(), self.spec, told) if self.what.rows else None
            if table is not None and not table.num_rows:
                raise SkipPartition("empty", "no row")
            done = forecast.scored(
                self.what,
                key,
                table,
                self._model(payload),
                digest=payload.digest,
                source=payload.source,
                held=payload.held,
            )
        except MemoryError as error:
            return failed("oom", f"out of memory: {error or 'MemoryError'}", traceback.format_exc())
        except Exception as error:
            return self.of_error(error)
        told += done.warnings
        return Result(
            status=SCORED,
            table=done.table,
            rows=done.table.num_rows,
            read=done.read,
            metrics=json.dumps(done.errors) if done.errors else None,
            warnings=json.dumps(told) if told else None,
            seconds=done.seconds,
            judged={"residuals": json.dumps({"held": done.within})} if done.within else {},
        )

    def _model(self, payload: WithModel) -> Any:
        if self.what.function is not None:
            self._loaded.clear()  # a function may change the model, and the next key may have the same one
        if payload.digest not in self._loaded:
            try:
                self._loaded[payload.digest] = artifact.load(
                    payload.model,
                    digest=payload.digest,
                    versions=_versions(payload.versions),
                    allow_version_skew=self.what.allow_version_skew,
                )
            except DamageError as error:
                raise PartitionError("model_damaged", error.message, hint=error.hint) from error
            while len(self._loaded) > _KEPT:
                self._loaded.popitem(last=False)
        return self._loaded[payload.digest]

    def of_error(self, error: BaseException) -> Result:
        """The result of a key that could not be read: skipped if it has no row, else failed."""
        return partition_fit.of_error(self.what.on_empty, error)

    def pack(self, tables: Sequence[pa.Table]) -> Part:
        """Encode the predictions of a chunk as one part."""
        return part.pack(tables)

    def place(self, key: str, digest: str) -> str:
        """The path of a part below the output."""
        return f"{part.FOLDER}/{part.path(digest)}"

    def columns(self) -> dict[str, Any]:
        """The fingerprints that the next run compares."""
        return {"recipe": self.fingerprint, "environment": "", "reading": VERSION}
