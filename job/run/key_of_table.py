"""One key of a table, for ``manyfit plan --key`` and for samples of a scoring: the files that hold it, its rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job.arrow import whole
from job.plan.table_layout import TableLayout
from job.reader.key_text import row_keys
from job.reader.table_scan import TEXTS, as_texts
from job.run.task_lists import pieces_of
from job.store import Store
from job.worker.exchange import file_names, piece_rows
from job.worker.payload import TableRows


@dataclass(frozen=True, kw_only=True)
class Held:
    """A file that holds rows of the key."""

    name: str
    size: int
    """bytes of the whole file"""
    rows: int
    """number of rows of the key in this file"""


def files_of(layout: TableLayout, key: str) -> list[Held]:
    """The files that hold rows of a key, in the order of the table's files."""
    at = _entries(layout, key)
    piece = layout.files.entries["piece"].to_numpy()[at]
    file = layout.files.pieces["file"].to_numpy()[piece]
    rows = np.bincount(file, weights=layout.files.entries["rows"].to_numpy()[at])
    held = np.unique(file)
    told = layout.files.table.select(["name", "size"]).take(pa.array(held)).to_pylist()
    return [Held(**row, rows=int(rows[number])) for row, number in zip(told, held.tolist(), strict=True)]


def rows_of(source: Store, layout: TableLayout, key: str, *, most: int | None = None) -> tuple[pa.Table, pa.Table]:
    """Read the rows of one key. Only those pieces of files are read that hold rows of the key.

    Parameters
    ----------
    source
        The store that holds the table.
    layout
        The files and pieces of the table.
    key
        One of ``layout.keys``.
    most
        Number of pieces to read at most; None: all.

    Returns
    -------
    pyarrow.Table
        The rows as a fit gets them, except that ``input.times`` and ``input.order_by`` are not applied.
    pyarrow.Table
        For text files, the same rows as text, before conversion to types; for other formats a table without columns.

    Raises
    ------
    InputError
        A file was replaced since it was listed, is damaged, or cannot be reached.
    PartitionError
        A value does not have the type that the schema demands.
    """
    scan = as_texts(layout.scan)
    piece = np.unique(layout.files.entries["piece"].to_numpy()[_entries(layout, key)])[:most]
    pieces = pieces_of(layout, piece, np.zeros(len(piece), np.int32))
    held = []
    for table in piece_rows(source, scan, pieces, pieces):
        codes, keys = row_keys({name: whole(table.column(name)) for name in scan.key}, table.num_rows)
        held.append(table.filter(pa.array(codes == pc.index(keys, key).as_py())))
    found = pa.concat_tables(held).drop_columns(list(scan.dropped))
    texts = [name for name in found.column_names if scan.kind in TEXTS and name not in scan.levels]
    typed = TableRows([found], "", scan, tuple(file_names(pieces))).rows(scan.spec)
    return typed, found.select(texts)


def _entries(layout: TableLayout, key: str) -> np.ndarray:
    place = pc.index(layout.keys, key).as_py()
    found: np.ndarray = np.flatnonzero(layout.number == place)
    return found
