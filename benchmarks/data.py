"""Seeded data sets: what is fitted, on how many rows, in which format. The same seed gives the same bytes."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

LINEAR: dict[str, Any] = {"_target_": "sklearn.linear_model.LinearRegression"}
FOREST: dict[str, Any] = {
    "_target_": "sklearn.ensemble.RandomForestRegressor",
    "n_estimators": 60,
    "min_samples_leaf": 5,
    "n_jobs": 1,
    "random_state": 0,
}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One data set and the estimator that is fitted on each partition of it."""

    name: str
    partitions: int
    rows: int
    """per partition; of the largest one, with ``zipf``"""
    features: int = 1
    format: str = "csv.gz"
    """csv.gz or parquet"""
    zipf: float | None = None
    """exponent of the sizes by rank; None: all are equal"""
    estimator: dict[str, Any] = field(default_factory=lambda: dict(LINEAR))
    slope: float = 2.5
    note: str = ""

    @property
    def columns(self) -> list[str]:
        """The names of the features."""
        return [f"x{number}" for number in range(1, self.features + 1)]

    def key(self, number: int) -> str:
        """The key of a partition."""
        return f"p{number:06d}"

    def object_name(self, number: int) -> str:
        """The object of a partition."""
        return f"{self.key(number)}.{self.format}"

    def sizes(self) -> np.ndarray:
        """Rows of each partition, in an order that says nothing about size."""
        if self.zipf is None:
            return np.full(self.partitions, self.rows)
        ranked = np.maximum(10, (self.rows / np.arange(1, self.partitions + 1) ** self.zipf).astype(int))
        order: np.ndarray = np.random.default_rng(7).permutation(ranked)
        return order

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for a process of its own."""
        return asdict(self)


SHAPES: dict[str, Shape] = {
    shape.name: shape
    for shape in (
        Shape(name="default", partitions=400, rows=2_000, note="400 gzip CSV partitions of 2,000 rows, two columns"),
        Shape(name="rows1000", partitions=400, rows=1_000, note="1,000 rows"),
        Shape(name="wide", partitions=60, rows=2_000, features=50, note="50 columns"),
        Shape(name="parquet", partitions=400, rows=2_000, format="parquet", note="parquet instead of CSV"),
        Shape(name="rows20000", partitions=80, rows=20_000, note="20,000 rows"),
        Shape(name="forest", partitions=40, rows=2_000, features=4, estimator=FOREST, note="RandomForest, slow fits"),
        Shape(name="zipf", partitions=200, rows=100_000, zipf=1.1, note="sizes after Zipf(1.1)"),
    )
}


def table(shape: Shape, number: int, rows: int) -> pa.Table:
    """The rows of one partition: a linear relation, another slope for each, and noise."""
    random = np.random.default_rng([20261123, number])
    X = random.normal(size=(rows, shape.features))
    y = X @ np.linspace(shape.slope, 1.0, shape.features) + number / 1000 + random.normal(size=rows)
    columns = {name: X[:, at] for at, name in enumerate(shape.columns)}
    return pa.table({**columns, "y": y})


def encode(rows: pa.Table, form: str) -> bytes:
    """The object of a partition."""
    sink = io.BytesIO()
    if form == "parquet":
        pq.write_table(rows, sink)
        return sink.getvalue()
    pcsv.write_csv(rows, sink)
    return gzip.compress(sink.getvalue(), 6, mtime=0)


def objects(shape: Shape) -> list[tuple[str, bytes]]:
    """Every object of a data set: its name and its bytes."""
    return [
        (shape.object_name(number), encode(table(shape, number, int(rows)), shape.format))
        for number, rows in enumerate(shape.sizes())
    ]


def upload(shape: Shape, put: Callable[[str, bytes], None]) -> dict[str, int]:
    """Put every object; returns the size of each by name."""
    sizes = {}
    for name, data in objects(shape):
        put(name, data)
        sizes[name] = len(data)
    return sizes
