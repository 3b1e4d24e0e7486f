"""DuckDB reads and sorts by key, slices go to joblib's processes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
from joblib import Parallel, delayed

from benchmarks.table_peers.frames import KEY, files, train
from benchmarks.workload import Workload


def slices(frame: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The rows of each key of a frame that is sorted by key."""
    codes = [frame[name].to_numpy() for name in KEY]
    new = np.append(True, (codes[0][1:] != codes[0][:-1]) | (codes[1][1:] != codes[1][:-1]))
    begins = [*np.flatnonzero(new).tolist(), len(frame)]
    for begin, end in itertools.pairwise(begins):
        yield (codes[0][begin], codes[1][begin]), frame.iloc[begin:end]


class Peer:
    """One loky pool for all rounds."""

    def __init__(self, work: Workload) -> None:
        self._work = work
        self._pool = Parallel(n_jobs=work.cores, idle_worker_timeout=7200)

    def round(self, output: str) -> int:
        """One pass."""
        read = "read_parquet" if self._work.format == "parquet" else "read_csv"
        frame = duckdb.sql(f"select * from {read}({files(self._work)}) order by {', '.join(KEY)}").df()
        return len(self._pool(delayed(train)(self._work, key, rows, output) for key, rows in slices(frame)))

    def close(self) -> None:
        """End the pool."""
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(kill_workers=True)
