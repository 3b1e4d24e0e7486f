"""The ten lines: pandas reads and groups, joblib's processes fit."""

from __future__ import annotations

import pandas as pd
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
        read = pd.read_parquet if self._work.format == "parquet" else pd.read_csv
        frame = pd.concat([read(name) for name in files(self._work)])
        return len(self._pool(delayed(train)(self._work, key, rows, output) for key, rows in frame.groupby(KEY)))

    def close(self) -> None:
        """End the pool."""
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(kill_workers=True)
