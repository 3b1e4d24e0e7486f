"""Parquet and Arrow bytes to a table."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from job.errors import PartitionError
from job.reader.exact import plain
from job.reader.schema import NO_FEATURE, check_duplicates, wanted

_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
PANDAS_INDEX = re.compile(r"__index_level_\d+__")
"""The column name under which pandas stores an index without a name."""


def read_parquet(
    name: str, data: Any, needed: Collection[str] | None, elsewhere: Collection[str], max_bytes: int
) -> pa.Table:
    """Read one parquet file. Page checksums are verified if the file has them.

    Raises
    ------
    PartitionError
        ``corrupt_parquet``, ``duplicate_column``, ``decompression_limit``.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(pa.py_buffer(data)), page_checksum_verification=True)
        names = file.schema_arrow.names
        check_duplicates(name, names)
        metadata = file.metadata
        unpacked = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
        # Encodings compress, too: a few bytes with a dictionary can stand for billions of equal values.
        if max(unpacked, metadata.num_rows * len(names)) > max_bytes:
            raise PartitionError(
                "decompression_limit",
                f"{name}: unpacks to more than {max_bytes} bytes ({metadata.num_rows} rows, {unpacked} bytes declared)",
                hint="If that is right, raise input.format.max_bytes.",
            )
        columns = wanted(names, needed, elsewhere)
        table = _old_time_stamps(data, file, file.read(columns=columns, use_threads=False))
        if table.num_rows != metadata.num_rows:
            raise pa.ArrowInvalid(f"{table.num_rows} rows read, {metadata.num_rows} declared")
        table.validate()
    except (pa.ArrowException, OSError, ValueError, UnicodeDecodeError, OverflowError) as error:
        raise corrupt(name, "parquet", error) from error
    return plain(_without_pandas_index(table))


def _old_time_stamps(data: Any, file: pq.ParquetFile, table: pa.Table) -> pa.Table:
    """The table, in which INT96 time stamps outside the range of nanoseconds are in microseconds.

    INT96 is parquet's old type for time stamps. By default pyarrow reads it as nanoseconds, and years beyond 2262
    overflow without an error.
    """
    old = {
        column.name
        for column in (file.schema.column(at) for at in range(len(file.schema)))
        if column.physical_type == "INT96" and column.path == column.name and column.name in table.column_names
    }
    if not old:
        return table
    again = pq.ParquetFile(pa.BufferReader(pa.py_buffer(data)), coerce_int96_timestamp_unit="us")
    coarse = again.read(columns=sorted(old), use_threads=False)
    for name in old:
        at = table.column_names.index(name)
        right = pc.equal(table.column(at).cast(pa.timestamp("us"), safe=False), coarse.column(name))
        if pc.all(right).as_py() is False:
            table = table.set_column(at, name, coarse.column(name))
    return table


def read_arrow(
    name: str, data: Any, needed: Collection[str] | None, elsewhere: Collection[str], max_bytes: int
) -> pa.Table:
    """Read one Arrow IPC file (also called Feather, version 2) or stream.

    A stream must end with its end-of-stream marker: without it, a stream truncated between two messages would be read
    as a shorter one.

    Raises
    ------
    PartitionError
        ``corrupt_parquet`` (for Arrow data, too), ``duplicate_column``, ``decompression_limit``,
        ``unsupported_format``.
    """
    buffer = pa.py_buffer(data)
    head = buffer.slice(0, min(8, buffer.size)).to_pybytes()
    if head.startswith(b"FEA1"):
        message = f"{name}: Feather version 1 cannot be read"
        raise PartitionError("unsupported_format", message, hint="Write it as version 2 or parquet.")
    try:
        if head.startswith(b"ARROW1"):
            table = pa.ipc.open_file(pa.BufferReader(buffer)).read_all()
        else:
            tail = buffer.slice(max(0, buffer.size - 8)).to_pybytes()
            if tail != _END_OF_STREAM:
                raise pa.ArrowInvalid("truncated: the end-of-stream marker is missing")
            table = pa.ipc.open_stream(pa.BufferReader(buffer)).read_all()
        if table.nbytes > max_bytes:
            raise PartitionError(
                "decompression_limit",
                f"{name}: unpacks to more than {max_bytes} bytes",
                hint="If that is right, raise input.format.max_bytes.",
            )
        check_duplicates(name, table.column_names)
        table.validate(full=True)  # wrong offsets in a damaged file would be read out of bounds
    except (pa.ArrowException, OSError, ValueError, UnicodeDecodeError, OverflowError) as error:
        raise corrupt(name, "arrow", error) from error
    columns = wanted(table.column_names, needed, elsewhere)
    return plain(_without_pandas_index(table if columns is None else table.select(columns)))


def _without_pandas_index(table: pa.Table) -> pa.Table:
    """The table without the index that pandas' ``to_parquet`` stores as a column.

    An index without a name is dropped. An index with a name is marked: it is no feature unless the recipe names it.
    """
    index = [each for each in table.column_names if PANDAS_INDEX.fullmatch(each)]
    table = table.drop_columns(index) if index else table
    for name in named_index(table.schema.metadata or {}):
        if name in table.column_names:
            at = table.column_names.index(name)
            table = table.set_column(at, table.schema.field(at).with_metadata(NO_FEATURE), table.column(at))
    return table


def named_index(metadata: Mapping[bytes, bytes]) -> list[str]:
    """The names of the index columns, from pandas' metadata in the file."""
    try:
        described = json.loads(metadata.get(b"pandas", b"{}"))
        return [each for each in described.get("index_columns", ()) if isinstance(each, str)]
    except (ValueError, AttributeError):
        return []  # not the metadata that pandas writes


def corrupt(name: str, what: str, error: Exception) -> PartitionError:
    """The error of a file that is damaged."""
    text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return PartitionError("corrupt_parquet", f"{name}: the {what} data is damaged or cut short ({text})")
