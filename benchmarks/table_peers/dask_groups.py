"""Dask: ``groupby().apply`` on a local cluster of one process a core."""

from __future__ import annotations

import dask.dataframe as dd
import pandas as pd
from distributed import Client, LocalCluster

from benchmarks.table_peers.frames import KEY, files, train
from benchmarks.workload import Workload


class Peer:
    """One local cluster for all rounds."""

    def __init__(self, work: Workload) -> None:
        self._work = work
        self._cluster = LocalCluster(
            n_workers=work.cores, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0
        )
        self._client = Client(self._cluster)

    def round(self, output: str) -> int:
        """One pass."""
        work = self._work
        frame = dd.read_parquet(files(work)) if work.format == "parquet" else dd.read_csv(files(work))

        def group(rows: pd.DataFrame) -> int:
            train(work, rows.name, rows, output)
            return 1

        return int(frame.groupby(KEY).apply(group, meta=("done", "int64")).count().compute())

    def close(self) -> None:
        """End the cluster."""
        self._client.close()
        self._cluster.close()
