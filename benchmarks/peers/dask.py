"""Dask: a local cluster of one process a core, tasks with a batch of objects each."""

from __future__ import annotations

from distributed import Client, LocalCluster

from benchmarks.workload import Workload, train_batch


class Peer:
    """One local cluster for all rounds."""

    def __init__(self, work: Workload) -> None:
        self._work = work
        self._cluster = LocalCluster(
            n_workers=work.cores, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0
        )
        self._client = Client(self._cluster)

    def round(self, output: str) -> int:
        """One task per batch."""
        futures = self._client.map(
            train_batch, [self._work] * len(self._work.batches()), self._work.batches(), output=output, pure=False
        )
        return int(sum(self._client.gather(futures)))

    def close(self) -> None:
        """End the cluster."""
        self._client.close()
        self._cluster.close()
