"""Facts about a table for the plan: bytes to read, whether and why rows are exchanged, the largest key. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from job.formats import compression
from job.plan.packing import FIT_MEMORY
from job.plan.placing import place
from job.plan.table_layout import TableLayout
from job.reader.table_scan import TEXTS

TASKS = 8
"""Number of tasks that a preview assumes: it does not know the number of cores of the run."""


@dataclass(frozen=True, kw_only=True)
class TableFacts:
    """Facts about a table, and about the part of it that is due."""

    format: str
    files: int
    keys: int
    rows: int
    bytes: int
    """stored bytes of the parts of files that hold rows of keys to be trained"""
    exchange: bool
    """whether rows are exchanged between tasks"""
    why: str
    """the reason for the exchange or against it, as a sentence"""
    largest_key: str
    """the key with the most rows, of those to be trained"""
    largest_rows: int
    memory: int
    """bytes of memory that a worker may need for this key"""
    one_core: int
    """number of files that only one core can read: compressed texts, and texts in wide encodings"""


def facts(layout: TableLayout, due: pa.Array, costs: np.ndarray) -> TableFacts:
    """Describe a table.

    Parameters
    ----------
    layout
        The table.
    due
        The keys to be trained, at least one.
    costs
        Shape (due keys,): the cost of each of these keys.
    """
    tasks = min(TASKS, len(due))
    placed = place(layout, due, costs, tasks, tasks)
    rows = layout.rows[pc.index_in(due, value_set=layout.keys).to_numpy()]
    largest = int(rows.argmax())
    names = layout.files.table["name"].to_pylist()
    text = layout.scan.kind in (*TEXTS, "json")
    pieces = pc.list_value_length(layout.files.table["pieces"]).to_numpy()
    one = sum(1 for name in names if compression(name)[0] is not None) if text else 0
    if placed.readers:
        why = "the same parts of the files have rows for several tasks, and each would have to read them"
        if len(placed.piece) == 1:
            why = "all rows lie in one part of a file, which each task would have to read"
    elif (len(pieces) and int(pieces.sum()) == 1) or tasks == 1:
        why = "one task reads all of it"
    else:
        times = placed.read_bytes / placed.bytes if placed.bytes else 1.0
        why = f"the rows of a key lie together: each part of a file is read {times:.1f} times by the tasks that need it"
    return TableFacts(
        format=layout.scan.kind,
        files=len(names),
        keys=len(layout.keys),
        rows=int(layout.rows.sum()),
        bytes=placed.bytes,
        exchange=bool(placed.readers),
        why=why,
        largest_key=str(due[largest].as_py()),
        largest_rows=int(rows[largest]),
        memory=int(rows[largest] * row_width(layout) * FIT_MEMORY),
        one_core=one,
    )


def row_width(layout: TableLayout) -> float:
    """Estimate the bytes of a row in memory: numbers by their width, texts by the bytes of a row in the file."""
    stored = float(pc.sum(layout.files.table["size"]).as_py()) / max(1, int(layout.rows.sum()))
    wide, texts = 0.0, 0
    for field in layout.scan.schema:
        if pt.is_primitive(field.type) or pt.is_decimal(field.type):
            wide += field.type.bit_width / 8
        else:
            texts += 1
    return wide + (stored + 8 * texts if texts else 0.0)
