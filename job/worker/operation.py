"""The operation on each key of a task (training or scoring). The attempt reads, guards, uploads and records.

Training is one operation (`job.worker.training`), scoring another (`job.worker.scoring`).
"""

from __future__ import annotations

import os.path
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from job.fit.contest import Champion
from job.fit.partition_fit import Result
from job.reader.spec import VERSION, ReadSpec
from job.score.part import Part


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One planned key of a task's list."""

    key: str
    data: str
    content: str | None
    """digest of what the published model was fitted on; equal content is not fitted again"""
    bytes: int
    objects: list[dict[str, Any]]
    """name, etag, size and modified of each"""
    champion: dict[str, Any] | None = None
    """the live model that the new one is compared with (`job.fit.contest.Champion`), as the plan found it"""
    reading: int = VERSION
    """by which version of the rules of reading that model was made"""
    chunk: str | None = None
    """scoring: the planned list of keys whose results are put together (`job.worker.chunks`)"""
    model: str | None = None
    """scoring: JSON with ``name``, ``digest``, ``size`` and ``versions`` of the key's model, and ``held``
    (`job.score.bounds.HeldOut`)"""

    @property
    def source(self) -> str:
        """The object, or the folder and the number of objects."""
        names = [str(each["name"]) for each in self.objects]
        if len(names) == 1:
            return names[0]
        return os.path.commonpath([name.rpartition("/")[0] or "." for name in names]) + f"/ ({len(names)} objects)"


class Payload(Protocol):
    """The data of one key: bytes of objects, or rows. It can be pickled, for a guarded child."""

    def content(self) -> str:
        """Digest of what was read."""

    def rows(self, spec: ReadSpec) -> pa.Table:
        """The rows; asked for once, and then the payload lets go of what it holds."""

    def as_before(self, spec: ReadSpec, version: int) -> bool:
        """Whether an earlier version of the rules of reading gives the same rows."""


class Operation(Protocol):
    """The operation on a key: plain data for executors and guarded children. It touches no store."""

    @property
    def done(self) -> str:
        """The status of a key for which the operation succeeded."""

    @property
    def spec(self) -> ReadSpec:
        """How bytes become rows."""

    def run(
        self, key: str, rows: Callable[[], pa.Table], champion: Champion | None = None, payload: Payload | None = None
    ) -> Result:
        """Do the operation on one key. Errors of the data or of the user's code become a failed result.

        Parameters
        ----------
        key
            The partition's key.
        rows
            Makes the rows, once; an error of theirs is the key's failure too.
        champion
            The live model, where a new one is compared with it.
        payload
            What the rows are made of, and what else was read for the key.
        """

    def of_error(self, error: BaseException) -> Result:
        """The result of a key that could not be read."""

    def pack(self, tables: Sequence[pa.Table]) -> Part:
        """The tables of some keys' results as one object; for keys that have a chunk."""

    def place(self, key: str, digest: str) -> str:
        """The path of a result's bytes below the output; it contains their digest."""

    def columns(self) -> dict[str, Any]:
        """Columns that each outcome of this operation has, such as fingerprints."""


def perform(operation: Operation, key: str, payload: Payload, champion: Champion | None = None) -> Result:
    """The operation on what was read for a key, in this process."""
    return operation.run(key, lambda: payload.rows(operation.spec), champion, payload)
