"""Ray Data: ``groupby().map_groups`` on a local cluster."""

from __future__ import annotations

import os

os.environ |= {"RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}

import pandas as pd
import ray

from benchmarks.table_peers.frames import KEY, files, train
from benchmarks.workload import Workload


class Peer:
    """One local cluster for all rounds."""

    def __init__(self, work: Workload) -> None:
        self._work = work
        ray.init("local", num_cpus=work.cores, include_dashboard=False, configure_logging=False)

    def round(self, output: str) -> int:
        """One pass."""
        work = self._work
        read = ray.data.read_parquet if work.format == "parquet" else ray.data.read_csv

        def group(rows: pd.DataFrame) -> pd.DataFrame:
            train(work, (rows["store"].iloc[0], rows["item"].iloc[0]), rows, output)
            return pd.DataFrame({"done": [1]})

        return int(read(files(work)).groupby(KEY).map_groups(group, batch_format="pandas").count())

    def close(self) -> None:
        """End the cluster."""
        ray.shutdown()
