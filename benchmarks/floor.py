"""The floor: bytes already in memory, one warm process a core, nothing but decompress, parse, fit on a DataFrame, dump.

``part: fit`` is the fit and the dump alone, on frames that are parsed already.
"""

from __future__ import annotations

import gc
import os
import pickle
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from benchmarks import clients, fitting
from benchmarks.workload import Workload


def _serve(work: Workload, blobs: list[tuple[str, bytes]], pipe: Connection) -> None:
    parse = fitting.parse_pandas if work.options.get("parser") == "pandas" else fitting.parse_arrow
    dump = pickle.dumps if work.options.get("dump") == "pickle" else fitting.dump
    alone = work.options.get("part") == "fit"
    inputs: list[Any] = [parse(*blob) for blob in blobs] if alone else blobs
    gc.collect()
    gc.freeze()
    while pipe.recv():
        models = []
        for each in inputs:
            frame = each if alone else parse(*each)
            models.append(dump(fitting.fit(frame, work.columns, work.estimator)))
        pipe.send((os.getpid(), len(models)))


class Peer:
    """Half of the objects for each of two cores, and so on; shares are equal in bytes."""

    def __init__(self, work: Workload) -> None:
        get, _ = clients.client("boto3", work.bucket)
        blobs = [(name, get(work.prefix + name)) for name in work.names]
        blobs.sort(key=lambda blob: -len(blob[1]))
        shares: list[list[tuple[str, bytes]]] = [[] for _ in range(work.cores)]
        for blob in blobs:
            min(shares, key=lambda share: sum(len(data) for _, data in share)).append(blob)
        context = get_context("fork")
        self._workers = []
        for share in shares:
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(work, share, there), daemon=True)
            process.start()
            self._workers.append((process, here))

    def round(self, output: str) -> int:
        """One pass over everything; nothing is uploaded."""
        for _, pipe in self._workers:
            pipe.send(True)
        return sum(pipe.recv()[1] for _, pipe in self._workers)

    def close(self) -> None:
        """End the processes."""
        for process, pipe in self._workers:
            pipe.send(False)
            process.join(5)
