"""The tasks of the ``spark`` reader: they gather the rows of one key at a time, and pass them to an `Attempt`.

Spark delivers Arrow batches whose rows are sorted by key, or come file after file. The rows of a key may span several
batches; only the rows of one key are held at a time. Each row has the number of its task, and the place of its key in
the list of that task.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job import reader, run_paths
from job.arrow import decode
from job.errors import AccountingError, PartitionError
from job.keys import hive_columns
from job.plan import table_keys
from job.plan.spark_read import TableRead
from job.reader.schema import arrow_type, cast_declared, check_declared
from job.worker.attempt import Attempt, begun_before
from job.worker.operation import Item, Payload
from job.worker.payload import Blobs, Rows
from job.worker.work import SUMMARY, Work, summary_row

TASK, AT, OBJECT, SAME, WHOLE, CONTENT = (
    f"__manyfit_{name}" for name in ("task", "at", "object", "same", "whole", "content")
)
"""Names of the columns that the driver adds before those of the data."""

MOST_BYTES = 1_000_000_000
"""Bytes of an object at most. Spark makes one value of an object, with a limit of 2 GB, and copies it."""


class TableRunner:
    """The function for ``mapInArrow``: takes batches of rows, and yields one summary row."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def __call__(self, given: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Train the keys of one Spark partition."""
        from pyspark import TaskContext

        batches = iter(given)
        first = next((batch for batch in batches if batch.num_rows), None)
        if first is None:
            return
        assert self._work.table is not None
        context = TaskContext.get()
        attempt = context.attemptNumber() if context is not None else 0
        if self._work.table.shuffled:
            task = int(first.column(TASK)[0].as_py())
            if attempt == 0 and begun_before(self._work, task):
                attempt = 1
        else:
            task = context.partitionId() if context is not None else 0
        source = Gathered(self._work, itertools.chain([first], batches))
        summary = Attempt(self._work, task, attempt, expendable=context is not None).work_on(source)
        yield pa.RecordBatch.from_pylist([summary_row(summary)], schema=SUMMARY)


class Gathered:
    """A source of the keys of one Spark partition, each with all its rows.

    Parameters
    ----------
    work
        The data that all tasks share.
    batches
        Batches of rows. All rows of a key must follow each other.
    """

    def __init__(self, work: Work, batches: Iterator[pa.RecordBatch]) -> None:
        assert work.table is not None
        self._work, self._read, self._batches = work, work.table, batches
        self._lists: dict[int, pa.Table] = {}

    def read(
        self, wanted: Callable[[Item], bool], last: Callable[[Item], bool] = lambda item: False
    ) -> Iterator[tuple[Item, Payload | PartitionError]]:
        """Yield the wanted keys, each with its data or the error of reading it, in the order of Spark's rows."""
        payload = self._of_objects if self._read.whole else self._of_rows
        for task, at, parts in runs(self._batches):
            item = self._item(task, at)
            if not wanted(item):
                continue
            try:
                read: Payload | PartitionError = payload(item, parts)
            except PartitionError as error:
                read = error
            del parts
            yield item, read

    def _item(self, task: int, at: int) -> Item:
        if task not in self._lists:
            name = run_paths.task_list(self._work.run, self._work.plan, task)
            self._lists[task] = decode(self._work.output.get(name))
        return Item(**self._lists[task].slice(at, 1).to_pylist()[0])

    def _of_objects(self, item: Item, parts: list[pa.RecordBatch]) -> Payload:
        found: dict[int, Any] = {}
        for part in parts:
            contents, same = part.column(CONTENT), part.column(SAME).to_pylist()
            for row, number in enumerate(part.column(OBJECT).to_pylist()):
                if not same[row]:
                    raise changed(str(item.objects[number]["name"]))
                found[number] = contents[row].as_buffer()
        for number, each in enumerate(item.objects):
            if not each["size"]:
                # Spark delivers no row for an empty file.
                found.setdefault(number, b"")
        if len(found) < len(item.objects):
            refuse_unreadable(item, self._read)
            raise missing(next(str(each["name"]) for number, each in enumerate(item.objects) if number not in found))
        blobs = [(str(each["name"]), found[number]) for number, each in enumerate(item.objects)]
        return Blobs(blobs)

    def _of_rows(self, item: Item, parts: list[pa.RecordBatch]) -> Payload:
        found = pa.Table.from_batches(parts)
        if self._read.layout == "columns":
            _check_count(item, found.num_rows)
            found = found.drop_columns([TASK, AT])
            if self._read.inferred:
                found = wide(found)
            found = key_columns(found, item.key, self._read)
        else:
            _check_files(item, found)
            file_of_row = found.column(OBJECT).to_numpy()
            found = found.drop_columns([TASK, AT, OBJECT, SAME, WHOLE])
        declared = {name: arrow_type(name, kind) for name, kind in self._work.operation.spec.schema}
        if declared:
            if self._read.layout != "columns":
                check_declared(
                    item.source, found.column_names, declared, None, hive_columns(str(item.objects[0]["name"]))
                )
            found = cast_declared(item.source, found, declared)
        if self._work.hive:
            levels = [hive_columns(str(each["name"])) for each in item.objects]
            found = reader.levels.add(found, levels, file_of_row, declared)
        return Rows(found)


