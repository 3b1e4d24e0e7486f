"""Places the keys of a table: which task trains which key, which reads which piece, and if rows are exchanged. Pure.

If the rows of a key lie in few pieces, the task that trains the key reads them, and nothing is exchanged. Else other
tasks read the pieces and pass the rows on. The choice depends only on the numbers of rows of each key in each piece.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job.plan.packing import pack
from job.plan.table_layout import TableLayout

MOST_READ_TWICE = 1.9
"""Without an exchange, each task that has keys in a piece reads it. The bytes read are at most this multiple of those
stored; else rows are exchanged. Measured (local engine, linear regression, 6 columns), the CPU time of both ways is
equal at 2.6 for parquet and at 1.95 for csv. Below 2, so that two cores do not both read all of a scattered table."""
FEW_READ_TWICE = 1.5
"""The multiple above which there are fewer tasks, as long as there is one for each core."""
PIECES_BYTES = 256 << 20
"""Stored bytes that one task of the first stage reads, about."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """The tasks that train the keys of a table, and the tasks that read its pieces."""

    assigned: np.ndarray
    """shape (due keys,), int32: the task of each due key"""
    readers: int
    """number of tasks of the first stage; 0: no exchange, each task reads its own pieces"""
    piece: np.ndarray
    """rows of ``layout.files.pieces`` to read, in the order of the files; once for each task that reads the piece"""
    reader: np.ndarray
    """the task that reads each of ``piece``: of the first stage, or without an exchange the training task"""
    bytes: int
    """stored bytes of the pieces that hold rows of due keys"""
    read_bytes: int
    """bytes that are read; more than ``bytes`` if several tasks read a piece"""


def place(layout: TableLayout, due: pa.Array, costs: np.ndarray, tasks: int, cores: int) -> Placement:
    """Place the keys that are due.

    Parameters
    ----------
    layout
        The table.
    due
        The keys to be trained.
    costs
        Shape (due keys,): the cost of each of these keys.
    tasks
        Number of tasks that train.
    cores
        Number of tasks that can run at once.
    """
    number = pc.fill_null(pc.index_in(layout.keys, value_set=due), -1).to_numpy()[layout.number]
    held = number >= 0
    key, piece = number[held], layout.files.entries["piece"].to_numpy()[held]
    stored = layout.files.pieces["bytes"].to_numpy()
    used = np.unique(piece)
    total = int(stored[used].sum())
    fewer = tasks
    while True:
        together = _neighbours(key, piece, costs, fewer)
        pairs = np.unique(together[key].astype(np.int64) * len(stored) + piece)
        reader, read = (pairs // len(stored)).astype(np.int32), pairs % len(stored)
        read_bytes = int(stored[read].sum())
        most = FEW_READ_TWICE if fewer > cores else MOST_READ_TWICE
        if fewer == 1 or read_bytes <= most * total:
            return Placement(
                assigned=together, readers=0, piece=read, reader=reader, bytes=total, read_bytes=read_bytes
            )
        if fewer <= cores:
            break
        # Fewer, larger tasks share fewer pieces.
        fewer = max(cores, fewer // 2)
    readers = min(len(used), max(cores, -(-total // PIECES_BYTES)))
    return Placement(
        assigned=pack(costs, tasks),
        readers=readers,
        piece=used,
        reader=_stretches(stored[used], readers),
        bytes=total,
        read_bytes=total,
    )


def _neighbours(key: np.ndarray, piece: np.ndarray, costs: np.ndarray, tasks: int) -> np.ndarray:
    """Assign keys of the same pieces to the same task: keys in the order of their pieces, divided by their costs."""
    first = np.full(len(costs), np.iinfo(np.int32).max, np.int32)
    last = np.zeros(len(costs), np.int32)
    np.minimum.at(first, key, piece)
    np.maximum.at(last, key, piece)
    order = np.lexsort((last, first))
    assigned = np.empty(len(costs), np.int32)
    assigned[order] = _stretches(costs[order], tasks)
    return assigned


def _stretches(weights: np.ndarray, parts: int) -> np.ndarray:
    """Divide neighbours into at most ``parts`` parts of about the same weight: the number of each one's part, int32."""
    weights = np.asarray(weights, float)
    middle = np.cumsum(weights) - weights / 2
    found = np.minimum((middle / (float(weights.sum()) or 1.0) * parts).astype(np.int64), parts - 1)
    # Next to a large item a part may be empty; it is left out.
    steps: np.ndarray = np.unique(found, return_inverse=True)[1]
    return steps.astype(np.int32)
