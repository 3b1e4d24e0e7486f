"""The data files of a Delta table: lists and writes them, and makes the actions of a commit. It never commits."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from job.store import Store

SLICE = 16_384
"""Rows of a row group. Reading and writing hold one row group in memory at a time."""
_MOST = 8 * SLICE
"""Rows of a file, which is put as a whole: about 15 MB of the published table."""


def data_files(table: DeltaTable) -> dict[str, dict[str, Any]]:
    """The data files of a version: for each name a dict with ``size_bytes`` and ``num_records``."""
    # Neither pa.table(...) nor the times are used: both import pandas, which takes longer than a rollback.
    files = pa.RecordBatchReader.from_stream(table.get_add_actions()).read_all()
    return {row["path"]: row for row in files.select(["path", "size_bytes", "num_records"]).to_pylist()}


def spans(table: DeltaTable, column: str) -> dict[str, tuple[str, str]]:
    """The lowest and the highest text in a column, by data file. Files without these statistics are absent."""
    files = pa.RecordBatchReader.from_stream(table.get_add_actions()).read_all()
    if "min" not in files.column_names or column not in [each.name for each in files.schema.field("min").type]:
        return {}
    found = {}
    for row in files.select(["path", "min", "max"]).to_pylist():
        low, high = ((row[name] or {}).get(column) for name in ("min", "max"))
        if low is not None and high is not None:
            found[row["path"]] = (low, high)
    return found


def carried(table: DeltaTable, columns: Iterable[str], paths: Iterable[str]) -> list[dict[str, Any]]:
    """The actions that add files of an older version again, with the statistics of some columns from the log."""
    files, known = data_files(table), {name: spans(table, name) for name in columns}
    return [
        addition(
            path,
            files[path]["size_bytes"],
            files[path]["num_records"],
            {name: found[path] for name, found in known.items() if path in found},
        )
        for path in paths
    ]


def opened(files: Store, path: str, encoded: Iterable[str] = ()) -> pq.ParquetFile:
    """Open a data file, read as a whole into memory. The ``encoded`` columns come dictionary-encoded."""
    return pq.ParquetFile(pa.BufferReader(files.get(path)), read_dictionary=list(encoded))


def slices(parquet: pq.ParquetFile, schema: pa.Schema) -> Iterator[pa.Table]:
    """Read the rows of a file in slices, with the columns of a schema. A column that the file lacks is null."""
    columns = [name for name in schema.names if name in parquet.schema_arrow.names]
    # Without Arrow's threads: a thread that still decodes when the interpreter ends would abort it.
    for batch in parquet.iter_batches(SLICE, columns=columns, use_threads=False):
        yield plain(completed(batch, schema), schema)


def completed(rows: Any, schema: pa.Schema) -> Any:
    """Add the columns of the schema that the rows lack, filled with nulls: older files have fewer columns."""
    for field in schema:
        if field.name not in rows.schema.names:
            rows = rows.append_column(field.name, pa.nulls(rows.num_rows, field.type))
    return rows


def plain(rows: pa.Table | pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    """Cast the rows to a schema. Dictionary-encoded texts become plain, unless the schema asks for dictionaries."""
    return pa.table([rows.column(field.name).cast(field.type) for field in schema], schema=schema)


def removal(path: str, size: int) -> dict[str, Any]:
    """The action that removes a file from the table."""
    return {"remove": {"path": path, "deletionTimestamp": _now(), "dataChange": True, "size": size}}


def addition(
    path: str, size: int, rows: int, spans: Mapping[str, tuple[str, str]] = MappingProxyType({})
) -> dict[str, Any]:
    """The action that adds a file to the table.

    Parameters
    ----------
    path, size, rows
        The name of the file, its size in bytes and its number of rows.
    spans
        For text columns without nulls: the lowest and the highest text. Readers use them to skip files.
    """
    stats: dict[str, Any] = {"numRecords": rows}
    if spans:
        stats["minValues"] = {name: low for name, (low, _) in spans.items()}
        stats["maxValues"] = {name: high for name, (_, high) in spans.items()}
        stats["nullCount"] = dict.fromkeys(spans, 0)
    return {
        "add": {
            "path": path,
            "partitionValues": {},
            "size": size,
            "modificationTime": _now(),
            "dataChange": True,
            "stats": json.dumps(stats),
        }
    }


def _now() -> int:
    return int(time.time() * 1000)


class Writer:
    """Writes rows as few files, each put as soon as it is full.

    Parameters
    ----------
    files
        The store for the files.
    schema
        The schema of the rows.
    repeated
        Columns with few distinct texts in many rows: they are written dictionary-encoded.
    finish
        Adds the columns that the files have and the rows do not.
    """

    def __init__(
        self,
        files: Store,
        schema: pa.Schema,
        repeated: Iterable[str],
        finish: Callable[[pa.Table], pa.Table] = lambda rows: rows,
    ) -> None:
        self._files = files
        self._schema = schema
        self._finish = finish
        self._columns = finish(schema.empty_table()).schema
        self._repeated = list(repeated)
        self._waiting: list[pa.Table] = []
        self._sink: pa.BufferOutputStream | None = None
        self._parquet: pq.ParquetWriter | None = None
        self._rows = 0
        self.added: list[dict[str, Any]] = []
        """the actions that add the written files to the table"""

    def add(self, rows: pa.Table) -> None:
        """Add rows."""
        self._waiting.append(rows)
        if sum(each.num_rows for each in self._waiting) >= SLICE:
            self._write()

    def close(self) -> None:
        """Write the remaining rows."""
        self._write()
        self._put()

    def _write(self) -> None:
        rows, self._waiting = pa.concat_tables(self._waiting or [self._schema.empty_table()]), []
        while rows.num_rows:
            if self._parquet is None:
                self._sink = pa.BufferOutputStream()
                # Without Arrow's own schema, so that the file is plain Parquet.
                self._parquet = pq.ParquetWriter(
                    self._sink, self._columns, compression="zstd", use_dictionary=self._repeated, store_schema=False
                )
            part = rows.slice(0, _MOST - self._rows)
            rows = rows.slice(part.num_rows)
            self._parquet.write_table(self._finish(part), row_group_size=SLICE)
            self._rows += part.num_rows
            if self._rows == _MOST:
                self._put()

    def _put(self) -> None:
        if self._parquet is None or self._sink is None:
            return
        self._parquet.close()
        body = self._sink.getvalue().to_pybytes()
        path = f"part-{len(self.added):05d}-{uuid.uuid4().hex}-c000.zstd.parquet"
        self._files.ensure(path, body)
        self.added.append(addition(path, len(body), self._rows))
        self._parquet, self._sink, self._rows = None, None, 0
