"""One attempt at a task: do the operation on each key, upload its result, and write its outcome.

It works in the same way for every reader and every operation. A failure of a partition becomes an outcome. Only storage
that stays unreachable raises: then the engine starts another attempt, which keeps the outcomes that exist already.
"""

from __future__ import annotations

import os
import re
import resource
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from threadpoolctl import threadpool_limits

from job import run_paths
from job.errors import PartitionError
from job.fit.partition_fit import Result, failed
from job.outcome import FAILED, SKIPPED, UNCHANGED, Outcome
from job.reader.spec import VERSION
from job.score.part import Part
from job.worker import chunks, live_model, segment
from job.worker.chunks import Chunks, Done
from job.worker.guarded_child import Child
from job.worker.machine import container_limit
from job.worker.models_ahead import ModelsAhead
from job.worker.operation import Item, Payload, perform
from job.worker.segment import SegmentWriter
from job.worker.watchdog import Watchdog
from job.worker.work import Source, Summary, Work

UPLOADS = 32
_ATTEMPT = re.compile(r"-a\d+-[0-9a-f]+$")
"""matches the end of a mark's name, which is unique to the attempt"""
_SURVIVED = "-survived"
"""in the name of a mark: the operation on this key has ended, and its outcome waits for the chunk"""
ENOUGH_DEATHS = 2
"""After this many attempts that died at a partition, the partition fails without another try."""
_DIED = (
    "the worker process and its container died while fitting this partition. "
    "Likely cause: out of memory. Raise the executor's memory, or set run.memory below it."
)


