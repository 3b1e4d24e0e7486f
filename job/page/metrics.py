"""Metrics of many models as columns of numbers, and which way is better. Pure."""

from __future__ import annotations

import json
import re

import numpy as np
import pyarrow as pa

_SLICE = 16_384
"""Rows that are Python objects at a time."""
MOST = 8
"""Metrics that a page shows; the first ones of the models' own order."""
_ERRORS = re.compile(r"(^|[^a-z])(mae|mse|rmse|mape|smape|wape|mase|error|errors|loss|deviance|pinball|brier)($|[^a-z])")

Numbers = np.ndarray


def columns(table: pa.Table) -> dict[str, Numbers]:
    """Metric name to one number a row, NaN where a row has none.

    Parameters
    ----------
    table
        Has a column ``metrics`` of JSON objects; a column ``skill`` of numbers counts as a metric, and as the first.
    """
    rows = table.num_rows
    found: dict[str, Numbers] = {}
    if "skill" in table.column_names and table["skill"].null_count < rows:
        found["skill"] = table["skill"].cast(pa.float64()).to_numpy().astype(float)
    texts = table["metrics"]
    for begin in range(0, rows, _SLICE):
        for at, text in enumerate(texts.slice(begin, _SLICE).to_pylist(), begin):
            if text is None:
                continue
            for name, value in json.loads(text).items():
                if isinstance(value, int | float):
                    column = found.get(name)
                    if column is None:
                        if len(found) >= MOST:
                            continue
                        column = found[name] = np.full(rows, np.nan)
                    column[at] = value
    return found


def higher_is_better(name: str) -> bool:
    """Scorers of scikit-learn say more for better (``neg_...``); a function's own ``rmse`` or ``loss`` says less."""
    return name.startswith("neg_") or not _ERRORS.search(name.lower())


def worst_first(name: str, values: Numbers) -> Numbers:
    """Row numbers with a finite value, the worst first; rows that are equal keep their order."""
    there = np.flatnonzero(np.isfinite(values))
    chosen = values[there] if higher_is_better(name) else -values[there]
    order: Numbers = there[np.argsort(chosen, kind="stable")]
    return order
