"""``groupBy().applyInPandas``: all objects as one DataFrame, a shuffle by key, a pandas UDF for each group.

With Spark's defaults the adaptive planner folds the shuffle into one task; here that is off and the number of shuffle
partitions a small multiple of the cores, which was the fastest.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from benchmarks import clients, fitting
from benchmarks.peers import session
from benchmarks.workload import Workload


def _train(work: Workload, output: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def train(frame: pd.DataFrame) -> pd.DataFrame:
        name = frame["file_name"].iloc[0]
        _, put = clients.client(work.options.get("stack", "boto3"), work.bucket)
        put(f"{output}{work.key(name)}.joblib", fitting.dump(fitting.fit(frame, work.columns, work.estimator)))
        return pd.DataFrame({"file_name": [name]})

    return train


class Peer:
    """One session for all rounds."""

    def __init__(self, work: Workload) -> None:
        self._work = work
        self._session = session.start(
            work, spark__sql__adaptive__enabled="false", spark__sql__shuffle__partitions=str(work.cores * 2)
        )

    def round(self, output: str) -> int:
        """One action."""
        groups = session.frame(self._session, self._work).groupBy("file_name")
        return len(groups.applyInPandas(_train(self._work, output), "file_name string").collect())

    def close(self) -> None:
        """Stop the session."""
        self._session.stop()
