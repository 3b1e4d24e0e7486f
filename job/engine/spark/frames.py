"""The ``spark`` reader on the driver: makes data frames for the keys of a plan, and runs the training on them.

In layout ``objects`` Spark packs the files into its partitions as it likes, and nothing is shuffled. In the layouts
``hive`` and ``columns`` one shuffle sends the rows of every key to the Spark partition of its task in the plan. Keys
for which Spark delivered no data get their outcome at the end, on the driver.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job import run_paths
from job.arrow import decode
from job.engine.base import EngineReport
from job.engine.spark.gather import AT, CONTENT, MOST_BYTES, OBJECT, SAME, TASK, WHOLE, TableRunner
from job.engine.spark.task import SUMMARY_DDL
from job.engine.spark.unreadable import readable
from job.engine.spark.unseen import Unseen
from job.errors import ConfigurationError, InputError
from job.keys import HIVE_NULL, hive_columns, key_of_columns
from job.plan.packing import BASE_COST, COST_PER_BYTE
from job.plan.spark_read import TableRead
from job.plan.table_keys import COUNTS, nearest
from job.reader.schema import arrow_type
from job.worker import segment
from job.worker.attempt import Attempt
from job.worker.operation import Item
from job.worker.work import TASK_SCHEMA, Work, summary_row

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, DataFrameReader, SparkSession

_PATH, _BYTES, _SECONDS = "__manyfit_path", "__manyfit_bytes", "__manyfit_seconds"
_MOST_NAMED = 10_000
"""Up to this number of planned objects, a filter names them all, so that Spark opens no other objects."""
_BATCH = {"objects": "64", "rows": "10000"}
_BATCH_BYTES = "16777216"


class Actions(Protocol):
    """The part of a `SparkEngine` that a `TableEngine` uses."""

    session: SparkSession
    """the Spark session"""
    given: frozenset[str]
    """names of ``spark.conf`` that the user has set"""

    def action(self, action: Callable[[], Any]) -> tuple[Any, dict[str, int]]:
        """Run one Spark action. Returns its value and its metrics."""


class TableEngine:
    """Reads the input through the session of a `SparkEngine`.

    Parameters
    ----------
    engine
        Gives the session, and runs the actions.
    """

    def __init__(self, engine: Actions) -> None:
        self._engine = engine
        self._session = engine.session
        self._frame: tuple[TableRead, DataFrame] | None = None

    # -- the keys of a table

    def count(self, read: TableRead) -> pa.Table:
        """Count the rows of each key (schema `COUNTS`, sorted by key). Only the key columns are read.

        Raises
        ------
        ConfigurationError
            A column of the key or of the recipe does not exist, or the type of a key column has no text for a key.
        InputError
            Spark cannot read the table.
        """
        with readable(read):
            frame = self._table(read)
            texts = [_text(frame, name).alias(f"k{number}") for number, name in enumerate(read.key)]
            counted = frame.select(*texts).groupBy(*(f"k{number}" for number in range(len(texts)))).count()
            found, _ = self._engine.action(counted.toArrow)
        columns = [found.column(number).to_pylist() for number in range(len(texts))]
        keys = [key_of_columns(dict(zip(read.key, values, strict=True))) for values in zip(*columns, strict=True)]
        counts = pa.table(
            [pa.array(keys, pa.string()), found["count"].cast(pa.int64()).combine_chunks()], schema=COUNTS
        )
        return counts.take(pc.sort_indices(counts, sort_keys=[("key", "ascending")]))

    # -- training

    def run(self, work: Work, tasks: int) -> EngineReport:
        """Train the keys in the lists of the plan. Keys for which Spark delivers no data get their outcome here."""
        read = work.table
        assert read is not None
        due = _planned(work, tasks)
        with readable(read):
            frame = self._rows(read, due) if read.layout == "columns" else self._files(read, due, tasks)
            if read.shuffled:
                # repartitionById (Spark 4.1) uses the number itself as the number of the partition: one task in each.
                order = [AT, OBJECT] if OBJECT in frame.columns else [AT]
                frame = frame.repartitionById(tasks, TASK).sortWithinPartitions(*order)
            self._set({"spark.sql.execution.arrow.maxRecordsPerBatch": _BATCH["objects" if read.whole else "rows"]})
            self._set({"spark.sql.execution.arrow.useLargeVarTypes": str(read.whole).lower()})
            done = frame.mapInArrow(TableRunner(work), SUMMARY_DDL)
            rows, metrics = self._engine.action(done.collect)
        summaries = [row.asDict() for row in rows]
        summaries += self._settle(work, due, tasks)
        return EngineReport(summaries=tuple(summaries), metrics=metrics)

    # -- data frames

    def _table(self, read: TableRead) -> DataFrame:
        """The table of layout ``columns``. It is kept, so that its types are inferred only once."""
        if self._frame is not None and self._frame[0] == read:
            return self._frame[1]
        # Names of directories are compared as text: 01 and 1 are two keys.
        self._set(
            {"spark.sql.sources.partitionColumnTypeInference.enabled": "false", "spark.sql.caseSensitive": "true"}
        )
        reader = self._reader(read)
        if read.schema and read.format in ("csv", "json"):
            reader = reader.schema(_spark_schema(read.schema))
        if read.paths:
            frame = reader.option("basePath", read.root).load(list(read.paths))
        else:
            frame = reader.load(read.root)
        _check_columns(read, frame)
        if read.needed is not None:
            frame = frame.select(*(_named(name) for name in frame.columns if name in read.needed))
        self._frame = (read, frame)
        return frame

    def _reader(self, read: TableRead) -> DataFrameReader:
        reader: DataFrameReader = self._session.read.format(read.format)
        for name, value in {"__globPaths__": "false", **read.options}.items():
            reader = reader.option(name, value)
        return reader

    def _rows(self, read: TableRead, due: pa.Table) -> DataFrame:
        """The rows of the planned keys, each with the number of its task and its place in the list of the task."""
        from pyspark.sql import functions as sql

        frame = self._table(read)
        values = [hive_columns(key + "/") for key in due["key"].to_pylist()]
        names = [f"__manyfit_k{number}" for number in range(len(read.key))]
        columns = [pa.array([each[name] for each in values], pa.string()) for name in read.key]
        plan = self._session.createDataFrame(pa.table([*columns, due["task"], due["at"]], names=[*names, TASK, AT]))
        texts = [_text(frame, name).alias(text) for name, text in zip(read.key, names, strict=True)]
        frame = frame.select("*", *texts).alias("rows")
        plan = sql.broadcast(plan).alias("plan")
        same = [sql.col(f"rows.{name}").eqNullSafe(sql.col(f"plan.{name}")) for name in names]
        condition = same[0]
        for each in same[1:]:
            condition = condition & each
        data = [name for name in frame.columns if name not in names]
        return frame.join(plan, condition, "inner").select(TASK, AT, *(_named(name) for name in data))

    def _files(self, read: TableRead, due: pa.Table, tasks: int) -> DataFrame:
        """The objects or their rows, each with its task, its place in the task's list, and whether it is unchanged."""
        from pyspark.sql import functions as sql

        files = _exploded(read, due)
        sizes = files[_BYTES].to_numpy()
        opening = int(BASE_COST / COST_PER_BYTE)
        # A Spark partition gets about the bytes of one task of the plan, and no file is split.
        most = max(int((sizes.sum() + opening * len(sizes)) / tasks) + 1, int(sizes.max(initial=0)) + opening + 1)
        self._set(
            {
                "spark.sql.files.maxPartitionBytes": str(most),
                "spark.sql.files.openCostInBytes": str(opening),
                "spark.sql.files.minPartitionNum": "1",
                "spark.sql.files.ignoreMissingFiles": "true",
                "spark.sql.caseSensitive": "true",
            }
        )
        reader = self._reader(read).option("recursiveFileLookup", "true")
        frame = reader.load(read.root)
        about = sql.col("_metadata.file_path")
        # Java has quoted the path in _metadata as a URI, in which + is a plain +. url_decode would make a blank of it.
        path = sql.url_decode(sql.replace(about, sql.lit("+"), sql.lit("%2B")))
        if len(sizes) <= _MOST_NAMED:
            frame = frame.where(path.isin(files[_PATH].to_pylist()))
        if read.local:
            # Hadoop's local file system cannot open a name with a colon, and one such file would end the job.
            frame = frame.where(~path.substr(len(read.root) + 1, 1 << 20).contains(":"))
        size, time = sql.col("_metadata.file_size"), sql.unix_seconds(sql.col("_metadata.file_modification_time"))
        described = [path.alias("path"), size.alias("size"), time.alias("time")]
        if read.whole:
            data = [sql.col("content").alias(CONTENT)]
            frame = frame.where(sql.col("length") <= MOST_BYTES)
        else:
            whole = sql.col("_metadata.file_block_length") == size
            names = [name for name in frame.columns if read.needed is None or name in read.needed]
            data = [whole.alias(WHOLE), *(_named(name) for name in names)]
        frame = frame.select(*(each.alias(f"__manyfit_f{at}") for at, each in enumerate(described)), *data)
        plan = sql.broadcast(self._session.createDataFrame(files))
        joined = frame.join(plan, sql.col("__manyfit_f0") == sql.col(_PATH), "inner")
        same = (sql.col("__manyfit_f1") == sql.col(_BYTES)) & (sql.col("__manyfit_f2") == sql.col(_SECONDS))
        ours = [sql.col(TASK), sql.col(AT), sql.col(OBJECT), same.alias(SAME)]
        if read.whole:
            return joined.select(*ours, sql.when(same, sql.col(CONTENT)).alias(CONTENT))
        return joined.select(*ours, WHOLE, *(_named(name) for name in names))

    # -- keys for which Spark delivered no data

    def _settle(self, work: Work, due: pa.Table, tasks: int) -> list[dict[str, Any]]:
        """Write outcomes for planned keys that no task has seen, if the reason can be found.

        Any other key stays without an outcome, and the barrier reports it.
        """
        done = segment.read(work.output, run_paths.segments(work.run, work.plan), columns=["key"])
        left = due.filter(pc.invert(pc.is_in(due["key"], value_set=done["key"].combine_chunks())))
        if not left.num_rows:
            return []
        items = [Item(**row) for row in left.select(TASK_SCHEMA.names).to_pylist()]
        summary = Attempt(work, tasks, 0, expendable=False).work_on(Unseen(work, items))
        return [summary_row(summary)]

    def _set(self, conf: dict[str, str]) -> None:
        """Set options of the session, except those that the user has set in ``spark.conf``."""
        self._session.conf.set("spark.sql.execution.arrow.maxBytesPerBatch", _BATCH_BYTES)
        for name, value in conf.items():
            if name not in self._engine.given:
                self._session.conf.set(name, value)


