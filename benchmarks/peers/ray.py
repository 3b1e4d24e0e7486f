"""Ray tasks, each with a batch of objects, on a local cluster that stays up."""

from __future__ import annotations

import os

# Ray would start its workers through uv, in this project's environment instead of the peers'; and it needs no token.
os.environ |= {"RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}

import ray

from benchmarks.workload import Workload, train_batch


class Peer:
    """One local cluster for all rounds."""

    def __init__(self, work: Workload) -> None:
        self._work = work
        ray.init(
            "local",
            num_cpus=work.cores,
            include_dashboard=False,
            configure_logging=False,
            object_store_memory=200_000_000,
        )
        self._task = ray.remote(num_cpus=1)(train_batch)
        self._shared = ray.put(work)

    def round(self, output: str) -> int:
        """One task per batch."""
        tasks = [self._task.remote(self._shared, batch, output) for batch in self._work.batches()]
        return int(sum(ray.get(tasks)))

    def close(self) -> None:
        """End the cluster."""
        ray.shutdown()
