"""The ``direct`` reader: a task reads its own list and its own objects, ahead of the fit, with nothing in between.

Called by the engines, never by users.
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
        The output stayed unreachable, or refuses to take models.
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
    """A task's own list of keys that have no data, as the source of an attempt."""

    def __init__(self, items: list[Item]) -> None:
        self._items = items

    def read(
        self, wanted: Callable[[Item], bool], last: Callable[[Item], bool] = lambda item: False
    ) -> Iterator[tuple[Item, Payload | PartitionError]]:
        """The wanted keys."""
        yield from ((item, NoRows()) for item in sorted((each for each in self._items if wanted(each)), key=last))


class Objects:
    """A task's own list of objects, as the source of an attempt."""

    def __init__(self, work: Work, items: list[Item]) -> None:
        self._work, self._items = work, items

    def read(
        self, wanted: Callable[[Item], bool], last: Callable[[Item], bool] = lambda item: False
    ) -> Iterator[tuple[Item, Payload | PartitionError]]:
        """The wanted objects, read ahead of the fit."""
        chosen = sorted((item for item in self._items if wanted(item)), key=last)
        for item, read in read_ahead(self._work.input, chosen, self._work.output):
            if isinstance(read, PartitionError):
                yield item, read
            else:
                yield item, Blobs(read)


def read_ahead(store: Store, items: list[Item], output: Store | None = None) -> Iterator[tuple[Item, Any]]:
    """The items with their bytes, in order, read by threads ahead of the fit; live models of theirs from the output.

    Yields
    ------
    (item, [(name, bytes), ...]) or (item, PartitionError)

    Notes
    -----
    Looks further ahead only when the fit had to wait for the store: two ahead on a fast store, up to `READ_AHEAD` on a
    slow one, never more than `READ_AHEAD_BYTES` beyond the next item.
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
    # What is wrong with one object is a row; what is wrong with the store is the input's fault, not the output's.
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
                raise  # of all objects, not of this one: the run ends, and what is finished is kept
            except DeniedError as error:
                return PartitionError("input_denied", error.message, hint=error.hint or "Check its permissions.")
            except PartitionError as error:
                return error
    return blobs
