"""What makes schedules (tests/chaos/schedule.py) reproducible and cheap: no threads but the actors, no pauses, nothing by
the machine's clock, and nothing computed twice that its bytes decide.

A model's bytes are read and hashed each time somebody looks, by the auditor and by `ModelSet`; but equal bytes are unpickled
once, and equal data of a key are fitted once. What is left is what schedules are about: the protocol.
"""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import joblib
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from job import arrow
from job.fit import artifact, linear, train
from job.fit.contest import Champion
from job.fit.partition_fit import Result
from job.plan import plan
from job.registry import delta_log
from job.registry.delta_log import Table
from job.run import planning, run_files, task_lists
from job.run import run as runs
from job.score import apply, forecast
from job.store import probe
from job.store.folder import FolderStore
from job.worker import attempt, direct, segment
from job.worker.operation import perform
from job.worker.payload import Blobs
from job.worker.training import Training
from tests.chaos.audit import folder_objects
from tests.chaos.baton import here


class Here:
    """A pool that runs everything at once, in the thread of whoever submits it."""

    def __init__(self, *_: object) -> None: ...

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, do: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(do(*arguments))
        except BaseException as error:
            future.set_exception(error)
        return future

    def map(self, do: Callable[..., Any], *lists: Any) -> Iterator[Any]:
        return (self.submit(do, *each).result() for each in zip(*lists, strict=False))


class Once:
    """Results of the recipes that schedules have: by the recipe, the key, the data and its names, and the
    live model that the new one is compared with.

    Parameters
    ----------
    most
        Results that are kept; the oldest goes first.
    """

    def __init__(self, most: int = 4096) -> None:
        self._most = most
        self._results: dict[object, Result] = {}

    def perform(self, operation: Any, key: str, payload: Blobs, champion: Champion | None = None) -> Result:
        """As `job.worker.operation.perform`."""
        if not isinstance(operation, Training):
            return perform(operation, key, payload, champion)
        blobs = tuple((name, bytes(data)) for name, data in payload._blobs)
        live = champion and (champion.digest, champion.until, champion.judged_until, champion.data is None)
        given = (operation.recipe, key, blobs, live)
        found = self._results.get(given)
        if found is None:
            found = self._results[given] = perform(operation, key, payload, champion)
            if len(self._results) > self._most:
                del self._results[next(iter(self._results))]
        payload._blobs.clear()
        return found


ONCE = Once()


class Child:
    """A guarded child that is none: a process for each would be most of the time."""

    def __init__(self, operation: Any, **_: object) -> None:
        self.operation = operation

    def run(self, key: str, payload: Any, champion: Any = None) -> Any:
        return ONCE.perform(self.operation, key, payload, champion)

    def close(self) -> None: ...


@functools.lru_cache(4096)
def _unpickled(data: bytes) -> Any:
    return joblib.load(io.BytesIO(data))


class Opened:
    """Tables as they are opened: what the same bytes of a log say is the same table, and need not be replayed again.

    Parameters
    ----------
    open_
        `Table.open`, as it is.
    """

    def __init__(self, open_: Callable[[Table, int | None], DeltaTable | None]) -> None:
        self._open = open_
        self._logs: dict[str, dict[str, bytes]] = {}
        self._tables: dict[str, dict[int | None, DeltaTable | None]] = {}

    def open(self, table: Table, at: int | None = None) -> DeltaTable | None:
        """As `Table.open`; the log is read each time, and the table made once for each of its states."""
        path = table.files.address.path
        log = folder_objects(Path(path), "_delta_log")
        if log != self._logs.get(path):
            self._logs[path], self._tables[path] = log, {}
        tables = self._tables[path]
        if at not in tables:
            made = tables[at] = self._open(table, at)
            if made is not None:
                # Each question would replay the log once more.
                made.transaction_version = functools.cache(made.transaction_version)  # type: ignore[method-assign]
        return tables[at]


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Arrow without its pools: to wake a thread takes longer than what there is for it to do."""
    before = pa.cpu_count(), pa.io_thread_count()
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    try:
        yield
    finally:
        pa.set_cpu_count(before[0])
        pa.set_io_thread_count(before[1])


@contextlib.contextmanager
def cooperative() -> Iterator[pytest.MonkeyPatch]:
    """No threads but the actors, no pauses, no names by chance."""
    with _one_thread(), pytest.MonkeyPatch.context() as patch:
        for module in (run_files, task_lists, attempt, direct, segment, delta_log):
            patch.setattr(module, "ThreadPoolExecutor", Here)
        patch.setattr(attempt, "Child", Child)
        patch.setattr(attempt, "threadpool_limits", lambda *_: contextlib.nullcontext())
        patch.setattr(segment.SegmentWriter, "_tick", lambda self: None)
        patch.setattr(segment, "EVERY_OUTCOMES", 2)
        patch.setattr(arrow, "COMPRESSION", None)
        patch.setattr(probe, "admit", lambda *_, **__: None)
        # What takes longer is trained first: in another order each time, if it were measured.
        for module in (linear, train, apply, forecast):
            patch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: 0.0))
        patch.setattr(
            runs,
            "Tracker",
            lambda *_, **__: SimpleNamespace(write=lambda *_: None, tick=lambda: None, close=lambda: None),
        )
        patch.setattr(delta_log.time, "sleep", lambda seconds: here.baton.step() if hasattr(here, "baton") else None)
        # The whole machine's disks would be flushed, for a folder in memory; and its few bytes given back.
        patch.setattr(FolderStore, "sync", lambda self: None)
        for module in (planning, plan, runs):
            patch.setattr(module, "give_back", lambda: None)
        patch.setattr(attempt, "perform", ONCE.perform)
        # It gets bytes whose digest has just been verified.
        patch.setattr(artifact, "joblib", SimpleNamespace(load=lambda file: _unpickled(file.getvalue())))
        yield patch
