"""What the contenders share: names of rows and models, one key's predictions, and a file of them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import joblib
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from benchmarks.workload import Workload

NAMES = [f"x{number}" for number in range(5)]
NEW, MODELS, OUT = "new/", "models/models/", "out/"
"""Folders below the root: rows to score, model files by key, predictions."""


def columns(work: Workload) -> bool:
    """Whether the rows lie in a table with a column ``key``; else each key has a file."""
    return bool(work.options["layout"] == "columns")


def data_files(work: Workload) -> list[str]:
    """The files of rows, in the order of names."""
    return [f"{work.folder}/{NEW}{name}" for name in work.names]


def model_folder(work: Workload, key: str) -> str:
    """The name of the folder with a key's model, below the root."""
    return f"{MODELS}key={key}" if columns(work) else f"{MODELS}{key}"


def model_of(work: Workload, key: str) -> Any:
    """Load a key's model from the folder, as everybody does it."""
    return joblib.load(next(Path(f"{work.folder}/{model_folder(work, key)}").iterdir()))


def parse(form: str, data: bytes) -> pa.Table:
    """Bytes to rows, by the fastest strict parser."""
    if form == "parquet":
        return pq.read_table(pa.BufferReader(data), use_threads=False)
    return pcsv.read_csv(pa.BufferReader(data), read_options=pcsv.ReadOptions(use_threads=False))


def predicted(key: str, rows: pa.Table, model: Any) -> pa.Table:
    """The rows with their predictions and their key."""
    values = model.predict(rows.select(NAMES).to_pandas())
    rows = rows.append_column("prediction", pa.array(values))
    names = pa.array([key] * rows.num_rows).dictionary_encode()
    return rows.append_column("_key", names)


def encoded(tables: Iterable[pa.Table]) -> tuple[int, bytes]:
    """The number of rows, and one parquet file of all tables."""
    whole = pa.concat_tables(tables).unify_dictionaries()
    sink = io.BytesIO()
    pq.write_table(whole, sink, compression="zstd", use_dictionary=["_key"])
    return whole.num_rows, sink.getvalue()


def by_key(table: pa.Table) -> Iterable[tuple[str, pa.Table]]:
    """Each key of a table with its rows."""
    table = table.sort_by("key")
    counts = table["key"].value_counts()
    begin = 0
    for key, count in zip(counts.field(0).to_pylist(), counts.field(1).to_pylist(), strict=True):
        yield key, table.slice(begin, count).drop_columns(["key"])
        begin += count


def stored_rows(folder: str) -> int:
    """Rows in the parquet files of a folder."""
    return sum(pq.read_metadata(path).num_rows for path in Path(folder).rglob("*.parquet"))


def router(root: str, table: bool) -> Callable[[Any], Any]:
    """A function of a frame with a column ``key``: the prediction of each row by the model of its key."""
    import numpy as np

    def predict(frame: Any) -> Any:
        found = np.empty(len(frame))
        for key, places in frame.groupby("key", sort=False).indices.items():
            folder = Path(f"{root}/{MODELS}{'key=' if table else ''}{key}")
            model = joblib.load(next(folder.iterdir()))
            found[places] = model.predict(frame.iloc[places][NAMES])
        return found

    return predict
