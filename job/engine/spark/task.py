"""Code that runs in Spark's Python workers. Executors import it by its name, so it must not be in a launched script."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pyarrow as pa

from job.worker.direct import work_on
from job.worker.work import SUMMARY, Work, summary_row


def ddl(schema: pa.Schema) -> str:
    """An Arrow schema in Spark's notation, such as ``task int, name string``."""
    kinds = {"int32": "int", "int64": "long", "double": "double", "string": "string"}
    return ", ".join(f"{field.name} {kinds[str(field.type)]}" for field in schema)


SUMMARY_DDL = ddl(SUMMARY)
"""The columns of the summary that a task returns."""


class TaskRunner:
    """The function for ``mapInPandas`` (``direct`` reader): takes numbers of tasks, yields one summary row for each.

    No data passes through the JVM: the worker reads its own list and its own objects.
    """

    def __init__(self, work: Work) -> None:
        self._work = work

    def __call__(self, batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        from pyspark import TaskContext

        context = TaskContext.get()
        attempt = context.attemptNumber() if context is not None else 0
        for batch in batches:
            rows: list[dict[str, Any]] = []
            for task in batch["id"].tolist():
                rows.append(summary_row(work_on(self._work, int(task), attempt)))
            yield pd.DataFrame(rows)
