"""A task on an executor, end to end: read ahead, fit, upload behind, and write down what became of each partition.

Called by the engines, never by users. A partition's failure becomes an outcome; only storage that stays unreachable
raises, so that Spark tries the task again, and the next attempt takes over what is there.
"""

from __future__ import annotations

import hashlib
import os
import resource
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from threadpoolctl import threadpool_limits

from job import segment
from job.errors import ChangedError, DeniedError, NotFoundError, PartitionError, StoreError
from job.fingerprint import content_digest
from job.fit import Fitting, Result, failed, fit
from job.guard import Child, container_limit, resident_bytes
from job.outcome import FAILED, SKIPPED, TRAINED, UNCHANGED, Outcome
from job.partition import hive_columns, model_name
from job.segment import SegmentWriter
from job.store import Store

READ_AHEAD = 32
READ_AHEAD_BYTES = 256_000_000
UPLOADS = 32

TASK_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("data", pa.string()),
        ("content", pa.string()),
        ("bytes", pa.int64()),
        ("objects", pa.list_(pa.struct([("name", pa.string()), ("etag", pa.string())]))),
    ]
)
"""A task's list, in the order in which it is trained."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What every task of a run shares; plain data, pickled to the executors."""

    run: str
    """the run's id"""
    plan: str
    """the id of this driver's plan"""
    input: Store
    """where objects are read"""
    output: Store
    """where models and segments are put"""
    fitting: Fitting
    """what is fitted"""
    recipe: str
    """fingerprint of the recipe"""
    environment: str
    """fingerprint of the environment"""
    hive: bool
    """directories give columns"""
    timeout: float | None
    """seconds per fit"""
    memory: int | None
    """resident bytes of the worker during a fit"""
    speculation: bool = False
    """two attempts of one task may run at once"""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a task tells the driver: a hint, never the truth (that is in the segments)."""

    task: int
    trained: int
    unchanged: int
    skipped: int
    failed: int
    adopted: int
    worker: str
    seconds: float
    fit_seconds: float
    peak: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Item:
    key: str
    data: str
    content: str | None
    bytes: int
    objects: list[dict[str, str | None]]


def task_name(run: str, plan: str, task: int) -> str:
    """Where a task's list lies below the output."""
    return f"runs/{run}/plan/{plan}/{task:05d}.arrow"


def _mark_name(work: Work, task: int, key: str, attempt: int) -> str:
    name = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return f"runs/{work.run}/marks/{work.plan}/t{task:05d}-{name}-a{attempt}"


def work_on(work: Work, task: int, attempt: int, *, expendable: bool = True) -> Summary:
    """Train the partitions of one task.

    Parameters
    ----------
    work
        What all tasks share.
    task
        Number of the task in the plan.
    attempt
        0 for the first; later ones take over what earlier ones finished, and fit in a guarded child.
    expendable
        The process may be ended when a fit takes too long (a Spark worker; not the process of the ``inline`` engine).

    Raises
    ------
    StoreError
        The store stayed unreachable, or refuses to take models.
    """
    table = segment.decode(work.output.get(task_name(work.run, work.plan, task)))
    items = [_Item(**row) for row in table.to_pylist()]
    return _Task(work, task, attempt, expendable).train(items)


