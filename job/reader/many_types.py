"""Types of a csv column for many keys at once: the types that `job.reader.text_types` gives key by key. Pure.

A call of Arrow for a few hundred texts costs more than the conversion itself. So what is plainly numbers is converted
for all keys together. Keys for which this does not settle the type stay `OPEN`: one bad cell costs its own key, and at
most some neighbours, the fast way, and nobody the right type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from job.reader.exact import EXACT
from job.reader.key_types import cast_texts
from job.reader.text_types import forms, missing_numbers

OPEN, TEXT, NULL, INTEGER, FLOAT, GIVEN = range(6)
"""What is known of the column in the rows of a key: nothing, its type, or that it has a type already."""

_DEPTH = 4
"""How often keys are halved to keep those with texts of another type apart."""


@dataclass(frozen=True, slots=True)
class ManyTypes:
    """A column of several keys."""

    kinds: np.ndarray
    """shape (keys,), uint8: what is known for each key"""
    columns: Mapping[int, pa.Array]
    """for each kind that occurs the column with this type; its rows of keys of other kinds mean nothing"""


def given(column: pa.Array, keys: int) -> ManyTypes:
    """A column that keeps its type."""
    return ManyTypes(np.full(keys, GIVEN, np.uint8), {GIVEN: column})


def declared(column: pa.StringArray, kind: pa.DataType, bounds: np.ndarray, decimal: str) -> ManyTypes:
    """A column of texts whose type ``kind`` is declared. A key with a bad text, and some neighbours, are `OPEN`.

    Parameters
    ----------
    bounds
        As in `of_numbers`.
    """

    def convert(texts: pa.StringArray) -> pa.Array | None:
        try:
            return cast_texts(texts, kind, decimal)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return None

    values, known = _converted(column, bounds, np.ones(len(bounds) - 1, bool), kind, convert)
    return _made(np.where(known, GIVEN, OPEN).astype(np.uint8), {GIVEN: values, OPEN: column})


def of_numbers(column: pa.Array, bounds: np.ndarray) -> ManyTypes:
    """The kinds of a column that was read as int64 or float64, because all texts of the table allow it.

    Parameters
    ----------
    column
        The numbers.
    bounds
        Shape (keys + 1,): the first row of each key, and the number of all rows. Each key has at least one row.
    """
    kinds = np.full(len(bounds) - 1, INTEGER if pt.is_integer(column.type) else FLOAT, np.uint8)
    if column.null_count:
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        kinds[~np.logical_or.reduceat(valid, bounds[:-1])] = NULL
    return _made(kinds, {INTEGER: column, FLOAT: column})


def of_texts(column: pa.StringArray, bounds: np.ndarray, *, nulls: Sequence[str], decimal: str) -> ManyTypes:
    """The kinds of a column of texts.

    Parameters
    ----------
    column
        The texts; those that mean 'missing' are null already.
    bounds
        As in `of_numbers`.
    nulls, decimal
        As in `job.reader.text_types.typed`.
    """
    kinds = np.full(len(bounds) - 1, NULL, np.uint8)
    valid = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    first = np.searchsorted(valid, bounds)
    some = np.flatnonzero(first[1:] > first[:-1])
    heads = column.take(pa.array(valid[first[some]])).to_pylist()
    possible = forms(decimal).possible.fullmatch
    kinds[some] = [OPEN if possible(head) else TEXT for head in heads]
    if not (kinds == OPEN).any():
        return _made(kinds, {TEXT: column})
    numbers, known = _converted(column, bounds, kinds == OPEN, pa.float64(), lambda texts: _numbers(texts, decimal))
    values = (numbers.fill_null(0.0) if numbers.null_count else numbers).to_numpy(zero_copy_only=False)
    # NaN, infinite, or so large that it may be a whole number that float64 cannot hold: `typed` decides.
    good = (values > -EXACT) & (values < EXACT)
    if unwanted := missing_numbers(tuple(nulls)):
        good &= ~np.isin(values, unwanted)
    known &= np.logical_and.reduceat(good, bounds[:-1])
    kinds[known] = FLOAT
    for key in _without_mark(column, bounds, known, dict(zip(some.tolist(), heads, strict=True)), decimal):
        kinds[key] = INTEGER
    found = {OPEN: column, TEXT: column, FLOAT: numbers}
    if (kinds == INTEGER).any():
        with np.errstate(invalid="ignore"):
            whole = values.astype(np.int64)
        found[INTEGER] = pa.array(whole, mask=numbers.is_null().to_numpy(zero_copy_only=False))
    return _made(kinds, found)


def _made(kinds: np.ndarray, columns: Mapping[int, pa.Array]) -> ManyTypes:
    present = np.unique(kinds).tolist()
    rows = len(next(iter(columns.values())))
    return ManyTypes(kinds, {kind: pa.nulls(rows) if kind == NULL else columns[kind] for kind in present})


def _converted(
    column: pa.StringArray,
    bounds: np.ndarray,
    wanted: np.ndarray,
    kind: pa.DataType,
    convert: Callable[[pa.StringArray], pa.Array | None],
) -> tuple[pa.Array, np.ndarray]:
    """The texts as values of a type, and which of the wanted keys have such values; other rows are null.

    ``convert`` returns None if a text has not the type.
    """
    known = np.zeros(len(wanted), bool)
    parts: list[pa.Array] = []

    def halve(low: int, high: int, depth: int) -> None:
        texts = column.slice(int(bounds[low]), int(bounds[high] - bounds[low]))
        values = convert(texts) if wanted[low:high].any() else None
        if values is not None:
            known[low:high] = wanted[low:high]
            parts.append(values)
        elif depth and high - low > 1 and wanted[low:high].any():
            middle = (low + high) // 2
            halve(low, middle, depth - 1)
            halve(middle, high, depth - 1)
        else:
            parts.append(pa.nulls(len(texts), kind))

    halve(0, len(wanted), _DEPTH)
    return (parts[0] if len(parts) == 1 else pa.concat_arrays(parts)), known


def _numbers(texts: pa.StringArray, decimal: str) -> pa.DoubleArray | None:
    if decimal != ".":
        if pc.any(pc.match_substring(texts, ".")).as_py():
            return None
        texts = pc.replace_substring(texts, decimal, ".")
    try:
        return texts.cast(pa.float64())
    except pa.ArrowInvalid:
        return None


def _without_mark(
    column: pa.StringArray, bounds: np.ndarray, known: np.ndarray, heads: Mapping[int, str], decimal: str
) -> list[int]:
    """The known keys whose texts are all whole numbers: numbers without a decimal point and without an exponent."""
    marks = np.zeros(256, bool)
    marks[list(f"{decimal}eE".encode())] = True
    _, offsets, data = column.buffers()
    at = np.frombuffer(offsets, np.int32)[column.offset + bounds]
    text = np.frombuffer(data, np.uint8)
    return [
        key
        for key in np.flatnonzero(known).tolist()
        if not any(mark in heads[key] for mark in (decimal, "e", "E")) and not marks[text[at[key] : at[key + 1]]].any()
    ]
