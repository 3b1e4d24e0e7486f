"""The plain data that the driver sends to the executors. No input or output here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from job.errors import PartitionError
from job.plan.spark_read import TableRead
from job.reader.table_scan import TableScan
from job.store import Store
from job.worker.operation import Item, Operation, Payload

TASK_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("data", pa.string()),
        ("content", pa.string()),
        ("reading", pa.int8()),
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
        (
            "champion",
            pa.struct(
                [
                    ("digest", pa.string()),
                    ("size", pa.int64()),
                    ("versions", pa.string()),
                    ("until", pa.string()),
                    ("judged_until", pa.string()),
                ]
            ),
        ),
        ("chunk", pa.string()),
        ("model", pa.string()),
    ]
)
"""A task's list, in the order in which it is trained."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """The plain data that all tasks of a run share; pickled to the executors."""

    run: str
    """the run's id"""
    plan: str
    """the id of this driver's plan"""
    input: Store
    """where objects are read"""
    output: Store
    """where models and segments are put"""
    operation: Operation
    """what is done with each key"""
    models: Store | None = None
    """scoring: where the models lie"""
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
    rows: bool = True
    """keys have data; False: the operation gets the keys of a task's list alone"""
    scan: TableScan | None = None
    """the table that the tasks read by themselves (layout ``columns``)"""
    readers: int = 0
    """of a table: tasks of the first stage (`job.worker.exchange`); 0: each task reads its own pieces of files"""
    needs: tuple[int, ...] = ()
    """bytes of memory that each task may need, for an engine that lets no more begin than the machine has"""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a task returns to the driver: a hint for the progress. The truth is in the segments."""

    task: int
    done: int
    """keys for which the operation succeeded"""
    unchanged: int
    skipped: int
    failed: int
    adopted: int
    worker: str
    seconds: float
    fit_seconds: float
    peak: int


class Source(Protocol):
    """Yields the keys of a task with their data."""

    def read(
        self, wanted: Callable[[Item], bool], last: Callable[[Item], bool] = lambda item: False
    ) -> Iterator[tuple[Item, Payload | PartitionError]]:
        """The wanted keys, each with what was read or with why it cannot be.

        Those for which ``last`` holds come at the end, where the source can choose; ``wanted`` is asked for all before.
        """


SUMMARY = pa.schema(
    [
        ("task", pa.int32()),
        *((name, pa.int64()) for name in ("done", "unchanged", "skipped", "failed", "adopted")),
        ("worker", pa.string()),
        ("seconds", pa.float64()),
        ("fit_seconds", pa.float64()),
        ("peak", pa.int64()),
    ]
)
"""Columns of a summary, in the order of `Summary`'s fields."""


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
