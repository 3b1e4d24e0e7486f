"""Counts outcomes during a run: the driver reads new segments, for the reasons of failures and for metrics.

Only for display: when the tasks have ended, the barrier reads all outcomes again.
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
"""Number of segments that one look reads at most, as the driver waits for it."""
BUCKETS = (0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0)
"""Upper limits of the buckets for the duration of a fit, in seconds."""


class Seen:
    """Counts the outcomes in new segments.

    Parameters
    ----------
    output
        The output.
    everything
        Read all segments; if false, only those that hold failures.
    """

    def __init__(self, output: Store, *, everything: bool = False) -> None:
        self.output, self._everything = output, everything
        self._read: set[str] = set()
        self.reasons: Counter[str] = Counter()
        """number of failures for each reason"""
        self.statuses: Counter[str] = Counter()
        """number of outcomes for each status; only complete with ``everything``"""
        self.fits = np.zeros(len(BUCKETS) + 1, np.int64)
        """number of fits in each of `BUCKETS`, and of longer ones; only complete with ``everything``"""
        self.fit_seconds = 0.0
        """sum of the seconds of these fits"""

    def look(self, names: Iterable[str]) -> None:
        """Read new segments, at most `EACH_LOOK`; the next look reads the remaining ones.

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
        """Count outcomes, from a table with the columns ``status``, ``reason`` and ``seconds``."""
        status = table["status"].cast(pa.string())
        failed = table["reason"].cast(pa.string()).filter(pc.equal(status, "failed"))
        self.reasons.update(each or "" for each in failed.to_pylist())
        self.statuses.update({each["values"]: each["counts"] for each in pc.value_counts(status).to_pylist()})
        seconds = pc.drop_null(table["seconds"]).to_numpy()
        self.fits += np.bincount(np.searchsorted(BUCKETS, seconds), minlength=len(BUCKETS) + 1)
        self.fit_seconds += float(seconds.sum())
