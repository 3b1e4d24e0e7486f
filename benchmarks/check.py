"""Are the models right? Every contender's models against single-process scikit-learn."""

from __future__ import annotations

import io
from typing import Any

import joblib
import numpy as np

from benchmarks import data, fitting, server


def models(here: server.Server, prefix: str) -> dict[str, Any]:
    """The models below a prefix, by key: ``<key>.joblib`` of the peers, ``models/<key>/<digest>.joblib`` of the job."""
    client = server.client(here)
    found = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=server.BUCKET, Prefix=prefix):
        for each in page.get("Contents", []):
            name = each["Key"][len(prefix) :]
            if name.endswith(".joblib"):
                key = name.removesuffix(".joblib") if "/" not in name else name.split("/")[-2]
                body = client.get_object(Bucket=server.BUCKET, Key=each["Key"])["Body"].read()
                found[key] = joblib.load(io.BytesIO(body))
    return found


def reference(shape: data.Shape) -> dict[str, np.ndarray]:
    """What one process with scikit-learn says: coefficients, or predictions where there are none."""
    found = {}
    for number, (name, blob) in enumerate(data.objects(shape)):
        # With pandas' default the last digit of a number read from text may differ; pyarrow always rounds exactly.
        frame = fitting.parse_pandas(name, blob, float_precision="round_trip")
        found[shape.key(number)] = says(fitting.fit(frame, shape.columns, shape.estimator), shape)
    return found


def says(model: Any, shape: data.Shape) -> np.ndarray:
    """Coefficients and intercept, or predictions on a grid."""
    if hasattr(model, "coef_"):
        return np.append(model.coef_, model.intercept_)
    grid = np.linspace(-2, 2, 41)[:, None] * np.ones(shape.features)
    import pandas as pd

    answer: np.ndarray = model.predict(pd.DataFrame(grid, columns=shape.columns))
    return answer


def compare(here: server.Server, prefix: str, shape: data.Shape, expected: dict[str, np.ndarray]) -> dict[str, Any]:
    """How many models are there, and how far the worst is from the reference."""
    found = models(here, prefix)
    missing = sorted(expected.keys() - found.keys())
    worst = max((float(np.max(np.abs(says(found[key], shape) - expected[key]))) for key in found), default=float("nan"))
    equal = sum(bool(np.array_equal(says(found[key], shape), expected[key])) for key in found if key in expected)
    return {"models": len(found), "missing": len(missing), "bit_equal": equal, "largest_difference": worst}
