"""Outcomes as they come: the driver reads new segments while a run trains, for reasons of failures and for metrics.

Derived, like all progress: what counts is read again by the barrier, once the tasks have ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job.arrow import decode
from job.store import Store
from job.worker import segment

EACH_LOOK = 64
"""Segments that one look reads: it takes its time from the driver of a run."""
BUCKETS = (0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0)
"""Upper limits of fit seconds that are counted apart, in seconds."""


class Seen:
    """Counts the outcomes in new segments.

    Parameters
    ----------
    output
        The output.
    everything
        Read all segments; else only those that hold failures.
    """

    def __init__(self, output: Store, *, everything: bool = False) -> None:
        self.output, self._everything = output, everything
        self._read: set[str] = set()
        self.reasons: Counter[str] = Counter()
        """of failures"""
        self.statuses: Counter[str] = Counter()
        """with ``everything``"""
        self.fits = np.zeros(len(BUCKETS) + 1, np.int64)
        """with ``everything``: fits by `BUCKETS`, the last beyond them"""
        self.fit_seconds = 0.0
        """with ``everything``: their sum"""

    def look(self, names: Iterable[str]) -> None:
        """Read some of the segments that are new; what is left is read at the next look.

        Raises
        ------
        StoreError
            The output cannot be read.
        """
        new = [name for name in names if name not in self._read and (self._everything or segment.failures(name))]
        chosen = sorted(new)[:EACH_LOOK]
        if not chosen:
            return
        with ThreadPoolExecutor(8) as pool:
            for name, table in zip(chosen, pool.map(lambda each: decode(self.output.get(each)), chosen), strict=True):
                self._read.add(name)
                self.add(table)

    def add(self, table: pa.Table) -> None:
        """Count outcomes, columns ``status``, ``reason`` and ``seconds``."""
        status = table["status"].cast(pa.string())
        failed = table["reason"].cast(pa.string()).filter(pc.equal(status, "failed"))
        self.reasons.update(each or "" for each in failed.to_pylist())
        self.statuses.update({each["values"]: each["counts"] for each in pc.value_counts(status).to_pylist()})
        seconds = pc.drop_null(table["seconds"]).to_numpy()
        self.fits += np.bincount(np.searchsorted(BUCKETS, seconds), minlength=len(BUCKETS) + 1)
        self.fit_seconds += float(seconds.sum())