class Attempt:
    """One attempt at one task.

    Parameters
    ----------
    work
        The data that all tasks share.
    task
        Number of the task.
    attempt
        0 for the first attempt. Later ones skip the keys that earlier ones finished, and fit in a guarded child.
    expendable
        Whether the watchdog may end this process if a fit takes too long: true for a worker process, false for the
        ``inline`` engine.
    """

    def __init__(self, work: Work, task: int, attempt: int, *, expendable: bool) -> None:
        self.work, self.task, self.attempt = work, task, attempt
        self._expendable = expendable
        self._worker = f"{socket.gethostname()}:{os.getpid()}"
        self._counts = {work.operation.done: 0, UNCHANGED: 0, SKIPPED: 0, FAILED: 0}
        self._fit_seconds = 0.0
        self._error: BaseException | None = None
        self._chunks = Chunks()
        self._writer = SegmentWriter(work.output, run=work.run, plan=work.plan, task=task, attempt=attempt)

    def work_on(self, source: Source) -> Summary:
        """Do the operation on each key of the source that no earlier attempt has finished.

        Raises
        ------
        StoreError
            The output stayed unreachable, or refused to store results.
        InputError
            The input stayed unreachable.
        """
        begin = time.perf_counter()
        if self.work.models is not None:
            source = ModelsAhead(source, self.work.models)
        done = self._finished_keys() if self.attempt else set()
        try:
            with threadpool_limits(1):
                if self.attempt:
                    self._guarded(source, done)
                else:
                    self._fast(source)
            self._writer.close()
        except BaseException as error:
            self._writer.abandon(error)
            raise
        return Summary(
            task=self.task,
            done=self._counts[self.work.operation.done],
            unchanged=self._counts[UNCHANGED],
            skipped=self._counts[SKIPPED],
            failed=self._counts[FAILED],
            adopted=len(done),
            worker=self._worker,
            seconds=time.perf_counter() - begin,
            fit_seconds=self._fit_seconds,
            peak=_peak(),
        )

    # -- the two ways through a task

    def _fast(self, source: Source) -> None:
        watchdog = None
        if self._expendable and (self.work.timeout or self.work.memory):
            watchdog = Watchdog(
                named=self.work.operation.named,
                timeout=self.work.timeout,
                memory=self.work.memory,
                record=lambda item, result: self._record(item, result, None),
                flush=self._writer.flush,
            )
        try:
            with ThreadPoolExecutor(UPLOADS, "put") as uploads:
                room = threading.Semaphore(UPLOADS)
                for item, read in source.read(lambda item: True):
                    self._check()
                    if watchdog:
                        watchdog.begin(item)
                    result, content = self._one(item, read, None)
                    if watchdog:
                        watchdog.end()
                    if (put := self._putting(item, result, content)) is None:
                        continue
                    room.acquire()
                    upload = uploads.submit(put)
                    upload.add_done_callback(lambda _: room.release())
            self._check()
        finally:
            if watchdog:
                watchdog.stop()

    def _guarded(self, source: Source, done: set[str]) -> None:
        """Work on the partitions in a guarded child. Before each one a mark is put, which survives even this worker.

        A mark without an outcome means that an attempt died at this partition. The cause may be the partition, or
        something outside. So a partition with one mark is tried once more, after all others; with two marks it fails.
        In the last attempt that Spark allows, every partition with a mark fails: one failed key too many is better than
        a run that ends. From the third attempt on, the system limits the memory of the child. So a partition that takes
        all memory at once ends only the child and not the container, and becomes a failed outcome.
        """
        marks = self._marks()
        last = self.attempt >= self.work.attempts - 1
        suspects: set[str] = set()
        given_up: list[Item] = []

        def wanted(item: Item) -> bool:
            if item.key in done:
                return False
            # With Spark's speculation the attempt that made the mark may still be running.
            mark = self._mark(item)
            deaths = 0 if self.work.speculation else marks[mark] - marks[f"{mark}{_SURVIVED}"]
            if deaths >= ENOUGH_DEATHS or (deaths and last):
                given_up.append(item)
                return False
            if deaths:
                suspects.add(item.key)
            return True

        limit = container_limit()
        memory = self.work.memory or (int(limit * 0.8) if limit else None)
        child = Child(self.work.operation, timeout=self.work.timeout, memory=memory, hard=self.attempt >= ENOUGH_DEATHS)
        try:
            later = []
            for item, read in source.read(wanted, lambda item: item.key in suspects):
                # Spark delivers keys in its own order, so the suspects may not come last.
                if item.key in suspects:
                    later.append((item, read))
                else:
                    self._guard(item, read, child)
            for item, read in later:
                self._guard(item, read, child)
        finally:
            child.close()
        if not given_up:
            return
        self._writer.flush()
        done = self._finished_keys()
        for item in given_up:
            if item.key not in done:
                self._finish(item, failed("worker_died", _DIED), None)

    def _guard(self, item: Item, read: Payload | PartitionError, child: Child) -> None:
        self._writer.flush()  # else, after a death here, the partitions before would have marks without an outcome
        # The name is unique to this attempt: Spark may use a number twice, and marks are counted.
        self.work.output.ensure(f"{self._mark(item)}-a{self.attempt}-{self._writer.id}", b"")
        result, content = self._one(item, read, child)
        if item.chunk is not None:  # its outcome waits for the chunk; a later death must not count against this key
            self.work.output.ensure(f"{self._mark(item)}{_SURVIVED}-a{self.attempt}-{self._writer.id}", b"")
        self._finish(item, result, content)

    def _finish(self, item: Item, result: Result, content: str | None) -> None:
        if (put := self._putting(item, result, content)) is not None:
            put()
            self._check()

    def _putting(self, item: Item, result: Result, content: str | None) -> Callable[[], None] | None:
        """The upload of a result followed by its outcome, as a function; None if nothing is to be uploaded now."""
        if item.chunk is not None:
            chunk = self._chunks.add(item, result, content)
            return None if chunk is None else partial(self._upload_chunk, chunk)
        if result.artifact is None:
            self._record(item, result, content)
            return None
        return partial(self._upload, item, result, content)

    # -- one partition

    def _one(self, item: Item, read: Payload | PartitionError, child: Child | None) -> tuple[Result, str | None]:
        if isinstance(read, PartitionError):
            return self.work.operation.of_error(read), None
        content = read.content()
        if item.content is not None and content == item.content and self._read_alike(item, read):
            return Result(status=UNCHANGED), content
        champion = live_model.taken(self.work.output, item)
        if child is None:
            result = perform(self.work.operation, item.key, read, champion)
        else:
            result = child.run(item.key, read, champion)
        self._fit_seconds += result.seconds or 0.0
        return result, content

    def _read_alike(self, item: Item, read: Payload) -> bool:
        """Whether the bytes are read as the same rows as when the published model was fitted."""
        return item.reading == VERSION or read.as_before(self.work.operation.spec, item.reading)

    def _upload(self, item: Item, result: Result, content: str | None) -> None:
        try:
            assert result.digest is not None
            assert result.artifact is not None
            try:
                self.work.output.ensure(self.work.operation.place(item.key, result.digest), result.artifact)
            except PartitionError as error:
                self._record(item, failed(error.reason, str(error)), content)
                return
            self._record(item, result, content)
        except BaseException as error:  # every kind: the fitting thread raises it again
            self._error = self._error or error

    def _upload_chunk(self, chunk: list[Done]) -> None:
        """Put the results of a chunk as one object, then write the outcomes of all its keys."""
        try:
            tables = [result.table for _, result, _ in chunk if result.table is not None]
            part = self.work.operation.pack(tables) if tables else None
            if part is not None:
                self.work.output.ensure(self.work.operation.place(chunk[0][0].key, part.digest), part.data)
            for item, result, content in chunk:
                self._record(item, result, content, chunk=item.chunk, part=None if result.table is None else part)
        except BaseException as error:  # as in _upload
            self._error = self._error or error

    def _record(
        self, item: Item, result: Result, content: str | None, *, chunk: str | None = None, part: Part | None = None
    ) -> None:
        self._counts[result.status] += 1
        self._writer.add(
            Outcome(
                key=item.key,
                status=result.status,
                reason=result.reason,
                message=result.message,
                traceback=result.traceback,
                digest=result.digest if part is None else part.digest,
                size=len(part.data) if part else None if result.artifact is None else len(result.artifact),
                rows=result.rows,
                read=result.read,
                chunk=chunk,
                part=None if chunk is None else f"{self._writer.id}/{chunk}",
                columns=None if part is None else part.columns,
                metrics=result.metrics,
                warnings=result.warnings,
                seconds=result.seconds,
                data=item.data,
                content=content,
                bytes=item.bytes,
                source=item.source,
                attempt=self.attempt,
                task=self.task,
                worker=self._worker,
                peak=_peak(),
                finished_at=time.time(),
                **self.work.operation.columns(),
                **result.judged,
            )
        )

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    # -- outcomes and marks of earlier attempts

    def _finished_keys(self) -> set[str]:
        """Keys for which an attempt of this task has written an outcome. An outcome is written only after its model."""
        prefix = run_paths.segments(self.work.run, self.work.plan)
        found = segment.read(self.work.output, prefix, columns=["key", "task", "chunk", "part"])
        if self.work.models is not None:
            found = chunks.finished(found)
        return {row["key"] for row in found.to_pylist() if row["task"] == self.task}

    def _mark(self, item: Item) -> str:
        return run_paths.mark(self.work.run, self.work.plan, self.task, item.key)

    def _marks(self) -> Counter[str]:
        """The number of attempts that have put each mark."""
        names = self.work.output.list(run_paths.marks(self.work.run, self.work.plan))["name"].to_pylist()
        return Counter(_ATTEMPT.sub("", name) for name in names)


def begun_before(work: Work, task: int) -> bool:
    """Put a mark that the task has begun. Returns whether there was one already.

    When Spark repeats a stage whose shuffle files were lost, it counts attempts from 0 again. So after a shuffle the
    number 0 does not mean that this is the first attempt.
    """
    return not work.output.create(run_paths.task_begun(work.run, work.plan, task), b"")


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
