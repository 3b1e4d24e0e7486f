"""Imports the libraries that every task needs, once, before workers are forked from this process."""

from __future__ import annotations


def warm() -> None:
    """Import the libraries, and exclude their objects from later garbage collection.

    obstore is imported, too, but no store may be opened before the fork.
    """
    import gc

    import numpy  # noqa: F401
    import pandas  # noqa: F401
    import sklearn.linear_model
    import sklearn.pipeline  # noqa: F401
    import threadpoolctl

    import job.worker.direct  # noqa: F401

    # To find the BLAS libraries, threadpoolctl walks all loaded ones. Done here once, all workers inherit its caches.
    threadpoolctl.threadpool_info()
    gc.collect()
    gc.freeze()
