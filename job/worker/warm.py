"""Imports what every task needs, once, before workers are forked from this process."""

from __future__ import annotations


def warm() -> None:
    """Import it, and keep the garbage collector from looking at it again.

    obstore is imported, but no store may be opened before the fork.
    """
    import gc

    import numpy  # noqa: F401
    import pandas  # noqa: F401
    import sklearn.linear_model
    import sklearn.pipeline  # noqa: F401
    import threadpoolctl

    import job.worker.direct  # noqa: F401

    # Finding the BLAS libraries means walking all loaded ones; done once here, every worker inherits the warm caches.
    threadpoolctl.threadpool_info()
    gc.collect()
    gc.freeze()
