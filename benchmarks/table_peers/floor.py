"""The floor: read, sort by key, slice, fit, dump, in memory; one warm process a core, each with every other key."""

from __future__ import annotations

import gc
import zlib
from multiprocessing import get_context
from multiprocessing.connection import Connection

import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from benchmarks import fitting
from benchmarks.measure import end_with_parent
from benchmarks.table_peers.duckdb_joblib import slices
from benchmarks.table_peers.frames import KEY, files
from benchmarks.workload import Workload


def _serve(work: Workload, share: int, pipe: Connection) -> None:
    """Reads a share of the files and, as if rows had come to it by magic, fits as many keys."""
    end_with_parent()
    names = files(work)[share :: work.cores]
    gc.freeze()
    while pipe.recv():
        read = pq.read_table if work.format == "parquet" else pcsv.read_csv
        table = pa.concat_tables([read(name) for name in names]).combine_chunks()
        frame = table.sort_by([(name, "ascending") for name in KEY]).to_pandas()
        rows = models = 0
        for key, part in slices(frame):
            # A key's rows lie in all shares: of those here every other key is fitted, on as many rows as it has in all.
            if zlib.crc32(f"{key}".encode()) % work.cores == share:
                begin = min(rows, len(frame) - len(part) * work.cores)
                whole = frame.iloc[max(0, begin) : max(0, begin) + len(part) * work.cores]
                fitting.dump(fitting.fit(whole, work.columns, work.estimator))
                models += 1
            rows += len(part)
        pipe.send(models)


class Peer:
    """Processes that wait for a round."""

    def __init__(self, work: Workload) -> None:
        context = get_context("fork")
        self._workers = []
        for share in range(work.cores):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(work, share, there), daemon=True)
            process.start()
            self._workers.append((process, here))

    def round(self, output: str) -> int:
        """One pass; nothing is written."""
        for _, pipe in self._workers:
            pipe.send(True)
        return sum(pipe.recv() for _, pipe in self._workers)

    def close(self) -> None:
        """End the processes."""
        for process, pipe in self._workers:
            pipe.send(False)
            process.join(5)
