"""Merges the blobs of a training task by key. The rows of a key keep the order of the files. It uses the disk.

Blobs beyond `HELD_BYTES` are written to a file. The rows of neighbouring keys are merged together, as many as fit into
a window. So memory holds the rows of a window, or of one key, and a few pages of each blob.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from job import run_paths
from job.arrow import decode
from job.errors import AccountingError, PartitionError
from job.plan.table_keys import rows_of
from job.reader.table_file import FILE
from job.worker.attempt import Attempt
from job.worker.exchange import AT, FRAME, Blob, encoded, file_names, mapped_blobs, sorted_rows
from job.worker.key_rows import KeyRows
from job.worker.operation import Item, Payload
from job.worker.work import Summary, Work

WINDOW_BYTES = 24 << 20
"""Bytes of rows of several small keys that are merged at a time."""
HELD_BYTES = 64 << 20
"""Bytes of blobs that stay in memory; further blobs go to the scratch disk."""
_FORGET_BYTES = 64 << 20
"""After this many bytes the process releases its mapped pages, which would else count as its resident memory."""


def train(
    work: Work, task: int, attempt: int, blobs: Iterable[Blob], *, expendable: bool = True, scratch: str | None = None
) -> Summary:
    """Stage 2 of an exchange: train the keys of one task.

    Parameters
    ----------
    work
        The data that all tasks share.
    task
        Number of the task in the plan, which is the bucket of the blobs.
    attempt
        0 for the first attempt. Later ones skip the keys that earlier ones finished, and fit in a guarded child.
    blobs
        All blobs of the bucket, in any order.
    expendable
        Whether the watchdog may end this process if a fit takes too long.
    scratch
        Folder for blobs that do not fit into memory; default the system's folder for temporary files.

    Raises
    ------
    StoreError, InputError
        As `job.worker.direct.work_on`.
    AccountingError
        A key does not have the number of rows that the plan has counted.
    """
    with Runs(scratch) as runs:
        for blob in blobs:
            runs.add(blob)
        return Attempt(work, task, attempt, expendable=expendable).work_on(Merged(work, items_of(work, task), runs))


def train_own(work: Work, task: int, attempt: int, *, expendable: bool = True, scratch: str | None = None) -> Summary:
    """Train the keys of one task from pieces of files that the task itself reads, without an exchange."""
    with Runs(scratch) as runs:
        for sequence, (_, table) in enumerate(sorted_rows(work, task, only=task)):
            runs.add_table(sequence, table)
        return Attempt(work, task, attempt, expendable=expendable).work_on(Merged(work, items_of(work, task), runs))


def items_of(work: Work, task: int) -> list[Item]:
    """The list of a task, read from the output."""
    return [Item(**row) for row in decode(work.output.get(run_paths.task_list(work.run, work.plan, task))).to_pylist()]


@dataclass(frozen=True, slots=True)
class _Run:
    sequence: int
    table: pa.Table
    at: np.ndarray


class Runs:
    """Sorted runs of rows, in memory or in a file, for a merge. (A run of rows, not a run of a job.)

    Parameters
    ----------
    scratch
        Folder for the file; default the system's folder for temporary files.
    """

    def __init__(self, scratch: str | None = None) -> None:
        self._scratch = scratch
        self._file: Any = None
        self._held: list[tuple[int, Any]] = []
        self._size = 0
        self._runs: list[_Run] = []
        self._maps: list[mmap.mmap] = []
        self._used = 0

    def __enter__(self) -> Runs:
        return self

    def __exit__(self, *_: object) -> None:
        self._runs.clear()
        self._held.clear()
        if self._file is not None:
            self._file.close()

    def add(self, blob: Blob) -> None:
        """Add a blob. Its data stays in memory, or is written to the disk."""
        if blob.mapped is not None:
            if blob.mapped not in self._maps:
                self._maps.append(blob.mapped)
            self._take(blob.sequence, blob.data)
        elif self._fits(length := memoryview(blob.data).nbytes):
            self._held.append((blob.sequence, blob.data))
            self._take(blob.sequence, blob.data)
            self._size += length
        else:
            self._write(blob.sequence, blob.data)

    def add_table(self, sequence: int, table: pa.Table) -> None:
        """Add rows that this task itself has read."""
        if self._fits(table.nbytes):
            self._size += table.nbytes
            self._runs.append(_Run(sequence, table, table.column(AT).to_numpy()))
        else:
            self._write(sequence, encoded(table))

    def _fits(self, length: int) -> bool:
        return self._size + length <= HELD_BYTES

    def _take(self, sequence: int, data: Any) -> None:
        with pa.ipc.open_stream(pa.py_buffer(data)) as stream:
            table = stream.read_all()
        self._runs.append(_Run(sequence, table, table.column(AT).to_numpy()))

    def _write(self, sequence: int, data: Any) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="manyfit-", dir=self._scratch)  # noqa: SIM115 - closed on exit
        length = memoryview(data).nbytes
        self._file.write(FRAME.pack(sequence, length))
        self._file.write(data)
        self._file.write(bytes(-length % 64))

    def ready(self) -> None:
        """Prepare the merge, after all rows have been added."""
        if self._file is not None:
            self._file.flush()
            for blob in mapped_blobs(self._file.fileno(), 0):
                if blob.mapped not in self._maps:
                    self._maps.append(blob.mapped)
                self._take(blob.sequence, blob.data)
        self._runs.sort(key=lambda run: run.sequence)

    @property
    def row_bytes(self) -> float:
        """The average number of bytes of a row."""
        rows = sum(run.table.num_rows for run in self._runs)
        return sum(run.table.nbytes for run in self._runs) / rows if rows else 1.0

    def window(self, low: int, high: int) -> tuple[pa.Table, np.ndarray]:
        """The rows of the keys at positions ``low`` to ``high`` (exclusive) of the list, and each row's position."""
        parts, places = [], []
        for run in self._runs:
            begin, end = np.searchsorted(run.at, [low, high])
            if begin < end:
                parts.append(run.table.slice(int(begin), int(end - begin)))
                places.append(run.at[begin:end])
        if not parts:
            return pa.table({}), np.zeros(0, np.int32)
        table, at = pa.concat_tables(parts), np.concatenate(places)
        if high - low == 1 or len(parts) == 1:
            found = table.combine_chunks()
        else:
            order = np.argsort((at - low).astype(np.uint16) if high - low < 1 << 16 else at, kind="stable")
            at = at[order]
            found = table.combine_chunks().take(pa.array(order))
        self._forget(found.nbytes)
        return found.drop_columns([AT]), at

    def _forget(self, used: int) -> None:
        self._used += used
        if self._maps and self._used > _FORGET_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            for each in self._maps:
                each.madvise(mmap.MADV_DONTNEED)
            self._used = 0


