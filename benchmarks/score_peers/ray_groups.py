"""Ray Data: ``groupby().map_groups`` on a local cluster, with ``joblib.load`` of each group's model, parquet out."""

from __future__ import annotations

import os

os.environ |= {"RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}

import pandas as pd
import ray

from benchmarks.score_peers import fleet
from benchmarks.workload import Workload


class Peer:
    """One local cluster for all rounds."""

    def __init__(self, work: Workload) -> None:
        self._work = work
        ray.init("local", num_cpus=work.cores, include_dashboard=False, configure_logging=False)
        ray.data.DataContext.get_current().enable_progress_bars = False

    def round(self, output: str) -> int:
        """One pass."""
        work = self._work
        table = fleet.columns(work)
        read = ray.data.read_parquet if work.format == "parquet" else ray.data.read_csv

        def scored(rows: pd.DataFrame) -> pd.DataFrame:
            key = rows["key"].iloc[0] if table else os.path.basename(rows["path"].iloc[0]).partition(".")[0]
            return rows.assign(key=key, prediction=fleet.model_of(work, key).predict(rows[fleet.NAMES]))

        rows = read(fleet.data_files(work), include_paths=not table)
        done = rows.groupby("key" if table else "path").map_groups(scored, batch_format="pandas")
        done.write_parquet(f"{work.folder}/{output}")
        return fleet.stored_rows(f"{work.folder}/{output}")

    def close(self) -> None:
        """End the cluster."""
        ray.shutdown()
