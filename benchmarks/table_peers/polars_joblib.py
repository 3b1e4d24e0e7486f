"""polars reads and partitions, joblib's processes fit."""

from __future__ import annotations

import polars as pl
from joblib import Parallel, delayed

from benchmarks.table_peers.frames import KEY, files, train
from benchmarks.workload import Workload


class Peer:
    """One loky pool for all rounds."""

    def __init__(self, work: Workload) -> None:
        self._work = work
        self._pool = Parallel(n_jobs=work.cores, idle_worker_timeout=7200)

    def round(self, output: str) -> int:
        """One pass."""
        read = pl.read_parquet if self._work.format == "parquet" else pl.read_csv
        frame = pl.concat([read(name) for name in files(self._work)])
        parts = frame.partition_by(KEY, as_dict=True, maintain_order=True)
        jobs = (delayed(train)(self._work, key, rows.to_pandas(), output) for key, rows in parts.items())
        return len(self._pool(jobs))

    def close(self) -> None:
        """End the pool."""
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(kill_workers=True)
