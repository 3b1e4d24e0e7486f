"""Infers the types of csv columns by the rule of ``pandas.read_csv``. Pure.

Users predict on frames that ``pandas.read_csv`` made, so a model must have been fitted on the same values: whole
numbers, fractions, truth values; all else is text as it stands in the file, dates and codes too. The rule is that of
``read_csv(float_precision="round_trip", keep_default_na=False, na_values=<null_values>, low_memory=False)``, applied to
the whole column at once. What is plainly numbers or plainly text is decided here, fast; for anything else (blanks
around numbers, plus signs, truth values, ``inf``, numbers beyond 64 bits) pandas itself is asked, with each different
text once.

There are two exceptions. A whole number that pandas would round, because missing values or fractions in its column make
it a float, is an error. And missing values stay missing in a column of uint64, where pandas makes empty texts of them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from job.reader.exact import EXACT, inexact, refuse_rounded

_SAMPLE = 4
_WHY = "gaps or fractions in its column make it one"
_WHOLE = re.compile(r"-?\d+")
_ANY_WHOLE = re.compile(r"\s*[+-]?\d+\s*")


def null_texts(nulls: Iterable[str]) -> list[str]:
    """``nulls`` with other spellings of its whole numbers: for pandas, ``-1`` in ``na_values`` means ``-1.0``, too."""
    found = list(nulls)
    for number in map(_number, nulls):
        if number is not None and np.isfinite(number) and number == int(number):
            found += [f"{int(number)}", f"{int(number)}.0"]
    return list(dict.fromkeys(found))


def typed(texts: Any, name: str, *, nulls: Sequence[str] = ("",), decimal: str = ".") -> pa.ChunkedArray:
    """Convert one column of texts to the type that ``pandas.read_csv`` would give it.

    Parameters
    ----------
    texts
        A string array (chunked or not): all rows of one partition; the texts of `null_texts` are null already.
    name
        The column's name, for messages.
    nulls
        ``input.format.null_values``. A number in it means 'missing' in every spelling.
    decimal
        The decimal point.

    Returns
    -------
    pyarrow.ChunkedArray
        A column of type null (every value is missing), int64, uint64, float64 or bool, or the unchanged texts.

    Raises
    ------
    PartitionError
        ``inexact_number``: a whole number that float64 cannot hold, in a column that gaps or fractions make float64.
    """
    column = texts if isinstance(texts, pa.ChunkedArray) else pa.chunked_array([texts])
    if column.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column))])
    sample = _sample(column)
    plain = forms(decimal)
    if any(not plain.possible.fullmatch(each) for each in sample):
        return column
    missing = missing_numbers(tuple(nulls))
    found = None
    if all(_WHOLE.fullmatch(each) for each in sample):
        found = _whole_numbers(column)
    elif any(plain.fraction.fullmatch(each) for each in sample):
        found = _fractions(column, decimal)
    if found is None:
        found = _by_pandas(column, name, decimal)
    if missing and pt.is_floating(found.type):
        found = pc.if_else(pc.is_in(found, value_set=pa.array(missing, pa.float64())), None, found)
    return numbers_with_gaps(found, name) if found.null_count else found


def numbers_with_gaps(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """The column, of type null if every value is missing.

    Raises
    ------
    PartitionError
        ``inexact_number``: as `typed`, because of the gaps.
    """
    if column.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column))])
    if pt.is_integer(column.type):
        refuse_rounded(column, name, _WHY)
    return column


def _whole_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """The column as int64, or None if pandas must decide."""
    try:
        found = column.cast(pa.int64())
    except pa.ArrowInvalid:
        return None
    # Arrow parses 0x1F as a number, pandas does not.
    return None if any(b"x" in text or b"X" in text for text in map(_bytes, column.chunks)) else found


def _fractions(column: pa.ChunkedArray, decimal: str) -> pa.ChunkedArray | None:
    """The column as float64, or None if pandas must decide. At least one value is no whole number."""
    if decimal != ".":
        if any(b"." in _bytes(chunk) for chunk in column.chunks):
            return None
        column = pc.replace_substring(column, decimal, ".")
    try:
        found = column.cast(pa.float64())
    except pa.ArrowInvalid:
        return None
    for chunk in found.chunks:
        values = (chunk.fill_null(0.0) if chunk.null_count else chunk).to_numpy(zero_copy_only=False)
        # NaN, infinite, or so large that it may be a whole number that float64 cannot hold.
        if len(values) and not (values.min() > -EXACT and values.max() < EXACT):
            return None
    return found


def _by_pandas(column: pa.ChunkedArray, name: str, decimal: str) -> pa.ChunkedArray:
    """Let pandas decide the type. Only the distinct texts matter, in the order of their first rows."""
    import pandas as pd  # takes long, and the driver of a run begins without it

    encoded = pa.chunked_array(pc.dictionary_encode(column)).unify_dictionaries()
    different = encoded.chunk(0).dictionary.to_pylist()
    missing = "\x01"
    while missing in different:
        missing += "\x01"
    lines = [*different, missing] if column.null_count else different
    text = "x\n" + "".join('"' + each.replace('"', '""') + '"\n' for each in lines)
    values = pd.read_csv(
        io.StringIO(text),
        sep="\x02" if decimal != "\x02" else "\x03",
        decimal=decimal,
        float_precision="round_trip",
        keep_default_na=False,
        na_values=[missing],
        low_memory=False,
        skip_blank_lines=False,
    )["x"].iloc[: len(different)]
    if pd.api.types.is_bool_dtype(values) or all(isinstance(each, bool) for each in values):
        kind = pa.bool_()
    elif pd.api.types.is_numeric_dtype(values):
        kind = pa.from_numpy_dtype(values.dtype)
    else:
        return column
    numbers = pa.array(values.tolist(), kind)
    found = pa.chunked_array([numbers.take(chunk.indices) for chunk in encoded.chunks], kind)
    if pt.is_floating(kind):
        for each, value in zip(different, values, strict=True):
            if _ANY_WHOLE.fullmatch(each) and np.isfinite(value) and int(each) != int(value):
                row = pc.index(column, each).as_py() + 1
                raise inexact("", name, row, _WHY)
    return found


def _sample(column: pa.ChunkedArray) -> list[str]:
    """Some values from the first and the last rows."""
    first, last = column.chunk(0), column.chunk(column.num_chunks - 1)
    found = first[:_SAMPLE].to_pylist() + last[max(0, len(last) - _SAMPLE) :].to_pylist()
    return [each for each in found if each is not None] or column.drop_null()[:_SAMPLE].to_pylist()


def _bytes(chunk: pa.Array) -> bytes:
    """The bytes of the texts of this chunk, which may share its buffer with other chunks."""
    _, offsets, data = chunk.buffers()
    if data is None or not len(chunk):
        return b""
    width = np.int64 if pt.is_large_string(chunk.type) else np.int32
    bounds = np.frombuffer(offsets, width)
    begin, end = int(bounds[chunk.offset]), int(bounds[chunk.offset + len(chunk)])
    return bytes(memoryview(data)[begin:end])


class Forms:
    """Expressions for the texts of numbers with this decimal point."""

    def __init__(self, decimal: str) -> None:
        point = re.escape(decimal)
        number = rf"(\d+{point}?\d*|{point}\d+)"
        self.fraction = re.compile(rf"-?(\d*{point}\d+|\d+{point}\d*)([eE][+-]?\d+)?|-?\d+[eE][+-]?\d+")
        """matches texts that are clearly a number, but no whole number"""
        self.possible = re.compile(
            rf"\s*[+-]?{number}([eE][+-]?\d*)?\s*|\s*[+-]?inf(inity)?\s*|true|false", re.IGNORECASE | re.DOTALL
        )
        """matches every text that pandas may not read as text, and a few more"""


@lru_cache(maxsize=8)
def forms(decimal: str) -> Forms:
    return Forms(decimal)


@lru_cache(maxsize=64)
def missing_numbers(nulls: tuple[str, ...]) -> list[float]:
    return [number for number in map(_number, nulls) if number is not None]


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return None if np.isnan(number) else number
