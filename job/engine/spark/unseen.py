"""Planned keys for which Spark returned no data: finds out why, and gives each key an outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from job.engine.spark.gather import changed, missing, refuse_unreadable
from job.errors import PartitionError, SkipPartition
from job.store.side import storage
from job.worker.operation import Item, Payload
from job.worker.work import Work


class Unseen:
    """Keys that Spark handed nothing over for, and why; a key without a reason is left to the barrier, which names it.

    Parameters
    ----------
    work
        What all tasks share.
    items
        The keys.
    """

    def __init__(self, work: Work, items: list[Item]) -> None:
        assert work.table is not None
        self._work, self._read, self._items = work, work.table, items

    def read(
        self, wanted: Callable[[Item], bool], last: Callable[[Item], bool] = lambda item: False
    ) -> Iterator[tuple[Item, Payload | PartitionError]]:
        """The keys with their reasons."""
        for item in self._items:
            why = self._why(item)
            if why is not None:
                yield item, why

    def _why(self, item: Item) -> PartitionError | None:
        if self._read.layout == "columns":
            return PartitionError(
                "input_changed", "the key's rows were there when they were counted, and are gone; run again"
            )
        try:
            refuse_unreadable(item, self._read)
            for each in item.objects:
                name = str(each["name"])
                with storage("input", "the input could not be looked at"):
                    info = self._work.input.head(name)
                if info is None:
                    return missing(name)
                if info.size != each["size"]:
                    return changed(name)
        except PartitionError as error:
            return error
        # The objects are there, unchanged, and Spark found no row in them: of whole objects it leaves out empty ones.
        if self._read.whole and item.bytes:
            return None
        return SkipPartition("empty", f"there is no data: {item.source}")
