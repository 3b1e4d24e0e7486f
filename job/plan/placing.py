"""Places the keys of a table: which task trains which key and reads which piece; whether rows are exchanged. Pure.

Rows of keys that lie together are read by the task that trains them, and nothing is exchanged; else the pieces are read
by other tasks, which hand the rows on. Either follows from the counts alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job.plan.packing import pack
from job.plan.table_layout import TableLayout

MOST_READ_TWICE = 1.5
"""Without an exchange a piece is read by each task that has keys in it: so many times the bytes at most."""
PIECES_BYTES = 256 << 20
"""Stored bytes that one task of the first stage reads, about."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """The tasks that train the keys of a table, and the tasks that read its pieces."""

    assigned: np.ndarray
    """the task of each due key, int32"""
    readers: int
    """tasks of the first stage; 0: each task reads its own pieces"""
    piece: np.ndarray
    """rows of ``layout.files.pieces`` that are read, in the order of the files; twice where two tasks read one"""
    reader: np.ndarray
    """who reads each: a task of the first stage, or the task that trains"""
    bytes: int
    """stored bytes of the pieces that hold rows of due keys"""
    read_bytes: int
    """bytes that are read: more, where tasks share pieces"""


def place(layout: TableLayout, due: pa.Array, costs: np.ndarray, tasks: int, cores: int) -> Placement:
    """Place the keys that are due.

    Parameters
    ----------
    layout
        The table.
    due
        The keys to be trained.
    costs
        Of each of them.
    tasks
        How many tasks train.
    cores
        Tasks that can run at once.
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
        if fewer == 1 or read_bytes <= MOST_READ_TWICE * total:
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
    """Tasks of keys that lie in the same pieces: keys in the order of where they lie, cut where the costs say."""
    first = np.full(len(costs), np.iinfo(np.int32).max, np.int32)
    last = np.zeros(len(costs), np.int32)
    np.minimum.at(first, key, piece)
    np.maximum.at(last, key, piece)
    order = np.lexsort((last, first))
    assigned = np.empty(len(costs), np.int32)
    assigned[order] = _stretches(costs[order], tasks)
    return assigned


def _stretches(weights: np.ndarray, parts: int) -> np.ndarray:
    """Neighbours in at most so many parts of about the same weight: the number of each one's part, int32."""
    weights = np.asarray(weights, float)
    middle = np.cumsum(weights) - weights / 2
    found = np.minimum((middle / (float(weights.sum()) or 1.0) * parts).astype(np.int64), parts - 1)
    # Beside something large a part may be empty: it is left out.
    steps: np.ndarray = np.unique(found, return_inverse=True)[1]
    return steps.astype(np.int32)
