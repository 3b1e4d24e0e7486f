"""The ``direct`` reader: a task reads its own list, and its own objects ahead of the fit.

Engines call it, users do not.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from job import run_paths
from job.arrow import decode
from job.errors import ChangedError, CredentialsError, DeniedError, NotFoundError, PartitionError
from job.store import Store
from job.store.side import storage
from job.worker import live_model, merge
from job.worker.attempt import Attempt
from job.worker.operation import Item, Payload
from job.worker.payload import Blobs, NoRows
from job.worker.work import TASK_SCHEMA, Summary, Work, summary_row

__all__ = ["TASK_SCHEMA", "Work", "read_ahead", "summary_row", "work_on"]

READ_AHEAD = 32
READ_AHEAD_BYTES = 256_000_000


def work_on(work: Work, task: int, attempt: int, *, expendable: bool = True) -> Summary:
    """Train the partitions of one task.

    Parameters
    ----------
    work
        The data that all tasks share.
    task
        Number of the task in the plan.
    attempt
        0 for the first attempt. Later ones skip the keys that earlier ones finished, and fit in a guarded child.
    expendable
        Whether the watchdog may end this process if a fit takes too long: true for a worker process, false for the
        ``inline`` engine.

    Raises
    ------
    StoreError
        The output stayed unreachable, or refused to store models.
    InputError
        The input stayed unreachable.
    """
    if work.scan is not None:
        return merge.train_own(work, task, attempt, expendable=expendable)
    table = decode(work.output.get(run_paths.task_list(work.run, work.plan, task)))
    items = [Item(**row) for row in table.to_pylist()]
    source = Objects(work, items) if work.rows else Keys(items)
    return Attempt(work, task, attempt, expendable=expendable).work_on(source)


class Keys:
    """The list of a task whose keys have no data, as the source of an attempt."""

    def __init__(self, items: list[Item]) -> None:
        self._items = items

    def read(
        self, wanted: Callable[[Item], bool], last: Callable[[Item], bool] = lambda item: False
    ) -> Iterator[tuple[Item, Payload | PartitionError]]:
        """Yield the wanted keys."""
        yield from ((item, NoRows()) for item in sorted((each for each in self._items if wanted(each)), key=last))


class Objects:
    """The list of a task whose keys have objects, as the source of an attempt."""

    def __init__(self, work: Work, items: list[Item]) -> None:
        self._work, self._items = work, items

    def read(
        self, wanted: Callable[[Item], bool], last: Callable[[Item], bool] = lambda item: False
    ) -> Iterator[tuple[Item, Payload | PartitionError]]:
        """Yield the wanted keys with their objects, which are read ahead of the fit."""
        chosen = sorted((item for item in self._items if wanted(item)), key=last)
        for item, read in read_ahead(self._work.input, chosen, self._work.output):
            if isinstance(read, PartitionError):
                yield item, read
            else:
                yield item, Blobs(read)


def read_ahead(store: Store, items: list[Item], output: Store | None = None) -> Iterator[tuple[Item, Any]]:
    """Yield the items with their bytes, in order. Threads read them, and the live models, ahead of the fit.

    Yields
    ------
    (item, [(name, bytes), ...]) or (item, PartitionError)

    Notes
    -----
    It reads further ahead only after the fit had to wait for the store: two items ahead on a fast store, up to
    `READ_AHEAD` on a slow one, and never more than `READ_AHEAD_BYTES` beyond the next item.
    """
    waiting: deque[tuple[Item, Future[Any]]] = deque()
    ahead, held, at = 2, 0, 0
    with ThreadPoolExecutor(READ_AHEAD, "get") as pool:
        while at < len(items) or waiting:
            while at < len(items) and len(waiting) < ahead and (not waiting or held < READ_AHEAD_BYTES):
                waiting.append((items[at], pool.submit(_read, store, items[at], output)))
                held += items[at].bytes
                at += 1
            item, future = waiting.popleft()
            if not future.done():
                begin = time.perf_counter()
                read = future.result()
                if time.perf_counter() - begin > 0.0005:
                    ahead = min(READ_AHEAD, ahead * 4)
            else:
                read = future.result()
            held -= item.bytes
            yield item, read


def _read(store: Store, item: Item, output: Store | None) -> Any:
    if output is not None:
        live_model.read(output, item)
    blobs = []
    # A fault of one object becomes an outcome. A fault of the store is reported as one of the input.
    with storage("input", "the input could not be read"):
        for each in item.objects:
            name = str(each["name"])
            try:
                blobs.append((name, store.get(name, if_match=each["etag"])))
            except ChangedError:
                return PartitionError("input_changed", f"{name} was replaced after the plan was made; run again")
            except NotFoundError:
                return PartitionError("input_missing", f"{name} was deleted after the plan was made; run again")
            except CredentialsError:
                raise  # all objects are denied, not only this one: the run ends, and finished outcomes are kept
            except DeniedError as error:
                return PartitionError("input_denied", error.message, hint=error.hint or "Check its permissions.")
            except PartitionError as error:
                return error
    return blobs