def _planned(work: Work, tasks: int) -> pa.Table:
    """The lists of the plan as one table, with the columns ``task`` and ``at`` (the place in the task's list)."""
    parts = []
    for task in range(tasks):
        part = decode(work.output.get(run_paths.task_list(work.run, work.plan, task)))
        part = part.append_column("task", pa.repeat(pa.scalar(task, pa.int32()), part.num_rows))
        parts.append(part.append_column("at", pa.array(np.arange(part.num_rows, dtype=np.int32))))
    return pa.concat_tables(parts).combine_chunks()


def _exploded(read: TableRead, due: pa.Table) -> pa.Table:
    """A table with one row for each planned object."""
    lists = due["objects"].combine_chunks()
    owner = pc.list_parent_indices(lists)
    objects = lists.flatten()
    count = pc.list_value_length(lists).to_numpy()
    number = np.arange(len(objects)) - np.repeat(np.cumsum(count) - count, count)
    seconds = pc.floor_temporal(objects.field("modified"), unit="second").cast(pa.timestamp("s", "UTC"))
    return pa.table(
        {
            _PATH: pc.binary_join_element_wise(read.root, objects.field("name"), "/"),
            _BYTES: objects.field("size"),
            _SECONDS: seconds.cast(pa.int64()),
            TASK: due["task"].combine_chunks().take(owner),
            AT: due["at"].combine_chunks().take(owner),
            OBJECT: pa.array(number.astype(np.int32)),
        }
    )


