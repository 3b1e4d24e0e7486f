"""Listings of a store, as selection gets them."""

from __future__ import annotations

import pyarrow as pa


def listing(*names: str) -> pa.Table:
    return pa.table(
        {
            "name": pa.array(names, pa.string()),
            "size": pa.array(range(10, 10 + len(names)), pa.int64()),
            "etag": pa.array([f"e{n}" for n in range(len(names))]),
            "modified": pa.array([0] * len(names), pa.timestamp("us", "UTC")),
        }
    )
