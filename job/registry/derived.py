"""Columns of the published table that are computed from others, for readers with other tools. Pure.

manyfit itself never reads them. They are computed whenever rows are written: an old row gets them when its file is
rewritten.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from job.arrow import whole
from job.keys import HIVE_NULL
from job.registry.row import ROW

SCORES = pa.field("scores", pa.map_(pa.string(), pa.float64()))
"""``metrics`` as a map: ``scores['r2']``"""
KEYS = pa.field("keys", pa.map_(pa.string(), pa.string()))
"""the parts of a key such as ``store=1/item=2`` as a map: ``keys['store']``; null for keys of another form"""

TABLE = ROW.append(SCORES).append(KEYS)
"""Schema of the files of the published table."""


def derived(rows: pa.Table) -> pa.Table:
    """Add the derived columns: rows with `ROW` become rows with `TABLE`."""
    return rows.append_column(SCORES, scores(rows.column("metrics"))).append_column(KEYS, parts(rows.column("key")))


def scores(metrics: pa.ChunkedArray) -> pa.Array:
    """JSON objects of numbers as an Arrow map; null for null."""
    given = pc.is_valid(metrics).to_numpy()
    names, values = _columns(pc.fill_null(metrics, "{}").to_pylist())
    here = ~np.isnan(values)
    offsets = pa.array(np.concatenate([[0], np.cumsum(here.sum(axis=1))]), pa.int32(), mask=np.append(~given, False))
    named = pa.array(np.broadcast_to(np.array(names, object), here.shape)[here], pa.string())
    return pa.MapArray.from_arrays(offsets, named, pa.array(values[here], pa.float64()))


def _columns(texts: list[str]) -> tuple[list[str], Any]:
    body = ("\n".join(texts) + "\n").encode()
    try:
        options = pj.ReadOptions(use_threads=False, block_size=len(body) + 1)
        table = pj.read_json(pa.BufferReader(body), read_options=options)
        kinds = [field.type for field in table.schema]
        if table.num_rows == len(texts) and all(
            pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in kinds
        ):
            values = [table.column(name).cast(pa.float64()).to_numpy() for name in table.column_names]
            return table.column_names, np.array(values).reshape(len(values), len(texts)).T
    except pa.ArrowInvalid:
        pass
    # A user's function may have written names twice, or values that are not numbers: one such row must not stop a run.
    found = [{name: each for name, each in json.loads(text).items() if isinstance(each, int | float)} for text in texts]
    names = sorted({name for row in found for name in row})
    return names, np.array([[row.get(name, np.nan) for name in names] for row in found], float).reshape(len(texts), -1)


def parts(keys: pa.ChunkedArray) -> pa.Array:
    """The parts of keys as an Arrow map; null for keys that do not consist of ``name=value`` parts only."""
    named = pc.match_substring_regex(keys, r"\A[^=/]+=[^/]*(/[^=/]+=[^/]*)*\z")
    places = whole(pc.if_else(named, pc.subtract(pc.cumulative_sum(named.cast(pa.int32())), 1), None))
    levels = whole(pc.split_pattern(keys.filter(named), "/"))
    # Each level is split at its first "=" only: the value may hold another one.
    halves = pc.split_pattern(levels.flatten(), "=", max_splits=1)
    names, values = (_unquoted(pc.list_element(halves, number)) for number in (0, 1))
    values = pc.if_else(pc.equal(values, HIVE_NULL), pa.scalar(None, pa.string()), values)
    return pa.MapArray.from_arrays(levels.offsets, names, values).take(places)


def _unquoted(texts: pa.Array) -> pa.Array:
    quoted = pc.match_substring(texts, "%")
    if not pc.any(quoted).as_py():
        return texts
    return pa.array([unquote(text) for text in texts.to_pylist()], pa.string())
