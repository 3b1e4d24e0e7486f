"""What everyone fits: bytes to a frame to a fitted estimator to bytes, as a careful user would write it by hand."""

from __future__ import annotations

import gzip
import importlib
import io
from typing import Any

import joblib
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq


def build(spec: dict[str, Any]) -> Any:
    """An unfitted estimator."""
    module, _, name = spec["_target_"].rpartition(".")
    return getattr(importlib.import_module(module), name)(**{k: v for k, v in spec.items() if k != "_target_"})


def parse_pandas(name: str, data: Any, **options: Any) -> pd.DataFrame:
    """As everyone does it."""
    if name.endswith(".parquet"):
        return pd.read_parquet(io.BytesIO(data))
    return pd.read_csv(io.BytesIO(gzip.decompress(data)), **options)


def parse_arrow(name: str, data: Any) -> pd.DataFrame:
    """The fastest strict parser that we know of."""
    if name.endswith(".parquet"):
        return pq.read_table(pa.BufferReader(data), use_threads=False).to_pandas(use_threads=False)
    read = pcsv.ReadOptions(use_threads=False)
    return pcsv.read_csv(pa.BufferReader(gzip.decompress(data)), read_options=read).to_pandas(use_threads=False)


def fit(frame: pd.DataFrame, columns: list[str], spec: dict[str, Any]) -> Any:
    """A fitted estimator."""
    return build(spec).fit(frame[columns], frame["y"])


def dump(estimator: Any) -> bytes:
    """As scikit-learn's documentation has it."""
    buffer = io.BytesIO()
    joblib.dump(estimator, buffer)
    return buffer.getvalue()
