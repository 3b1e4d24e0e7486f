"""Exchange of a table's rows: the reading tasks turn them into blobs of Arrow data for the training tasks.

The exchange has two stages, which are the same for every engine. `Work.readers` is the number of tasks of the first
stage. If it is 0, there is no first stage: each task of the plan reads its own pieces of files
(`job.worker.direct.work_on`).

- Stage 1, one call for each reader ``0 <= reader < work.readers``: ``blobs(work, reader)`` reads the reader's pieces
  and yields `Blob` after `Blob`, each for one *bucket*, which is the number of a task of the plan. Only the plan and
  the pinned files (size, ETag) decide the blobs, so a reader that runs again yields the same blobs.
- The engine carries blobs from readers to buckets: `Folder` through files of a scratch folder (``folder.write(reader,
  blobs(work, reader))``, then ``folder.read(bucket)``), Spark through its own shuffle. Every reader has to be done
  before a bucket is read. The order in which the blobs of a bucket arrive does not matter; each has its sequence.
- Stage 2, one call for each task: `job.worker.merge.train` with the blobs of that bucket, which fits as
  `job.worker.direct.work_on` does and returns the same summary.

Blobs of a bucket have rows sorted by their place in the task's list, and within a key in the order of the files.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job import run_paths
from job.arrow import decode, whole
from job.errors import ChangedError, InputError, NotFoundError, PartitionError
from job.reader import table_scan
from job.reader.key_text import row_keys
from job.reader.table_file import FILE, PIECE, Piece, TableFile
from job.reader.table_scan import TableScan
from job.store import Store
from job.store.side import storage
from job.store.stored_file import StoredFile
from job.worker.work import Work

AT = "__manyfit_at"
"""Column of a blob: the place of the row's key in the task's list."""

FLUSH_BYTES = 48 << 20
"""Bytes of rows that are sorted at a time."""
BLOB_BYTES = 8 << 20
"""Bytes of a blob at most, except for a blob that is a single row."""
FRAME = struct.Struct("<qq48x")
"""The header of each blob in a file: its sequence and its length. The blob then begins at a multiple of 64 bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Blob:
    """The rows that one reader has for one training task."""

    bucket: int
    """the number of the training task"""
    sequence: int
    """number of the blob; it ascends in the order of the rows in the files"""
    data: Any
    """an Arrow stream, in any buffer"""
    mapped: Any = field(default=None, compare=False)
    """the memory-mapped file that holds ``data``; None if ``data`` is in memory"""


def blobs(work: Work, reader: int) -> Iterator[Blob]:
    """Stage 1: read a reader's pieces, and yield their rows divided by task.

    Raises
    ------
    InputError
        A file was replaced or removed after the plan was made, is damaged, or cannot be reached.
    """
    for sequence, (bucket, table) in enumerate(sorted_rows(work, reader)):
        for part, piece in enumerate(_parts(table)):
            yield Blob(bucket=bucket, sequence=(reader << 40) + (sequence << 16) + part, data=encoded(piece))


