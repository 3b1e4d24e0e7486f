"""Layouts of tables from the numbers of rows of their keys, without a file."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from job.plan.key_counts import FILES
from job.plan.table_files import TableFiles
from job.plan.table_layout import TableLayout
from job.reader.spec import ReadSpec
from job.reader.table_scan import TableScan


def layout(rows: np.ndarray) -> TableLayout:
    """Keys (rows) by pieces (columns): how many rows of each lie in each; every piece is a file of 1,000 bytes."""
    keys, pieces = rows.shape
    names = [f"k={key:04d}" for key in range(keys)]
    files = [
        {
            "name": f"p{piece:03d}",
            "size": 1000,
            "etag": "e",
            "given": None,
            "schema": b"",
            "pieces": [{"part": 0, "begin": 0, "end": 0, "line": 1, "rows": int(rows[:, piece].sum()), "bytes": 1000}],
            "keys": [
                {"key": names[key], "piece": 0, "rows": int(rows[key, piece])}
                for key in range(keys)
                if rows[key, piece]
            ],
        }
        for piece in range(pieces)
    ]
    recorded = TableFiles(table=pa.Table.from_pylist(files, schema=FILES))
    entries = recorded.entries["key"].to_pylist()
    return TableLayout(
        scan=TableScan(kind="parquet", key=("k",), schema=pa.schema([]), spec=ReadSpec()),
        files=recorded,
        keys=pa.array(names),
        number=np.array([names.index(each) for each in entries], np.int32),
        rows=rows.sum(axis=1),
    )
