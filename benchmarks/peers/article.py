"""The article's way: gzip files as one DataFrame, one Spark partition for each, a pandas UDF that fits and uploads.

As written, Spark packs small files into few partitions and trains a few wrong models; here one file per partition is
forced, with an opening cost above the partition size.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from benchmarks import clients, fitting
from benchmarks.peers import session
from benchmarks.workload import Workload


class _Train:
    def __init__(self, work: Workload, output: str) -> None:
        self._work, self._output = work, output

    def __call__(self, batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        work = self._work
        frame = pd.concat(list(batches), ignore_index=True)
        if not len(frame):
            return
        names = frame["file_name"].unique()
        if len(names) != 1:
            raise RuntimeError(f"{len(names)} files in one Spark partition")
        _, put = clients.client("boto3", work.bucket)
        put(
            f"{self._output}{work.key(names[0])}.joblib",
            fitting.dump(fitting.fit(frame, work.columns, work.estimator)),
        )
        yield pd.DataFrame({"file_name": names})


class Peer:
    """One session for all rounds."""

    def __init__(self, work: Workload) -> None:
        self._work = work
        self._session = session.start(
            work, spark__sql__files__openCostInBytes=str(1 << 40), spark__sql__files__maxPartitionBytes=str(1 << 30)
        )

    def round(self, output: str) -> int:
        """One action."""
        data = session.frame(self._session, self._work)
        return len(data.mapInPandas(_Train(self._work, output), "file_name string").collect())

    def close(self) -> None:
        """Stop the session."""
        self._session.stop()
