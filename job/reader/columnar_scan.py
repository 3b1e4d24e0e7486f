"""Parquet and Arrow files of a table, by row groups and record batches."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from job.errors import ManyfitError
from job.reader.columnar import PANDAS_INDEX, corrupt, named_index, read_arrow
from job.reader.decompress import inflate
from job.reader.schema import NO_FEATURE, check_duplicates
from job.reader.spec import ReadSpec
from job.reader.table_file import Piece, Portion

_BATCH_BYTES = 32 << 20
"""Approximate number of decoded bytes in a batch."""
_DAMAGED = (pa.ArrowException, OSError, ValueError, UnicodeDecodeError, OverflowError)


class ParquetTable:
    """One parquet file, read by row groups.

    Raises
    ------
    PartitionError
        ``corrupt_parquet``, ``duplicate_column``, ``decompression_limit``; by the constructor and while rows are read.
    """

    def __init__(self, name: str, file: Any, codec: str | None, spec: ReadSpec) -> None:
        self._name, self._codec = name, codec
        self._source = file if codec is None else _inflated(name, file, codec, spec)
        try:
            self._parquet = self._open(self._source)
            self._metadata = self._parquet.metadata
            check_duplicates(name, self._parquet.schema_arrow.names)
        except _DAMAGED as error:
            raise _stored(error) or corrupt(name, "parquet", error) from error

    def _open(self, source: Any, dictionary: Sequence[str] = (), metadata: Any = None) -> pq.ParquetFile:
        return pq.ParquetFile(
            pa.PythonFile(source, mode="r") if self._codec is None else pa.BufferReader(source),
            metadata=metadata,
            page_checksum_verification=True,
            read_dictionary=list(dictionary) or None,
            # As nanoseconds, INT96 time stamps beyond the year 2262 would overflow.
            coerce_int96_timestamp_unit="us",
            pre_buffer=True,
        )

    def schema(self) -> pa.Schema:
        """See `TableFile`."""
        return _without_index(self._parquet.schema_arrow)

    def portions(self, key: Sequence[str]) -> Iterator[Portion]:
        """See `TableFile`."""
        schema = self.schema()
        present = [each for each in key if each in schema.names]
        texts = [each for each in present if pa.types.is_string(schema.field(each).type)]
        # Portions are loaded by several threads, and Arrow's reader is for one: two would free each other's buffers.
        own = threading.local()
        for part in range(self._metadata.num_row_groups):
            group = self._metadata.row_group(part)
            if not group.num_rows:
                continue

            def load(part: int = part, rows: int = group.num_rows) -> tuple[pa.Schema, pa.Table]:
                try:
                    # Without a key column in the file, all of its rows have the keys of the directories.
                    if not present:
                        return schema, _nothing(rows)
                    if not hasattr(own, "file"):
                        source = self._source if self._codec is not None else self._source.again()
                        own.file = self._open(source, texts, self._metadata)
                    found = own.file.read_row_group(part, columns=present)
                except _DAMAGED as error:
                    raise _stored(error) or corrupt(self._name, "parquet", error) from error
                return schema, found

            yield Portion(piece=Piece(part=part, bytes=group.total_byte_size), load=load)

    def rows(self, piece: Piece, columns: Sequence[str]) -> Iterator[pa.Table]:
        """See `TableFile`."""
        names = self._parquet.schema_arrow.names
        wanted = [each for each in columns if each in names]
        group = self._metadata.row_group(piece.part)
        if not wanted:
            yield _nothing(group.num_rows)
            return
        width = max(1, _decoded_bytes(group, set(wanted)) // max(1, group.num_rows))
        size = max(1024, min(_BATCH_BYTES // width, 1 << 20))
        seen = 0
        try:
            for batch in self._parquet.iter_batches(
                batch_size=size, row_groups=[piece.part], columns=wanted, use_threads=False
            ):
                seen += batch.num_rows
                yield pa.Table.from_batches([batch]).select(wanted)
            if seen != group.num_rows:
                raise pa.ArrowInvalid(f"{seen} rows read, {group.num_rows} declared")
        except _DAMAGED as error:
            raise _stored(error) or corrupt(self._name, "parquet", error) from error


class ArrowTable:
    """One Arrow IPC file (Feather, version 2), read by record batches. Streams and compressed files are one piece."""

    def __init__(self, name: str, file: Any, codec: str | None, spec: ReadSpec) -> None:
        self._name = name
        self._reading = threading.Lock()
        """Portions are loaded by several threads, and Arrow's reader of files is for one."""
        try:
            head = bytes(file.between(0, 8))
            if codec is None and head.startswith(b"ARROW1"):
                self._file = pa.ipc.open_file(pa.PythonFile(file, mode="r"))
                self._whole: pa.Table | None = None
                self._schema = self._file.schema
            else:
                data = file.between(0, file.size()) if codec is None else _inflated(name, file, codec, spec)
                self._whole = read_arrow(name, data, None, (), spec.max_bytes)
                self._schema = self._whole.schema
            check_duplicates(name, self._schema.names)
        except _DAMAGED as error:
            raise _stored(error) or corrupt(name, "arrow", error) from error

    def schema(self) -> pa.Schema:
        """See `TableFile`."""
        return _without_index(self._schema)

    def portions(self, key: Sequence[str]) -> Iterator[Portion]:
        """See `TableFile`."""
        parts = 1 if self._whole is not None else self._file.num_record_batches
        for part in range(parts):

            def load(part: int = part) -> tuple[pa.Schema, pa.Table]:
                found = self._part(part)
                present = [each for each in key if each in found.column_names]
                return self.schema(), found.select(present) if present else _nothing(found.num_rows)

            yield Portion(piece=Piece(part=part, bytes=0), load=load)

    def rows(self, piece: Piece, columns: Sequence[str]) -> Iterator[pa.Table]:
        """See `TableFile`."""
        found = self._part(piece.part)
        wanted = [each for each in columns if each in found.column_names]
        yield found.select(wanted) if wanted else _nothing(found.num_rows)

    def _part(self, part: int) -> pa.Table:
        if self._whole is not None:
            return self._whole
        try:
            with self._reading:
                batch = self._file.get_batch(part)
            table = pa.Table.from_batches([batch])
            table.validate(full=True)  # wrong offsets in a damaged file would be read out of bounds
            return table
        except _DAMAGED as error:
            raise _stored(error) or corrupt(self._name, "arrow", error) from error


