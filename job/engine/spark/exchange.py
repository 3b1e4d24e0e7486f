"""The exchange of a table's rows on Spark: blobs of Arrow data go through Spark's shuffle; the JVM sees no rows.

The two stages are those of `job.worker.exchange`. Spark moves a few binary values, and repeats lost work.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from job.engine.base import EngineReport
from job.engine.spark.frames import Actions
from job.engine.spark.task import SUMMARY_DDL
from job.worker.attempt import begun_before
from job.worker.exchange import Blob, blobs
from job.worker.merge import train
from job.worker.work import SUMMARY, Work, summary_row

_BLOBS = pa.schema([("bucket", pa.int32()), ("sequence", pa.int64()), ("data", pa.binary())])
_COLUMNS = "bucket int, sequence long, data binary"
_BATCH_BYTES = 16 << 20
"""Bytes of a batch between Python and the JVM. With Spark's default, a batch of blobs could exceed 2 GB."""


def run(engine: Actions, work: Work, tasks: int) -> EngineReport:
    """Run both stages as one Spark action. The returned summaries are only hints for the report."""
    session = engine.session
    if "spark.sql.execution.arrow.maxBytesPerBatch" not in engine.given:
        session.conf.set("spark.sql.execution.arrow.maxBytesPerBatch", str(_BATCH_BYTES))
    readers = session.range(0, work.readers, 1, work.readers)
    moved = readers.mapInArrow(Reader(work), _COLUMNS).repartitionById(tasks, "bucket")
    rows, metrics = engine.action(lambda: moved.mapInArrow(Trainer(work), SUMMARY_DDL).collect())
    return EngineReport(summaries=tuple(row.asDict() for row in rows), metrics=metrics)


class Reader:
    """The function of the first stage: takes numbers of readers, and yields blobs."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def __call__(self, given: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Read the pieces of the readers of one Spark partition."""
        held: list[Blob] = []
        size = 0
        for batch in given:
            for reader in batch.column(0).to_pylist():
                for blob in blobs(self._work, int(reader)):
                    held.append(blob)
                    size += memoryview(blob.data).nbytes
                    if size >= _BATCH_BYTES // 2:
                        yield _batch(held)
                        held, size = [], 0
        if held:
            yield _batch(held)


def _batch(held: list[Blob]) -> pa.RecordBatch:
    columns: list[Any] = [
        [blob.bucket for blob in held],
        [blob.sequence for blob in held],
        [memoryview(blob.data) for blob in held],
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _BLOBS, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_BLOBS)


class Trainer:
    """The function of the second stage: takes the blobs of one bucket, and yields one summary row."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def __call__(self, given: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Train the keys of one Spark partition."""
        from pyspark import TaskContext

        found = _unpacked(given)
        first = next(found, None)
        if first is None:
            return
        context = TaskContext.get()
        attempt = context.attemptNumber() if context is not None else 0
        # When Spark repeats a stage whose shuffle files were lost, it counts attempts from 0 again.
        if attempt == 0 and begun_before(self._work, first.bucket):
            attempt = 1

        def every() -> Iterator[Blob]:
            yield first
            yield from found

        summary = train(self._work, first.bucket, attempt, every(), expendable=context is not None, scratch=_scratch())
        yield pa.RecordBatch.from_pylist([summary_row(summary)], schema=SUMMARY)


def _unpacked(given: Iterable[pa.RecordBatch]) -> Iterator[Blob]:
    for batch in given:
        data = batch.column(2)
        for row, (bucket, sequence) in enumerate(
            zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True)
        ):
            yield Blob(bucket=bucket, sequence=sequence, data=data[row].as_buffer())


def _scratch() -> str | None:
    """Spark's own folder for scratch files (on Kubernetes usually a large volume); None if it has none."""
    folders = [each for each in os.environ.get("SPARK_LOCAL_DIRS", "").split(",") if os.path.isdir(each)]
    return folders[0] if folders else None
