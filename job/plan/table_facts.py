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
"""So many tasks are assumed: a plan does not know how many cores will train."""


@dataclass(frozen=True, kw_only=True)
class TableFacts:
    """A table, and the part of it that is due."""

    format: str
    files: int
    keys: int
    rows: int
    bytes: int
    """stored bytes of the parts of files that hold rows of keys to be trained"""
    exchange: bool
    """rows are handed on between tasks"""
    why: str
    """why they are or are not, in a sentence"""
    largest_key: str
    """of those to be trained"""
    largest_rows: int
    memory: int
    """bytes that a worker may need for it"""
    one_core: int
    """compressed texts, and texts in wide encodings: each is read by one core"""


def facts(layout: TableLayout, due: pa.Array, costs: np.ndarray) -> TableFacts:
    """Describe a table.

    Parameters
    ----------
    layout
        The table.
    due
        The keys to be trained, at least one.
    costs
        Of each of them.
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
        why = "the rows of a key lie in many parts of the files, which each task would have to read"
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
    """Bytes of a row in memory, about: numbers by their width, texts by what a row takes in its file."""
    stored = float(pc.sum(layout.files.table["size"]).as_py()) / max(1, int(layout.rows.sum()))
    wide, texts = 0.0, 0
    for field in layout.scan.schema:
        if pt.is_primitive(field.type) or pt.is_decimal(field.type):
            wide += field.type.bit_width / 8
        else:
            texts += 1
    return wide + (stored + 8 * texts if texts else 0.0)
