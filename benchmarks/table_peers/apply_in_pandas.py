"""Spark: ``groupBy().applyInPandas``, with shuffle partitions for the cores there are."""

from __future__ import annotations

import pandas as pd

from benchmarks.peers import session
from benchmarks.table_peers.frames import KEY, train
from benchmarks.workload import Workload


class Peer:
    """One session for all rounds."""

    def __init__(self, work: Workload) -> None:
        self._work = work
        self._session = session.start(
            work, spark__sql__adaptive__enabled="false", spark__sql__shuffle__partitions=str(work.cores * 2)
        )

    def round(self, output: str) -> int:
        """One action."""
        work = self._work

        def group(frame: pd.DataFrame) -> pd.DataFrame:
            train(work, (frame["store"].iloc[0], frame["item"].iloc[0]), frame, output)
            return pd.DataFrame({"done": [1]})

        read, folder = self._session.read, work.folder
        frame = read.parquet(folder) if work.format == "parquet" else read.csv(folder, header=True, inferSchema=True)
        return len(frame.groupBy(KEY).applyInPandas(group, "done int").collect())

    def close(self) -> None:
        """Stop the session."""
        self._session.stop()
