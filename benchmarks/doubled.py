"""Training that does the work of each key twice: what the guard of ``make bench-guard`` has to notice."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa

from job.fit.contest import Champion
from job.fit.partition_fit import Result
from job.worker.operation import Payload
from job.worker.training import Training
from job.worker.work import Work


class Twice(Training):
    """Reads, fits and packs each key twice, and returns the second result."""

    def run(
        self, key: str, rows: Callable[[], pa.Table], champion: Champion | None = None, payload: Payload | None = None
    ) -> Result:
        """Train on a copy first: a payload is empty once its rows have been read."""
        copy: Payload = pickle.loads(pickle.dumps(payload))
        super().run(key, lambda: copy.rows(self.spec), champion, copy)
        return super().run(key, rows, champion, payload)


def doubled(work: Work) -> Work:
    """The same work, with each key done twice."""
    return replace(work, operation=Twice(**vars(work.operation)))
