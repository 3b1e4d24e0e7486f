"""Fugue on Spark, with its coarse partitioning: many keys per task, a loop inside."""

from __future__ import annotations

import pandas as pd
from fugue import api

from benchmarks import clients, fitting
from benchmarks.peers import session
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

        def train(frame: pd.DataFrame) -> pd.DataFrame:
            _, put = clients.client(work.options.get("stack", "boto3"), work.bucket)
            names = []
            for name, group in frame.groupby("file_name"):
                model = fitting.fit(group, work.columns, work.estimator)
                put(f"{output}{work.key(str(name))}.joblib", fitting.dump(model))
                names.append(name)
            return pd.DataFrame({"file_name": names})

        done = api.transform(
            session.frame(self._session, work),
            train,
            schema="file_name:str",
            partition={"by": "file_name", "algo": "coarse", "num": work.cores * 2},
            engine=self._session,
        )
        return int(done.count())

    def close(self) -> None:
        """Stop the session."""
        self._session.stop()
