"""Files of predictions in the store: read as tables, and put as new parts."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from job.registry.predictions import PartFile
from job.score import columns, generation, part
from job.store import Store

THREADS = 4
"""Number of parts that are read and made at a time."""


def opened(output: Store, path: str) -> pq.ParquetFile:
    """Open a part by its path below the table. Columns with few distinct texts stay dictionary-encoded."""
    data = pa.BufferReader(output.get(f"{part.FOLDER}/{path}"))
    return pq.ParquetFile(data, read_dictionary=list(part.TEXTS))


def rows(output: Store, path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read the rows of a part. Arrow's threads are not used, as other threads do the same for other parts."""
    return opened(output, path).read(columns=columns, use_threads=False)


def of_keys(table: pa.Table, keys: Collection[str]) -> pa.Table:
    """The rows of some keys of a part, in its order."""
    chosen = [each for key, each in generation.by_key(table) if key in keys]
    return pa.concat_tables(chosen) if chosen else table.slice(0, 0)


def put(output: Store, tables: Sequence[pa.Table]) -> PartFile:
    """Put the rows of some neighbouring keys, in this order, as one part."""
    made = part.pack(tables)
    output.ensure(f"{part.FOLDER}/{part.path(made.digest)}", made.data)
    return PartFile(
        digest=made.digest,
        size=len(made.data),
        rows=sum(each.num_rows for each in tables),
        first=tables[0].column("_key")[0].as_py(),
        last=tables[-1].column("_key")[-1].as_py(),
        schema=columns.parsed(made.columns),
    )
