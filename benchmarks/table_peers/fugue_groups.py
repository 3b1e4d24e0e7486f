"""Fugue on Spark, one key at a time."""

from __future__ import annotations

import pandas as pd
from fugue import api

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
        """One transform."""
        work = self._work

        def group(frame: pd.DataFrame) -> pd.DataFrame:
            train(work, (frame["store"].iloc[0], frame["item"].iloc[0]), frame, output)
            return pd.DataFrame({"done": [1]})

        read = self._session.read
        frame = read.parquet(work.folder) if work.format == "parquet" else read.csv(work.folder, True, inferSchema=True)
        done = api.transform(frame, group, schema="done:int", partition={"by": KEY}, engine=self._session)
        return int(done.count())

    def close(self) -> None:
        """Stop the session."""
        self._session.stop()
