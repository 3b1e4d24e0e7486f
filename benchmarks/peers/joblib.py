"""joblib's process pool, kept warm, with boto3 or obstore, in batches of any size."""

from __future__ import annotations

from joblib import Parallel, delayed

from benchmarks.workload import Workload, train_batch


class Peer:
    """One loky pool for all rounds."""

    def __init__(self, work: Workload) -> None:
        self._work = work
        # Workers that have been idle for a while would end, and the next round would begin with their imports.
        self._pool = Parallel(n_jobs=work.cores, batch_size=1, pre_dispatch="all", idle_worker_timeout=7200)

    def round(self, output: str) -> int:
        """One call."""
        return sum(self._pool(delayed(train_batch)(self._work, batch, output) for batch in self._work.batches()))

    def close(self) -> None:
        """End the pool."""
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(kill_workers=True)