class Merged:
    """A task's list and the rows of its keys, as the source of an attempt."""

    def __init__(self, work: Work, items: list[Item], runs: Runs) -> None:
        assert work.scan is not None
        self._items, self._runs = items, runs
        files: tuple[str, ...] = ()
        if FILE in work.scan.schema.names:
            files = tuple(file_names(decode(work.output.get(run_paths.pieces(work.run, work.plan)))))
        self._rows = KeyRows(scan=work.scan, spec=work.operation.spec, files=files)

    def read(
        self, wanted: Callable[[Item], bool], last: Callable[[Item], bool] = lambda item: False
    ) -> Iterator[tuple[Item, Payload | PartitionError]]:
        """Yield the wanted keys with their rows, in the order of the list."""
        self._runs.ready()
        chosen = [at for at, item in enumerate(self._items) if wanted(item)]
        late = [at for at in chosen if last(self._items[at])]
        early = [at for at in chosen if at not in set(late)] if late else chosen
        for low, high in (*self._windows(early), *self._windows(late)):
            yield from self._keys(low, high)

    def _windows(self, places: list[int]) -> Iterator[tuple[int, int]]:
        """Yield ranges of neighbouring keys whose rows fit into a window."""
        most = max(1, int(WINDOW_BYTES / self._runs.row_bytes))
        begin, rows, before = -1, 0, -2
        for at in places:
            here = rows_of(str(self._items[at].objects[0]["etag"]))
            if at != before + 1 or rows + here > most:
                if begin >= 0:
                    yield begin, before + 1
                begin, rows = at, 0
            rows, before = rows + here, at
        if begin >= 0:
            yield begin, before + 1

    def _keys(self, low: int, high: int) -> Iterator[tuple[Item, Payload | PartitionError]]:
        table, at = self._runs.window(low, high)
        bounds = np.searchsorted(at, np.arange(low, high + 1))
        for place in range(low, high):
            item = self._items[place]
            planned, found = rows_of(str(item.objects[0]["etag"])), int(bounds[place - low + 1] - bounds[place - low])
            if planned != found:
                raise AccountingError(
                    f"a key has {found:,} rows, and {planned:,} were counted (task place {place})",
                    hint="Nothing was published. Run again; if it stays, report it: it is a bug of manyfit.",
                )
        payloads = self._rows.payloads(table, bounds - bounds[0])
        del table  # so that the fit can free the rows
        for place in range(low, high):
            yield self._items[place], payloads[place - low]
