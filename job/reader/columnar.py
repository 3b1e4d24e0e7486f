"""Parquet and Arrow bytes to a table."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from job.errors import PartitionError
from job.reader.schema import check_duplicates, wanted

_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
PANDAS_INDEX = re.compile(r"__index_level_\d+__")
"""How pandas calls an index without a name that it stores as a column."""


def read_parquet(
    name: str, data: Any, needed: Collection[str] | None, elsewhere: Collection[str], max_bytes: int
) -> pa.Table:
    """One parquet file; page checksums are verified where the writer made them.

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
        # Encodings hide rows, too: a dictionary page can stand for billions of equal values in a few bytes.
        if max(unpacked, metadata.num_rows * len(names)) > max_bytes:
            raise PartitionError(
                "decompression_limit",
                f"{name}: unpacks to more than {max_bytes} bytes ({metadata.num_rows} rows, {unpacked} bytes declared)",
                hint="If that is right, raise input.format.max_bytes.",
            )
        table = file.read(columns=wanted(names, needed, elsewhere), use_threads=False)
        if table.num_rows != metadata.num_rows:
            raise pa.ArrowInvalid(f"{table.num_rows} rows read, {metadata.num_rows} declared")
        table.validate()
    except (pa.ArrowException, OSError, ValueError, UnicodeDecodeError, OverflowError) as error:
        raise corrupt(name, "parquet", error) from error
    return _without_pandas_index(table)


def read_arrow(
    name: str, data: Any, needed: Collection[str] | None, elsewhere: Collection[str], max_bytes: int
) -> pa.Table:
    """One Arrow IPC file (also called Feather, version 2) or stream.

    A stream must end with its end-of-stream marker: cut between two messages it would read as a shorter one.
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
        table.validate(full=True)  # offsets of a damaged file would be followed into nowhere
    except (pa.ArrowException, OSError, ValueError, UnicodeDecodeError, OverflowError) as error:
        raise corrupt(name, "arrow", error) from error
    columns = wanted(table.column_names, needed, elsewhere)
    return _without_pandas_index(table if columns is None else table.select(columns))


def _without_pandas_index(table: pa.Table) -> pa.Table:
    """Without pandas' unnamed index, which its ``to_parquet`` stores as a column: it is no feature."""
    index = [each for each in table.column_names if PANDAS_INDEX.fullmatch(each)]
    return table.drop_columns(index) if index else table


def corrupt(name: str, what: str, error: Exception) -> PartitionError:
    """The error of a file that is damaged."""
    text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return PartitionError("corrupt_parquet", f"{name}: the {what} data is damaged or cut short ({text})")