def runs(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[int, int, list[pa.RecordBatch]]]:
    """Group consecutive rows by key. Yields (task, place in the list of the task, pieces of batches).

    Raises
    ------
    AccountingError
        A key comes a second time: its rows were not together, so a model would have been fitted on some of them only.
    """
    current: tuple[int, int] | None = None
    parts: list[pa.RecordBatch] = []
    seen: set[tuple[int, int]] = set()
    for batch in batches:
        if not batch.num_rows:
            continue
        task, at = (batch.column(name).to_numpy() for name in (TASK, AT))
        bounds = np.flatnonzero((task[1:] != task[:-1]) | (at[1:] != at[:-1])) + 1
        for low, high in itertools.pairwise([0, *bounds.tolist(), len(at)]):
            here = (int(task[low]), int(at[low]))
            if here != current:
                if current is not None:
                    yield (*current, parts)
                if here in seen:
                    raise AccountingError(
                        f"the rows of one key came apart (task {here[0]}, place {here[1]})",
                        hint="Nothing was published. Report this: it is a bug of manyfit.",
                    )
                seen.add(here)
                current, parts = here, []
            parts.append(batch.slice(low, high - low))
    if current is not None:
        yield (*current, parts)


def _check_count(item: Item, rows: int) -> None:
    if rows != table_keys.rows_of(str(item.objects[0]["etag"])):
        raise PartitionError(
            "input_changed", "the table's rows for this key changed after they were counted; run again"
        )


def _check_files(item: Item, found: pa.Table) -> None:
    odd = found.filter(pc.invert(found[SAME])).slice(0, 1)
    if odd.num_rows:
        raise changed(str(item.objects[odd[OBJECT][0].as_py()]["name"]))
    odd = found.filter(pc.invert(found[WHOLE])).slice(0, 1)
    if odd.num_rows:
        raise PartitionError(
            "split_object",
            f"Spark split {item.objects[odd[OBJECT][0].as_py()]['name']} over several tasks",
            hint="Do not set spark.sql.files.maxPartitionBytes below the size of the largest object.",
        )


def changed(name: str) -> PartitionError:
    """The error for an object that differs from the listed one."""
    return PartitionError("input_changed", f"{name} was replaced after the plan was made; run again")


def missing(name: str) -> PartitionError:
    """The error for an object that was deleted after the listing."""
    return PartitionError("input_missing", f"{name} was deleted after the plan was made; run again")


def refuse_unreadable(item: Item, read: TableRead) -> None:
    """Raise a PartitionError if Spark cannot deliver an object of this key, because of its name or its size."""
    for each in item.objects:
        if read.local and ":" in each["name"]:
            raise PartitionError(
                "unsupported_key",
                f"Hadoop's local file system cannot open {each['name']}: a colon is in its name",
                hint="Use input.reader: direct.",
            )
        if each["size"] > MOST_BYTES:
            raise PartitionError(
                "unsupported_format",
                f"{each['name']} has {each['size'] / 1e9:,.1f} GB, more than Spark can hand over as one value",
                hint="Use input.reader: direct.",
            )


def wide(found: pa.Table) -> pa.Table:
    """Cast columns of type int32 to int64, the type that the ``direct`` reader infers for whole numbers."""
    for at, field in enumerate(found.schema):
        if field.type == pa.int32():
            found = found.set_column(at, field.with_type(pa.int64()), found.column(at).cast(pa.int64()))
    return found


def key_columns(found: pa.Table, key: str, read: TableRead) -> pa.Table:
    """Mark the key columns of the rows. A key column from names of directories gets a type inferred from its text."""
    texts = hive_columns(key + "/")
    for name in read.key:
        if name in read.partitioned and name in found.column_names:
            found = found.drop_columns([name])
            found = reader.levels.add(found, [{name: texts[name]}])
        elif name in found.column_names:
            at = found.column_names.index(name)
            field = found.schema.field(at).with_metadata(reader.KEY_FIELD)
            found = found.set_column(at, field, found.column(at))
    return found