def _nothing(rows: int) -> pa.Table:
    """A table with a dummy column. Arrow loses the number of rows of a table without columns."""
    return pa.table({"": pa.nulls(rows)})


def _inflated(name: str, file: Any, codec: str, spec: ReadSpec) -> Any:
    data = file.between(0, file.size())
    return pa.py_buffer(inflate(name, data, codec, max_bytes=spec.max_bytes, max_ratio=spec.max_ratio))


def _without_index(schema: pa.Schema) -> pa.Schema:
    """The schema without pandas' index: an index without a name is left out, one with a name is no feature."""
    named = named_index(schema.metadata or {})
    return pa.schema(
        [
            field.with_metadata(NO_FEATURE) if field.name in named else field.remove_metadata()
            for field in schema
            if not PANDAS_INDEX.fullmatch(field.name)
        ]
    )


def _decoded_bytes(group: Any, columns: set[str]) -> int:
    return sum(
        group.column(at).total_uncompressed_size
        for at in range(group.num_columns)
        if group.column(at).path_in_schema.partition(".")[0] in columns or group.column(at).path_in_schema in columns
    )


def _stored(error: BaseException | None) -> Exception | None:
    """The `ManyfitError` behind an error of Arrow's reader, if any: a replaced file, or a store that is unreachable."""
    while error is not None:
        if isinstance(error, ManyfitError):
            return error
        error = error.__cause__ or error.__context__
    return None
