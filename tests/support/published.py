"""Small published sets, made with the package's own parts: what the tests of the reading side start from."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import joblib
import numpy as np
from sklearn.linear_model import LinearRegression

from job.fit import artifact
from job.keys import model_name
from job.registry import index
from job.store import Store


def line(slope: float) -> LinearRegression:
    """A fitted straight line through the origin."""
    x = np.array([[0.0], [1.0], [2.0]])
    return LinearRegression().fit(x, slope * x[:, 0])


def slope(model: Any) -> float:
    """The line's slope, to tell models apart."""
    return round(float(model.coef_[0]), 6)


def dumped(estimator: Any) -> bytes:
    """An estimator as the bytes of a model file."""
    sink = io.BytesIO()
    joblib.dump(estimator, sink)
    return sink.getvalue()


def at(minute: int) -> datetime:
    """A moment of listing."""
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)


def put(store: Store, key: str, data: bytes, **columns: Any) -> dict[str, Any]:
    """Upload a model file and return its row."""
    import hashlib

    digest = hashlib.sha256(data).hexdigest()
    store.ensure(model_name(key, digest), data)
    row = {"key": key, "state": "live", "digest": digest, "size": len(data), "rows": 3, "metrics": '{"r2": 1.0}'}
    row |= {"data": digest, "versions": json.dumps(artifact.versions()), "seconds": 0.1}
    return row | columns


def publish(store: Store, models: Mapping[str, Any], *, minute: int = 1, run: str | None = None, **columns: Any) -> int:
    """Upload estimators and release them; the version that has them."""
    rows = [put(store, key, dumped(model), listed_at=at(minute), **columns) for key, model in models.items()]
    released = index.Index(store).release(index.changes(rows), run=run or f"run-{minute}")
    assert released.version is not None
    return released.version