class _Task:
    def __init__(self, work: Work, task: int, attempt: int, expendable: bool) -> None:
        self.work, self.task, self.attempt = work, task, attempt
        self.expendable = expendable
        self.worker = f"{socket.gethostname()}:{os.getpid()}"
        self.counts = {TRAINED: 0, UNCHANGED: 0, SKIPPED: 0, FAILED: 0}
        self.fit_seconds = 0.0
        self.error: StoreError | None = None
        self.writer = SegmentWriter(work.output, run=work.run, plan=work.plan, task=task, attempt=attempt)

    def train(self, items: list[_Item]) -> Summary:
        begin = time.perf_counter()
        done = self._finished_keys() if self.attempt else set()
        left = [item for item in items if item.key not in done]
        try:
            with threadpool_limits(1):
                if self.attempt:
                    self._guarded(left)
                else:
                    self._fast(left)
            self.writer.close()
        except BaseException:
            self.writer.abandon()
            raise
        return Summary(
            task=self.task,
            trained=self.counts[TRAINED],
            unchanged=self.counts[UNCHANGED],
            skipped=self.counts[SKIPPED],
            failed=self.counts[FAILED],
            adopted=len(done),
            worker=self.worker,
            seconds=time.perf_counter() - begin,
            fit_seconds=self.fit_seconds,
            peak=_peak(),
        )

    # -- the two ways through a task

    def _fast(self, items: list[_Item]) -> None:
        watchdog = _Watchdog(self) if self.expendable and (self.work.timeout or self.work.memory) else None
        try:
            with ThreadPoolExecutor(UPLOADS, "put") as uploads:
                room = threading.Semaphore(UPLOADS)
                for item, read in read_ahead(self.work.input, items):
                    self._check()
                    if watchdog:
                        watchdog.begin(item)
                    result, content = self._one(item, read, None)
                    if watchdog:
                        watchdog.end()
                    if result.data is None:
                        self._record(item, result, content)
                        continue
                    room.acquire()
                    uploads.submit(self._upload, item, result, content, room)
            self._check()
        finally:
            if watchdog:
                watchdog.stop()

    def _guarded(self, items: list[_Item]) -> None:
        """Each partition in a child of its own process, after a mark that survives the death of this worker too."""
        marks = self._marks()
        fresh = [item for item in items if _mark_name(self.work, self.task, item.key, 0)[:-1] not in marks]
        suspect = [item for item in items if _mark_name(self.work, self.task, item.key, 0)[:-1] in marks]
        limit = container_limit()
        memory = self.work.memory or (int(limit * 0.8) if limit else None)
        child = Child(self.work.fitting, timeout=self.work.timeout, memory=memory)
        room = threading.Semaphore(1)
        try:
            for item, read in read_ahead(self.work.input, fresh):
                self.work.output.ensure(_mark_name(self.work, self.task, item.key, self.attempt), b"")
                self._finish(item, *self._one(item, read, child), room)
            # An earlier attempt was marked at these and never wrote what became of them. If it is still alive (Spark's
            # speculation), it may have by now; else they have killed a whole worker once, and are not let in again.
            if suspect:
                self.writer.flush()
                done = self._finished_keys()
                suspect = [item for item in suspect if item.key not in done]
            if self.work.speculation:
                for item, read in read_ahead(self.work.input, suspect):
                    self._finish(item, *self._one(item, read, child), room)
                return
            for item in suspect:
                text = (
                    "the worker process and its container died while fitting this partition. "
                    "Likely cause: out of memory. Raise the executor's memory, or set run.memory below it."
                )
                self._record(item, failed("worker_died", text), None)
        finally:
            child.close()

    # -- one partition

    def _one(self, item: _Item, read: Any, child: Child | None) -> tuple[Result, str | None]:
        if isinstance(read, PartitionError):
            return failed(read.reason, str(read)), None
        content = content_digest(blob for _, blob in read)
        if item.content is not None and content == item.content:
            return Result(status=UNCHANGED), content
        columns = hive_columns(str(item.objects[0]["name"])) if self.work.hive else {}
        if child is not None:
            result = child.fit(item.key, read, columns)
        else:
            result = fit(self.work.fitting, item.key, read, columns)
        self.fit_seconds += result.seconds or 0.0
        return result, content

    def _finish(self, item: _Item, result: Result, content: str | None, room: threading.Semaphore) -> None:
        if result.data is None:
            self._record(item, result, content)
            return
        room.acquire()
        self._upload(item, result, content, room)
        self._check()

    def _upload(self, item: _Item, result: Result, content: str | None, room: threading.Semaphore) -> None:
        try:
            assert result.digest is not None
            assert result.data is not None
            try:
                self.work.output.ensure(model_name(item.key, result.digest), result.data)
            except PartitionError as error:
                self._record(item, failed(error.reason, str(error)), content)
                return
            self._record(item, result, content)
        except StoreError as error:
            self.error = self.error or error
        finally:
            room.release()

    def _record(self, item: _Item, result: Result, content: str | None) -> None:
        self.counts[result.status] += 1
        self.writer.add(
            Outcome(
                key=item.key,
                status=result.status,
                reason=result.reason,
                message=result.message,
                traceback=result.traceback,
                digest=result.digest,
                size=None if result.data is None else len(result.data),
                rows=result.rows,
                metrics=result.metrics,
                warnings=result.warnings,
                seconds=result.seconds,
                data=item.data,
                content=content,
                recipe=self.work.recipe,
                environment=self.work.environment,
                bytes=item.bytes,
                source=_source([str(each["name"]) for each in item.objects]),
                attempt=self.attempt,
                task=self.task,
                worker=self.worker,
                peak=_peak(),
                finished_at=time.time(),
            )
        )

    def _check(self) -> None:
        if self.error is not None:
            raise self.error

    # -- what earlier attempts left

    def _finished_keys(self) -> set[str]:
        """Keys that any attempt of this task has an outcome for; an outcome is only written after its model is."""
        prefix = segment.folder(self.work.run, self.work.plan)
        found = segment.read(self.work.output, prefix, columns=["key", "task"])
        return {row["key"] for row in found.to_pylist() if row["task"] == self.task}

    def _marks(self) -> set[str]:
        prefix = f"runs/{self.work.run}/marks/{self.work.plan}/"
        return {
            prefix_of(prefix + name.rpartition("/")[2]) for name in self.work.output.list(prefix)["name"].to_pylist()
        }


