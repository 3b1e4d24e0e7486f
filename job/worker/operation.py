"""The interface of the operation on each key of a task; the attempt reads, guards, uploads and records.

There are two operations: training (`job.worker.training`) and scoring (`job.worker.scoring`).
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
    """digest of the data that the published model was fitted on; equal data is not fitted again; None: no model"""
    bytes: int
    objects: list[dict[str, Any]]
    """name, etag, size and modified of each object"""
    champion: dict[str, Any] | None = None
    """the live model for the comparison (`job.fit.contest.Champion`), as of the plan; None: no comparison"""
    reading: int = VERSION
    """version of the reading rules with which the published model was made"""
    chunk: str | None = None
    """scoring: the chunk of the key (`job.worker.chunks`)"""
    model: str | None = None
    """scoring: JSON with ``name``, ``digest``, ``size`` and ``versions`` of the key's model, and ``held``
    (`job.score.bounds.HeldOut`)"""

    @property
    def source(self) -> str:
        """The name of the object, or the folder and the number of objects, for messages."""
        names = [str(each["name"]) for each in self.objects]
        if len(names) == 1:
            return names[0]
        return os.path.commonpath([name.rpartition("/")[0] or "." for name in names]) + f"/ ({len(names)} objects)"


class Payload(Protocol):
    """The data of one key: bytes of objects, or rows. It can be pickled, for a guarded child."""

    def content(self) -> str:
        """Digest of the data that was read."""

    def rows(self, spec: ReadSpec) -> pa.Table:
        """The rows. Callers call this once: it frees the data that the payload holds."""

    def as_before(self, spec: ReadSpec, version: int) -> bool:
        """Whether ``version`` of the reading rules gives the same rows as the current version."""


class Operation(Protocol):
    """The operation on a key: plain data that can be sent to executors and guarded children. It uses no store."""

    @property
    def done(self) -> str:
        """The status of a key for which the operation succeeded."""

    @property
    def named(self) -> str:
        """The work on one key, for messages: ``the fit``."""

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
            Returns the rows; called once. If it raises, the key fails.
        champion
            The live model for the comparison by the gate; None: no comparison.
        payload
            The data that ``rows`` reads, with the key's model for a scoring.
        """

    def of_error(self, error: BaseException) -> Result:
        """The result of a key that could not be read."""

    def pack(self, tables: Sequence[pa.Table]) -> Part:
        """Encode the tables of the results of a chunk as one object."""

    def place(self, key: str, digest: str) -> str:
        """The path of a result below the output. It contains the digest of its bytes."""

    def columns(self) -> dict[str, Any]:
        """Values of columns that are the same for each outcome of this operation, such as fingerprints."""


def perform(operation: Operation, key: str, payload: Payload, champion: Champion | None = None) -> Result:
    """Do the operation on the data of a key, in this process."""
    return operation.run(key, lambda: payload.rows(operation.spec), champion, payload)