def _parts(table: pa.Table) -> Iterator[pa.Table]:
    """Divide a table into pieces of about `BLOB_BYTES`, each with the same number of rows."""
    pieces = max(1, -(-table.nbytes // BLOB_BYTES))
    size = max(1, -(-table.num_rows // pieces))
    for begin in range(0, table.num_rows, size):
        part = table.slice(begin, size)
        if part.nbytes > 2 * BLOB_BYTES and part.num_rows > 1:
            yield from _parts(part)
        else:
            yield part


def encoded(table: pa.Table) -> pa.Buffer:
    """Encode a table as an Arrow stream. It is not compressed, so that it can be read without a copy."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(use_threads=False)) as writer:
        writer.write_table(table)
    return sink.getvalue()


def sorted_rows(work: Work, reader: int, *, only: int | None = None) -> Iterator[tuple[int, pa.Table]]:
    """Yield the rows of a reader's pieces that are to be trained, as pairs of task and sorted rows with column `AT`.

    Parameters
    ----------
    work, reader
        As in `blobs`.
    only
        Only rows of this task; None: of all tasks.
    """
    lookup = _Lookup(work, only)
    held: list[pa.Table] = []
    size = 0
    for table in _rows(work, reader):
        held.append(table)
        size += table.nbytes
        if size >= FLUSH_BYTES:
            yield from lookup.split(pa.concat_tables(held))
            held, size = [], 0
    if held:
        yield from lookup.split(pa.concat_tables(held))


def _rows(work: Work, reader: int) -> Iterator[pa.Table]:
    assert work.scan is not None
    pieces = decode(work.output.get(run_paths.pieces(work.run, work.plan)))
    return piece_rows(work.input, work.scan, pieces, pieces.filter(pc.equal(pieces["reader"], reader)))


def piece_rows(source: Store, scan: TableScan, pieces: pa.Table, mine: pa.Table) -> Iterator[pa.Table]:
    """Yield the rows of some pieces, in order, with the columns of the table.

    Parameters
    ----------
    source
        The store that holds the table.
    scan
        How the files of the table are read.
    pieces
        All pieces of a run, with `job.worker.work.PIECES_SCHEMA`. Their order gives the numbers of the files.
    mine
        The pieces to read.

    Raises
    ------
    InputError
        As `blobs`.
    """
    opened: tuple[str, TableFile] | None = None
    number = {name: at for at, name in enumerate(file_names(pieces))}
    types = table_scan.numbers_of(scan)
    with storage("input", "the table could not be read"):
        for row in mine.to_pylist():
            name = str(row["name"])
            try:
                if opened is None or opened[0] != name:
                    file = StoredFile(source, name, row["size"], row["etag"])
                    opened = (name, table_scan.open_file(name, file, scan.kind, scan.spec, types=types))
                given = table_scan.given_columns(json.loads(row["given"] or "{}"), scan.schema)
                if FILE in scan.schema.names:
                    given[FILE] = number[name]
                piece = Piece(**{field.name: row[field.name] for field in PIECE})
                yield from table_scan.rows(scan, name, opened[1], piece, given)
            except ChangedError as error:
                raise replaced(name) from error
            except NotFoundError as error:
                raise InputError(
                    f"{name} was removed while the table was read: nothing was published",
                    hint="Run again when nothing writes to the table.",
                ) from error
            except PartitionError as error:
                raise InputError(error.message, hint=error.hint) from error


def file_names(pieces: pa.Table) -> list[str]:
    """The names of the files of a run's pieces. The number of a file is its position in this list."""
    return pc.unique(pieces["name"]).to_pylist()  # type: ignore[no-any-return]


def replaced(name: str) -> InputError:
    """The error for a file of the table that is no longer the listed one."""
    return InputError(
        f"{name} was replaced while the table was read: nothing was published",
        hint="Run again when nothing writes to the table.",
    )


class _Lookup:
    """Finds the task of each row, and the position of its key in the task's list.

    Parameters
    ----------
    work
        Has the planned keys, in the order of tasks and of their lists.
    only
        Only rows of this task; None: of all tasks.
    """

    def __init__(self, work: Work, only: int | None = None) -> None:
        assert work.scan is not None
        self._key, self._dropped = work.scan.key, list(work.scan.dropped)
        keys = decode(work.output.get(run_paths.table_keys(work.run, work.plan)))
        if only is not None:
            keys = keys.filter(pc.equal(keys["task"], only))
        self._keys = whole(keys["key"])
        task = keys["task"].to_numpy()
        self._tasks, self._begins = np.unique(task, return_index=True)
        self._bounds = np.append(self._begins, len(task))

    def split(self, table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
        """Yield the rows of each task in the order of its list. Rows of a key keep their order; others are left out."""
        table = table.combine_chunks()
        codes, keys = row_keys({name: whole(table.column(name)) for name in self._key}, table.num_rows)
        number = pc.fill_null(pc.index_in(keys, value_set=self._keys), -1).to_numpy()[codes]
        narrow = number.astype(np.uint16) if len(self._keys) < 1 << 16 else number  # 16-bit integers: radix sort
        if (number < 0).any():
            due = np.flatnonzero(number >= 0)
            order = due[np.argsort(narrow[due], kind="stable")]
        else:
            order = np.argsort(narrow, kind="stable")
        number = number[order]
        table = (table.drop_columns(self._dropped) if self._dropped else table).take(pa.array(order))
        places = np.searchsorted(number, self._bounds)
        for at, task in enumerate(self._tasks.tolist()):
            low, high = int(places[at]), int(places[at + 1])
            if low < high:
                place = pa.array((number[low:high] - self._begins[at]).astype(np.int32))
                yield task, table.slice(low, high - low).append_column(AT, place)


class Folder:
    """Blobs in files of a folder: for engines whose tasks run on one machine.

    Parameters
    ----------
    path
        A folder for one run. The caller makes and removes it.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def write(self, reader: int, found: Iterable[Blob]) -> None:
        """Write the blobs of a reader. Other tasks see either all of them or none."""
        parts: dict[int, Path] = {}
        for blob in found:
            part = parts.get(blob.bucket)
            if part is None:
                part = parts[blob.bucket] = self._path / f"part-{reader:05d}-{blob.bucket:05d}-{os.getpid()}"
                part.unlink(missing_ok=True)
            length = memoryview(blob.data).nbytes
            with part.open("ab") as file:
                file.write(FRAME.pack(blob.sequence, length))
                file.write(blob.data)
                file.write(bytes(-length % 64))
        for bucket, part in parts.items():
            part.replace(self._path / f"b{bucket:05d}-{reader:05d}")

    def read(self, bucket: int) -> Iterator[Blob]:
        """Yield the blobs of a bucket, mapped into memory."""
        for path in sorted(self._path.glob(f"b{bucket:05d}-*")):
            with path.open("rb") as file:
                yield from mapped_blobs(file.fileno(), bucket)


def mapped_blobs(descriptor: int, bucket: int) -> Iterator[Blob]:
    """Yield the blobs of a bucket in one file, mapped into memory."""
    mapped = mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
    data, at = pa.py_buffer(mapped), 0
    while at < len(mapped):
        sequence, length = FRAME.unpack_from(mapped, at)
        yield Blob(bucket=bucket, sequence=sequence, data=data.slice(at + FRAME.size, length), mapped=mapped)
        at += FRAME.size + length + -length % 64
