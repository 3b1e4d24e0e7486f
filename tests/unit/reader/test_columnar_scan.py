"""Parquet and Arrow files of a table whose portions are loaded by several threads at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROWS = 30_000
LOAD = """
import sys
from concurrent.futures import ThreadPoolExecutor
from job.reader.spec import ReadSpec
from job.reader.table_scan import open_file
from job.store.opening import open_store
from job.store.stored_file import StoredFile

folder, name, kind, rows, times = sys.argv[1:]
store = open_store(folder)
(row,) = [row for row in store.list().to_pylist() if row["name"] == name]
with ThreadPoolExecutor(8) as pool:
    for _ in range(int(times)):
        file = open_file(name, StoredFile(store, name, row["size"], row["etag"]), kind, ReadSpec())
        portions = list(file.portions(["k"]))
        found = list(pool.map(lambda portion: portion.load()[1]["k"].to_pylist(), portions))
        assert sum(found, []) == [str(at % 7) for at in range(int(rows))]
"""


@pytest.mark.parametrize(("kind", "portions", "times"), [("parquet", 150, 5), ("arrow", 5, 40)])
def test_threads_that_load_portions_of_one_file_at_once_get_the_rows_of_each(
    kind: str, portions: int, times: int, tmp_path: Path
) -> None:
    # In a process of its own: two threads with one reader of Arrow's end the process, not the test.
    keys = pa.array(np.arange(ROWS) % 7).cast(pa.string()).dictionary_encode()
    table = pa.table({"k": keys, "x": np.arange(float(ROWS))})
    if kind == "parquet":
        pq.write_table(table, tmp_path / "a.parquet", row_group_size=ROWS // portions)
    else:
        with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as file:
            file.write_table(table, max_chunksize=ROWS // portions)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path), f"a.{kind}", kind, str(ROWS), str(times)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