def _named(name: str) -> Column:
    """A column by its exact name, which may contain dots."""
    from pyspark.sql import functions as sql

    return sql.col("`" + name.replace("`", "``") + "`")


def _text(frame: DataFrame, name: str) -> Column:
    """A key column as text. Null and hive's name for null both become null."""
    from pyspark.sql import functions as sql

    column = _named(name).cast("string")
    return sql.when(column == HIVE_NULL, sql.lit(None)).otherwise(column)


_NO_KEY = ("binary", "array", "map", "struct", "variant")


def _check_columns(read: TableRead, frame: DataFrame) -> None:
    kinds = {field.name: field.dataType.typeName() for field in frame.schema.fields}
    for name in read.key:
        if name not in kinds:
            raise ConfigurationError(f"input.key: the table has no column {name!r}", hint=nearest(name, list(kinds)))
        if kinds[name] in _NO_KEY:
            raise ConfigurationError(
                f"input.key: column {name!r} is of type {kinds[name]}, which has no text for a key"
            )
    for name in read.needed or ():
        if name not in kinds:
            raise ConfigurationError(f"recipe: the table has no column {name!r}", hint=nearest(name, list(kinds)))
    declared = {name for name, _ in read.schema}
    if declared and declared != set(kinds) - set(read.partitioned):
        odd = sorted(declared ^ (set(kinds) - set(read.partitioned)))
        raise InputError(
            f"the columns of the table are not those of input.schema: {', '.join(map(repr, odd[:5]))}",
            hint="Declare every column of the table, or none.",
        )


def _spark_schema(declared: tuple[tuple[str, str], ...]) -> Any:
    from pyspark.sql.pandas.types import from_arrow_schema

    kinds = [(name, arrow_type(name, kind)) for name, kind in declared]
    return from_arrow_schema(
        pa.schema([(name, kind.value_type if pa.types.is_dictionary(kind) else kind) for name, kind in kinds])
    )