def prefix_of(mark: str) -> str:
    """A mark's name without the number of the attempt."""
    return mark[: mark.rindex("-a") + 2]


def _source(names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    return os.path.commonpath([name.rpartition("/")[0] or "." for name in names]) + f"/ ({len(names)} objects)"


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def read_ahead(store: Store, items: list[_Item]) -> Iterator[tuple[_Item, Any]]:
    """The items with their bytes, in order, read by threads ahead of the fit.

    Yields
    ------
    (item, [(name, bytes), ...]) or (item, PartitionError)

    Notes
    -----
    Looks further ahead only when the fit had to wait for the store: two ahead on a fast store, up to `READ_AHEAD` on a
    slow one, never more than `READ_AHEAD_BYTES` beyond the next item.
    """
    waiting: deque[tuple[_Item, Future[Any]]] = deque()
    ahead, held, at = 2, 0, 0
    with ThreadPoolExecutor(READ_AHEAD, "get") as pool:
        while at < len(items) or waiting:
            while at < len(items) and len(waiting) < ahead and (not waiting or held < READ_AHEAD_BYTES):
                waiting.append((items[at], pool.submit(_read, store, items[at])))
                held += items[at].bytes
                at += 1
            item, future = waiting.popleft()
            if not future.done():
                begin = time.perf_counter()
                read = future.result()
                if time.perf_counter() - begin > 0.0005:
                    ahead = min(READ_AHEAD, ahead * 2)
            else:
                read = future.result()
            held -= item.bytes
            yield item, read


def _read(store: Store, item: _Item) -> Any:
    blobs = []
    for each in item.objects:
        name = str(each["name"])
        try:
            blobs.append((name, store.get(name, if_match=each["etag"])))
        except ChangedError:
            return PartitionError("input_changed", f"{name} was replaced after the plan was made; run again")
        except NotFoundError:
            return PartitionError("input_missing", f"{name} was deleted after the plan was made; run again")
        except DeniedError:
            return PartitionError("input_denied", f"the store refused to hand out {name}; check its permissions")
        except PartitionError as error:
            return error
    return blobs


class _Watchdog:
    """Ends the process when a fit takes too long or too much memory: nothing gentler stops native code.

    A timeout is written down first, so the next attempt need not wait for it again. Memory is judged again in a
    guarded child, because the worker's own memory may be the fault of the partitions before.
    """

    def __init__(self, task: _Task) -> None:
        self._task = task
        self._current: tuple[_Item, float] | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def begin(self, item: _Item) -> None:
        self._current = (item, time.monotonic())

    def end(self) -> None:
        with self._lock:
            self._current = None

    def stop(self) -> None:
        self._stop.set()

    def _watch(self) -> None:
        work = self._task.work
        while not self._stop.wait(0.2):
            current = self._current
            if current is None:
                continue
            item, began = current
            if work.timeout and time.monotonic() - began > work.timeout:
                with self._lock:
                    if self._current is not current:
                        continue
                    text = f"the fit took longer than run.timeout ({work.timeout:g} s) and was ended"
                    self._task._record(item, failed("timeout", text), None)
                    self._die()
            used = resident_bytes(os.getpid())
            if work.memory and used is not None and used > work.memory:
                with self._lock:
                    if self._current is current:
                        self._die()

    def _die(self) -> None:
        try:
            self._task.writer.flush()
        finally:
            os._exit(113)


def summary_row(summary: Summary) -> dict[str, Any]:
    """A summary as the row that a task returns."""
    return {field: getattr(summary, field) for field in Summary.__dataclass_fields__}
