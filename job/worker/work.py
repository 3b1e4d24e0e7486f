"""The plain data that the driver sends to the executors. No input or output here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from job.errors import PartitionError
from job.plan.spark_read import TableRead
from job.reader.table_file import PIECE
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
"""Schema of a task's list, whose rows are in the order of the training."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """The plain data that all tasks of a run share; pickled to the executors."""

    run: str
    """the run's id"""
    plan: str
    """the id of this driver's plan"""
    input: Store
    """the store that holds the objects of the input"""
    output: Store
    """the store for models and segments"""
    operation: Operation
    """the operation on each key"""
    models: Store | None = None
    """scoring: the store that holds the models; None for a training"""
    hive: bool
    """whether the names of directories (``store=1``) give columns"""
    timeout: float | None
    """limit in seconds for each fit; None: no limit"""
    memory: int | None
    """limit in bytes for the resident memory of the worker during a fit; None: no limit"""
    speculation: bool = False
    """whether two attempts of one task may run at once"""
    attempts: int = 4
    """number of attempts of a task after which Spark ends the job"""
    table: TableRead | None = None
    """how ``spark.read`` reads the table; None: the tasks themselves read the data"""
    rows: bool = True
    """whether keys have data; False: the operation gets only the keys of a task's list"""
    scan: TableScan | None = None
    """how the tasks themselves read the table (layout ``columns``)"""
    readers: int = 0
    """for a table: number of tasks of the first stage (`job.worker.exchange`); 0: each task reads its own pieces"""
    needs: tuple[int, ...] = ()
    """bytes of memory that each task may need, for an engine that limits the tasks at work to the machine's memory"""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The value that a task returns to the driver. It serves only for figures: the segments decide about outcomes."""

    task: int
    done: int
    """number of keys for which the operation succeeded"""
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
        """Yield the wanted keys, each with its data or with the error that prevented the reading.

        ``wanted`` is called for all keys first. Keys for which ``last`` is true come at the end, if the source can
        choose the order.
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
    """Turn a summary into the row that a task returns."""
    return {name: getattr(summary, name) for name in Summary.__dataclass_fields__}


PIECES_SCHEMA = pa.schema(
    [
        ("reader", pa.int32()),
        ("name", pa.string()),
        ("size", pa.int64()),
        ("etag", pa.string()),
        ("given", pa.string()),
        *PIECE,
    ]
)
"""Schema of the pieces of a table's files, in order. ``given`` is JSON: columns with the same value in all rows."""

KEYS_SCHEMA = pa.schema([("key", pa.string()), ("task", pa.int32())])
"""Schema of the planned keys, in the order of tasks, and within a task in the order of its list."""
