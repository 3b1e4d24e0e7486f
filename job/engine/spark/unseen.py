"""Planned keys for which Spark returned no data: finds out why, and gives each key an outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from job.engine.spark.gather import changed, missing, refuse_unreadable
from job.errors import PartitionError, SkipPartition
from job.store.side import storage
from job.worker.operation import Item, Payload
from job.worker.work import Work


class Unseen:
    """A source of keys for which Spark delivered no data. It leaves keys without a known reason to the barrier.

    Parameters
    ----------
    work
        The data that all tasks share.
    items
        The keys.
    """

    def __init__(self, work: Work, items: list[Item]) -> None:
        assert work.table is not None
        self._work, self._read, self._items = work, work.table, items

    def read(
        self, wanted: Callable[[Item], bool], last: Callable[[Item], bool] = lambda item: False
    ) -> Iterator[tuple[Item, Payload | PartitionError]]:
        """Yield the keys, each with the error that says why there is no data. ``wanted`` and ``last`` are not used."""
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
        # The objects are unchanged, and Spark found no row in them. Of whole objects, Spark leaves out only empty ones.
        if self._read.whole and item.bytes:
            return None
        return SkipPartition("empty", f"there is no data: {item.source}")
