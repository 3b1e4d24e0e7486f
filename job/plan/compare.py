"""Compares the planned keys with the published rows, slice by slice. Pure.

The published table is as large as the plan. Of each slice only the values that the plan needs stay in memory.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job.arrow import digest_letters, whole
from job.reader.spec import VERSION as READING

INDEX_COLUMNS = ("key", "state", "data", "recipe", "environment", "content", "seconds", "gone_since", "reading")
"""Columns of the index that a plan needs."""

WHY = {
    "new": "not in the published set",
    "data": "an object was added, removed or replaced",
    "recipe": "the recipe, the reader's settings or the seed changed",
    "environment": "library versions changed (run.environment)",
    "reading": "the rules by which bytes become rows changed: read, and trained again where they concern it",
    "failed": "the last attempt failed",
    "unchanged": "data, recipe and environment are as recorded",
    "skipped": "skipped before, and nothing changed",
    "finished": "trained by a run that did not finish; taken over",
    "retrain": "named in run.retrain",
}
"""The reasons for the action of a key: code and text."""

CODE = {why: number for number, why in enumerate(WHY)}
"""A number for each reason, which takes less memory than text in a column of a million keys."""


@dataclass(frozen=True, kw_only=True)
class Fingerprints:
    """The fingerprints of a run, with which the published rows are compared."""

    recipe: str
    environment: str
    reading: int = READING


@dataclass(frozen=True, kw_only=True)
class Known:
    """The published state of each planned key, and of the other keys."""

    why: np.ndarray
    """shape (keys,): the number of the reason for each key, as in `CODE`"""
    seconds: np.ndarray
    """shape (keys,): seconds of the last fit; 0 if there was none"""
    content: pa.Array
    """for each key the digest of the published data, if equal data needs no new fit; else null"""
    reading: np.ndarray
    """shape (keys,): version of the reading rules of the published model, if ``content`` is not null; else 0"""
    absent: pa.Array
    """published keys that are not planned"""
    returned: pa.Array
    """planned keys that were marked gone"""
    published: int
    """number of keys in the index"""


def compare(keys: pa.Array, data: pa.Array, index: Iterable[pa.Table], fingerprints: Fingerprints) -> Known:
    """Compare the published rows with the planned keys.

    Parameters
    ----------
    keys, data
        The planned keys, sorted and unique, and the fingerprints of their data (`job.arrow.DIGEST`).
    index
        Slices of the published table, with `INDEX_COLUMNS`.
    fingerprints
        The fingerprints of this job's recipe and of the environment.
    """
    why = np.full(len(keys), CODE["new"], np.int8)
    seconds = np.zeros(len(keys), np.float32)
    place = np.full(len(keys), -1, np.int32)
    reading = np.zeros(len(keys), np.int8)
    contents, absent, returned = [], [], []
    published = reusable = 0
    for rows in index:
        published += rows.num_rows
        names = whole(rows["key"])
        low, high = _stretch(keys, names)
        at = pc.index_in(keys[low:high], value_set=names)
        mine, found = low + np.flatnonzero(at.is_valid()), at.drop_null()
        here = rows.take(found)
        due = _why(here, digest_letters(data.take(pa.array(mine))), fingerprints)
        why[mine] = due
        seconds[mine] = _array(pc.fill_null(here["seconds"], 0.0))
        # The digest of the content matters only if nothing but the data has changed: else the key is fitted anyway.
        # After a failure the data may be as it was before, with a new ETag: then what was made of it is good again.
        live = np.isin(due, (CODE["data"], CODE["reading"])) & _is(here, "state", "live")
        again = live | _is(here, "state", "stale")
        again &= _is(here, "recipe", fingerprints.recipe) & _is(here, "environment", fingerprints.environment)
        contents.append(here["content"].filter(pa.array(again)))
        reading[mine[again]] = _array(pc.fill_null(here["reading"], 1))[again]
        count = int(again.sum())
        place[mine[again]] = np.arange(reusable, reusable + count, dtype=np.int32)
        reusable += count
        planned = np.zeros(rows.num_rows, bool)
        planned[_array(found)] = True
        absent.append(rows["key"].filter(pa.array(~planned)))
        returned.append(rows["key"].filter(pa.array(planned & _array(pc.is_valid(rows["gone_since"])))))
    return Known(
        why=why,
        seconds=seconds,
        content=_joined(contents).take(pa.array(place, mask=place < 0)),
        reading=reading,
        absent=_joined(absent),
        returned=_joined(returned),
        published=published,
    )


def _stretch(keys: pa.Array, names: pa.Array) -> tuple[int, int]:
    """The range of the sorted ``keys`` that contains all of ``names`` that occur in ``keys``: first and end row.

    A release is written in the order of keys, so that a slice holds neighbouring keys. A search through all keys for
    each slice would take time that grows with the square of their number.
    """
    if not len(names):
        return 0, 0
    ends = pc.min_max(names)
    low = bisect_left(keys, ends["min"].as_py(), key=pa.StringScalar.as_py)
    return low, bisect_right(keys, ends["max"].as_py(), lo=low, key=pa.StringScalar.as_py)


def _why(rows: pa.Table, data: pa.Array, fingerprints: Fingerprints) -> np.ndarray:
    skipped = _is(rows, "state", "skipped")
    checks = {
        "failed": ~(_is(rows, "state", "live") | skipped),
        "data": ~_is(rows, "data", data),
        "recipe": ~_is(rows, "recipe", fingerprints.recipe),
        "environment": ~_is(rows, "environment", fingerprints.environment),
        "reading": ~(skipped | _is(rows, "reading", fingerprints.reading)),
        "skipped": skipped,
    }
    codes = [np.int8(CODE[each]) for each in checks]
    return np.select(list(checks.values()), codes, np.int8(CODE["unchanged"])).astype(np.int8)


def _is(rows: pa.Table, name: str, value: Any) -> np.ndarray:
    return _array(pc.fill_null(pc.equal(rows[name], value), False))


def _array(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    found: np.ndarray = (
        values.to_numpy() if isinstance(values, pa.ChunkedArray) else values.to_numpy(zero_copy_only=False)
    )
    return found


def _joined(parts: list[pa.ChunkedArray]) -> pa.Array:
    return whole(pa.chunked_array([chunk for part in parts for chunk in part.chunks], pa.string()))
