"""The data files of a Delta table: list them, write them, name them in a commit. Never commits."""

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
"""Rows of a row group: what is in memory at a time, of the files that are read as of the one that is written."""
_MOST = 8 * SLICE
"""Rows of a file, which is put whole: of the published table, some 15 MB."""


def data_files(table: DeltaTable) -> dict[str, dict[str, Any]]:
    """The data files of a version, by name: ``size_bytes`` and ``num_records``."""
    # Not pa.table(...), and without the times: both import pandas, which takes longer than a rollback.
    files = pa.RecordBatchReader.from_stream(table.get_add_actions()).read_all()
    return {row["path"]: row for row in files.select(["path", "size_bytes", "num_records"]).to_pylist()}


def spans(table: DeltaTable, column: str) -> dict[str, tuple[str, str]]:
    """The lowest and the highest text in a column of the data files of which the log says it, by name."""
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
    """The actions by which files of an older version come back, with what the log says of some columns."""
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
    """A data file, read whole into memory; the ``encoded`` columns come as dictionaries."""
    return pq.ParquetFile(pa.BufferReader(files.get(path)), read_dictionary=list(encoded))


def slices(parquet: pq.ParquetFile, schema: pa.Schema) -> Iterator[pa.Table]:
    """Read the rows of a file in slices, with the columns of a schema. A column that the file lacks is null."""
    columns = [name for name in schema.names if name in parquet.schema_arrow.names]
    # On this thread: a pool that is still decoding when the interpreter ends would abort it.
    for batch in parquet.iter_batches(SLICE, columns=columns, use_threads=False):
        yield plain(completed(batch, schema), schema)


def completed(rows: Any, schema: pa.Schema) -> Any:
    """The rows, with nulls for the columns that they do not have: older files have fewer."""
    for field in schema:
        if field.name not in rows.schema.names:
            rows = rows.append_column(field.name, pa.nulls(rows.num_rows, field.type))
    return rows


def plain(rows: pa.Table | pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    """The columns of a schema, with its types: texts come as what they stand for, unless it says dictionaries."""
    return pa.table([rows.column(field.name).cast(field.type) for field in schema], schema=schema)


def removal(path: str, size: int) -> dict[str, Any]:
    """The action by which a file leaves the table."""
    return {"remove": {"path": path, "deletionTimestamp": _now(), "dataChange": True, "size": size}}


def addition(
    path: str, size: int, rows: int, spans: Mapping[str, tuple[str, str]] = MappingProxyType({})
) -> dict[str, Any]:
    """The action by which a file comes into the table.

    Parameters
    ----------
    path, size, rows
        The file.
    spans
        Of columns of texts without nulls: the lowest and the highest. Readers skip files by it.
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
        Where they go.
    schema
        Of the rows.
    repeated
        Columns with few texts in many rows.
    finish
        Gives rows the columns that a file has beyond them.
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
        """the actions that name the files"""

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
                # Without Arrow's own schema: what lies there is plain Parquet, whoever wrote it.
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
