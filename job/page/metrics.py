"""Metrics of many models as columns of numbers, and whether higher values are better. Pure."""

from __future__ import annotations

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from job.errors import ConfigurationError

_SLICE = 65_536
"""Number of rows that are converted to Python objects at a time."""
MOST = 8
"""Number of metrics that a page shows: the first ones, in the order of the models."""
_ERRORS = re.compile(
    r"(^|[^a-z])(mae|mse|rmse|mape|smape|wape|mase|error|errors|loss|deviance|pinball|brier)($|[^a-z])"
)

Numbers = np.ndarray


def columns(table: pa.Table, *, scored: bool = False) -> dict[str, Numbers]:
    """For each metric a column of float64, with one number for each row; NaN if a row does not have the metric.

    Parameters
    ----------
    table
        Has a column ``metrics`` of JSON objects. A column ``skill`` of numbers counts as the first metric.
    scored
        Whether the metrics are errors of predictions: then ``n``, the number of rows, is none of them.
    """
    rows = table.num_rows
    found: dict[str, Numbers] = {}
    if "skill" in table.column_names and table["skill"].null_count < rows:
        found["skill"] = table["skill"].cast(pa.float64()).to_numpy().astype(float)
    texts = pc.fill_null(table["metrics"], "{}")
    for begin in range(0, rows, _SLICE):
        part = texts.slice(begin, _SLICE)
        for name, numbers in _parsed(part).items():
            if scored and name == "n":
                continue
            column = found.get(name)
            if column is None:
                if len(found) >= MOST:
                    continue
                column = found[name] = np.full(rows, np.nan)
            if column is not None and name != "skill":
                column[begin : begin + len(part)] = numbers
    return found


def _parsed(texts: pa.ChunkedArray) -> dict[str, Numbers]:
    lines = texts.to_pylist()
    body = ("\n".join(lines) + "\n").encode()
    try:
        options = pj.ReadOptions(use_threads=False, block_size=len(body) + 1)
        table = pj.read_json(pa.BufferReader(body), read_options=options)
        plain = all(pa.types.is_integer(each.type) or pa.types.is_floating(each.type) for each in table.schema)
        if table.num_rows == len(lines) and plain:
            return {name: table[name].cast(pa.float64()).to_numpy() for name in table.column_names}
    except pa.ArrowInvalid:
        pass
    # NaN, a name that comes twice, or a value that is no number: a user's function may have written it.
    found: dict[str, Numbers] = {}
    for at, text in enumerate(lines):
        for name, value in json.loads(text).items():
            if isinstance(value, int | float):
                found.setdefault(name, np.full(len(lines), np.nan))[at] = value
    return found


def higher_is_better(name: str) -> bool:
    """Whether a higher value is better: not for errors (``rmse``, ``loss``), unless the name begins with ``neg_``."""
    return name.startswith("neg_") or not _ERRORS.search(name.lower())


def worst_first(name: str, values: Numbers) -> Numbers:
    """Numbers of the rows with a finite value, the worst first; equal rows keep their order."""
    there = np.flatnonzero(np.isfinite(values))
    chosen = values[there] if higher_is_better(name) else -values[there]
    order: Numbers = there[np.argsort(chosen, kind="stable")]
    return order


def first(columns: dict[str, Numbers], wanted: str | None) -> str:
    """The metric by which models are compared.

    Raises
    ------
    ConfigurationError
        No model has the metric ``wanted``.
    """
    if wanted is None:
        return next((name for name in columns if name != "skill"), "skill")
    if wanted not in columns:
        raise ConfigurationError(f"no model has a metric {wanted!r}", hint=f"There are: {', '.join(columns)}.")
    return wanted
