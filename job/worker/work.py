"""What a task works on: the plain data that driver and executors share. No IO here."""

from __future__ import annotations

import os.path
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from job.errors import PartitionError
from job.fit.partition_fit import Fitting, Result
from job.plan.spark_read import TableRead
from job.reader.table_scan import TableScan
from job.store import Store

if TYPE_CHECKING:
    from job.worker.guarded_child import Child

TASK_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("data", pa.string()),
        ("content", pa.string()),
        ("bytes", pa.int64()),
        (
            "objects",
            pa.list_(
                pa.struct(
                    [
                        ("name", pa.string()),
                        ("etag", pa.string()),
                        ("size", pa.int64()),
                        ("modified", pa.timestamp("us", "UTC")),
                    ]
                )
            ),
        ),
    ]
)
"""A task's list, in the order in which it is trained."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What every task of a run shares; plain data, pickled to the executors."""

    run: str
    """the run's id"""
    plan: str
    """the id of this driver's plan"""
    input: Store
    """where objects are read"""
    output: Store
    """where models and segments are put"""
    fitting: Fitting
    """what is fitted"""
    recipe: str
    """fingerprint of the recipe"""
    environment: str
    """fingerprint of the environment"""
    hive: bool
    """directories give columns"""
    timeout: float | None
    """seconds per fit"""
    memory: int | None
    """resident bytes of the worker during a fit"""
    speculation: bool = False
    """two attempts of one task may run at once"""
    attempts: int = 4
    """at one task, before Spark ends the job"""
    table: TableRead | None = None
    """``spark.read`` hands over the data; None: the tasks read by themselves"""
    scan: TableScan | None = None
    """the table that the tasks read by themselves (layout ``columns``)"""
    readers: int = 0
    """of a table: tasks of the first stage (`job.worker.exchange`); 0: each task reads its own pieces of files"""
    needs: tuple[int, ...] = ()
    """bytes of memory that each task may need, for an engine that lets no more begin than the machine has"""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a task tells the driver: a hint, never the truth (that is in the segments)."""

    task: int
    trained: int
    unchanged: int
    skipped: int
    failed: int
    adopted: int
    worker: str
    seconds: float
    fit_seconds: float
    peak: int


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

    @property
    def source(self) -> str:
        """The object, or the folder and the number of objects."""
        names = [str(each["name"]) for each in self.objects]
        if len(names) == 1:
            return names[0]
        return os.path.commonpath([name.rpartition("/")[0] or "." for name in names]) + f"/ ({len(names)} objects)"


class Payload(Protocol):
    """What was read for one key: bytes of objects, or rows."""

    def content(self) -> str:
        """Digest of what was read."""

    def fit(self, fitting: Fitting, key: str) -> Result:
        """Train here."""

    def fit_in(self, child: Child, key: str) -> Result:
        """Train in a guarded child."""


class Source(Protocol):
    """Where a task's keys and their data come from."""

    def read(
        self, wanted: Callable[[Item], bool], last: Callable[[Item], bool] = lambda item: False
    ) -> Iterator[tuple[Item, Payload | PartitionError]]:
        """The wanted keys, each with what was read or with why it cannot be.

        Those for which ``last`` holds come at the end, where the source can choose; ``wanted`` is asked for all before.
        """


def task_name(run: str, plan: str, task: int) -> str:
    """Where a task's list lies below the output."""
    return f"runs/{run}/plan/{plan}/{task:05d}.arrow"


def pieces_name(run: str, plan: str) -> str:
    """Where the pieces of a table's files lie below the output, each with who reads it."""
    return f"runs/{run}/plan/{plan}/pieces.arrow"


def keys_name(run: str, plan: str) -> str:
    """Where the planned keys of a table lie below the output, each with its task and its place there."""
    return f"runs/{run}/plan/{plan}/keys.arrow"


def summary_row(summary: Summary) -> dict[str, Any]:
    """A summary as the row that a task returns."""
    return {name: getattr(summary, name) for name in Summary.__dataclass_fields__}


PIECES_SCHEMA = pa.schema(
    [
        ("reader", pa.int32()),
        ("name", pa.string()),
        ("size", pa.int64()),
        ("etag", pa.string()),
        ("given", pa.string()),
        ("part", pa.int32()),
        ("begin", pa.int64()),
        ("end", pa.int64()),
        ("line", pa.int64()),
        ("rows", pa.int64()),
        ("bytes", pa.int64()),
    ]
)
"""Pieces of a table's files, in the order of their rows; ``given`` is JSON: columns that are the same for all rows."""

KEYS_SCHEMA = pa.schema([("key", pa.string()), ("task", pa.int32())])
"""The planned keys in the order of tasks, and within a task in that of its list."""
