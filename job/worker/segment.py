"""Segments: every two seconds a worker writes its new outcomes to one. The driver relies only on segments.

A segment's name holds the number of its outcomes, so that the progress of a run takes one listing and no read. Names
are unique to the attempt that writes them, and nothing is overwritten.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from job import run_paths
from job.arrow import decode, encode
from job.errors import FullError, StoreError
from job.outcome import FAILED, SCHEMA, Outcome, coded, to_table
from job.store import Store

EVERY_SECONDS = 2.0
EVERY_OUTCOMES = 512
_RESERVE = 256 * 1024
"""Bytes that a worker reserves for its outcomes, in case the disk becomes full."""
ADOPT_SECONDS = 7 * 86400.0
"""Seconds for which outcomes of unfinished runs can be adopted; ``gc`` keeps them for its margin longer."""
_NAME = re.compile(r"t(\d+)-a(\d+)-[0-9a-f]+-\d+-n(\d+)-f(\d+)\.arrow$")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The progress of a run, from a listing of its segments."""

    done: int
    """number of outcomes, which is an upper bound for the keys: attempts may repeat a key"""
    failed: int
    """number of failed outcomes"""
    segments: int
    """number of segments"""


def progress(names: Iterable[str]) -> Progress:
    """Count outcomes, from the names of segments only."""
    matches = [match for match in map(_NAME.search, names) if match]
    return Progress(
        done=sum(int(each[3]) for each in matches), failed=sum(int(each[4]) for each in matches), segments=len(matches)
    )


def by_task(names: Iterable[str]) -> Counter[int]:
    """Count the outcomes of each task, from the names of segments only."""
    found: Counter[int] = Counter()
    for match in filter(None, map(_NAME.search, names)):
        found[int(match[1])] += int(match[3])
    return found


def failures(name: str) -> int:
    """The number of failed outcomes in a segment, from its name."""
    match = _NAME.search(name)
    return int(match[4]) if match else 0


class SegmentWriter:
    """Collects outcomes from several threads and puts them as segments, by count, by time and at the end.

    Parameters
    ----------
    store
        The output.
    run, plan, task, attempt
        Ids of the run and the plan, and numbers of the task and the attempt: they give the names of the segments.

    Notes
    -----
    The next `add` or `close` raises a storage failure of the background thread, so that a task cannot succeed before
    its outcomes are durable.
    """

    def __init__(self, store: Store, *, run: str, plan: str, task: int, attempt: int) -> None:
        self._store = store
        self.id = uuid.uuid4().hex[:16]
        """unique id of this attempt"""
        self._stem = f"{run_paths.segments(run, plan)}t{task:05d}-a{attempt}-{self.id}"
        self._rows: list[Outcome] = []
        self._lock = threading.Lock()
        self._put = threading.Lock()
        self._sequence = 0
        self._error: StoreError | None = None
        self._stop = threading.Event()
        self._last = time.monotonic()
        self._reserve = store.reserve(_RESERVE)
        self._thread = threading.Thread(target=self._tick, name="segments", daemon=True)
        self._thread.start()

    def add(self, outcome: Outcome) -> None:
        """Add one outcome. The store must have acknowledged its model already."""
        if self._error is not None:
            raise self._error
        with self._lock:
            self._rows.append(outcome)
            full = len(self._rows) >= EVERY_OUTCOMES
        if full:
            self.flush()

    def flush(self) -> None:
        """Write the collected outcomes as one segment."""
        with self._put:
            with self._lock:
                rows, self._rows = self._rows, []
                self._last = time.monotonic()
            if not rows:
                return
            failed = sum(row.status == FAILED for row in rows)
            name = f"{self._stem}-{self._sequence:04d}-n{len(rows)}-f{failed}.arrow"
            self._sequence += 1
            try:
                self._store.ensure(name, encode(to_table(rows)))
            except FullError:
                with self._lock:
                    self._rows = rows + self._rows
                raise

    def close(self) -> None:
        """Write the remaining outcomes; raise an error that occurred in the background."""
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error
        self.flush()
        self._reserve.give_back()

    def abandon(self, error: BaseException) -> None:
        """Stop, because the task is about to fail. If the disk is full, it first writes the finished outcomes into the
        reserved space."""
        self._stop.set()
        self._thread.join()
        self._reserve.give_back()
        if isinstance(error, FullError):
            with contextlib.suppress(StoreError):
                self.flush()

    def _tick(self) -> None:
        while not self._stop.wait(0.5):
            if self._rows and time.monotonic() - self._last >= EVERY_SECONDS:
                try:
                    self.flush()
                except StoreError as error:
                    self._error = error
                    return


def read(store: Store, prefix: str, *, columns: list[str] | None = None, threads: int = 16) -> pa.Table:
    """Read all outcomes below a folder.

    Returns
    -------
    pyarrow.Table
        With `SCHEMA`, or the chosen ``columns`` of it; the columns `REPEATED` are dictionary-encoded.
    """
    names = [name for name in store.list(prefix)["name"].to_pylist() if _NAME.search(name)]
    schema = coded(SCHEMA if columns is None else pa.schema([SCHEMA.field(name) for name in columns]))
    if not names:
        return schema.empty_table()

    def one(name: str) -> pa.Table:
        table = decode(store.get(name))
        return pa.table([_column(table, field) for field in schema], schema=schema)

    with ThreadPoolExecutor(min(threads, len(names))) as pool:
        return pa.concat_tables(list(pool.map(one, sorted(names)))).unify_dictionaries()


def _column(table: pa.Table, field: pa.Field) -> pa.ChunkedArray:
    if field.name not in table.column_names:  # an older manyfit, which did not have this column, has written it
        return pa.chunked_array([pa.nulls(table.num_rows, field.type)], field.type)
    column = table[field.name]
    return column.dictionary_encode() if pa.types.is_dictionary(field.type) else column
