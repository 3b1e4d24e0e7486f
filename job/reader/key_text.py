"""Key columns as text: the text in a csv file, and for typed columns the result of Spark's cast to string. Pure.

So a table has the same keys with either reader: dates, decimals, floats and booleans have the text that Spark writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from job.keys import HIVE_NULL, quoted_value

_MOST_DIGITS = 7
"""Java writes floats without an exponent if they are at least 0.001 and less than ten to this power."""


def no_text(kind: pa.DataType) -> bool:
    """Whether values of this type cannot be keys."""
    kind = kind.value_type if pt.is_dictionary(kind) else kind
    return bool(
        pt.is_nested(kind)
        or pt.is_binary(kind)
        or pt.is_large_binary(kind)
        or pt.is_fixed_size_binary(kind)
        or pt.is_duration(kind)
        or pt.is_interval(kind)
    )


def text_rule(kind: pa.DataType) -> str | None:
    """Types with the same rule give equal values the same text; None for the type of a column without values."""
    kind = kind.value_type if pt.is_dictionary(kind) else kind
    if pt.is_null(kind):
        return None
    if pt.is_floating(kind):
        return "float32" if pt.is_float32(kind) else "float64"  # Arrow's half floats are read as float64
    return "other"


def row_keys(columns: Mapping[str, pa.Array], rows: int) -> tuple[np.ndarray, pa.StringArray]:
    """The key of each row.

    Parameters
    ----------
    columns
        The key columns in the order of the key.
    rows
        Number of rows.

    Returns
    -------
    numpy.ndarray
        For each row the position of its key in the second value, int32, shape (rows,).
    pyarrow.StringArray
        The keys that occur (``store=1/item=2``), each once.
    """
    combined: np.ndarray | None = None
    parts: list[pa.StringArray] = []
    sizes: list[int] = []
    for name, column in columns.items():
        codes, texts = _coded(column)
        parts.append(_levels(name, texts))
        sizes.append(len(texts))
        combined = codes.astype(np.int64) if combined is None else combined * len(texts) + codes
    if combined is None or not rows:
        return np.zeros(0, np.int32), pa.array([], pa.string())
    if len(parts) == 1:
        return combined.astype(np.int32), parts[0]
    found = pa.array(combined).dictionary_encode()
    places = found.dictionary.to_numpy()
    texts = []
    for part, size in zip(reversed(parts), reversed(sizes), strict=True):
        texts.append(part.take(pa.array(places % size)))
        places = places // size
    keys = pc.binary_join_element_wise(*reversed(texts), "/")
    return found.indices.to_numpy(), keys


def _coded(column: pa.Array) -> tuple[np.ndarray, pa.StringArray]:
    """A code for the text of each row, and the texts, each once. The last text is null, for missing values."""
    if not pt.is_dictionary(column.type):
        column = column.dictionary_encode()
    texts = key_texts(column.dictionary)
    # Two values with the same text are one key: Hive's text for null and null itself, or two entries of a dictionary.
    once = texts.dictionary_encode()
    place = pc.fill_null(once.indices, len(once.dictionary)).to_numpy()
    codes = pc.fill_null(column.indices.cast(pa.int32()), len(place)).to_numpy(zero_copy_only=False)
    return np.append(place, np.int32(len(once.dictionary)))[codes], pa.concat_arrays(
        [once.dictionary, pa.array([None], pa.string())]
    )


def _levels(name: str, texts: pa.StringArray) -> pa.StringArray:
    quoted = texts
    odd = pc.fill_null(pc.match_substring_regex(texts, r"[%/=\x00-\x1f\x7f]"), False)
    if pc.any(odd).as_py():
        quoted = pa.array([None if each is None else quoted_value(each) for each in texts.to_pylist()], pa.string())
    return pc.binary_join_element_wise(f"{quoted_value(name)}=", pc.fill_null(quoted, HIVE_NULL), "")


def key_texts(values: pa.Array) -> pa.StringArray:
    """The texts of values in a key. Missing values, and Hive's text for null, become null."""
    kind = values.type
    if pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind):
        texts = values.cast(pa.string())
    elif pt.is_null(kind):
        texts = pa.nulls(len(values), pa.string())
    elif pt.is_floating(kind):
        short = pt.is_float32(kind) or pt.is_float16(kind)
        texts = _python(values, lambda value: java_float(np.float32(value) if short else value))
    elif pt.is_decimal(kind):
        texts = _python(values, plain_decimal)
    elif pt.is_timestamp(kind):
        texts = _times(values)
    else:
        texts = values.cast(pa.string())  # integers, booleans, dates, times of day
    return pc.if_else(pc.equal(texts, HIVE_NULL), None, texts)


def _python(values: pa.Array, text: object) -> pa.StringArray:
    assert callable(text)
    return pa.array([None if value is None else text(value) for value in values.to_pylist()], pa.string())


def java_float(value: float | np.floating) -> str:
    """The text that ``Double.toString`` (for a float32 ``Float.toString``) of Java 19 and later gives for a float.

    Of the shortest texts that stand for this float, it is the nearest one; a text of one digit competes with those of
    two. Earlier versions of Java write some floats with other digits: Java 17 writes 2e23 as 1.9999999999999998E23.

    >>> [java_float(each) for each in (1.0, 0.001, 1e7, 1.5e-10, 5e-324, float("nan"))]
    ['1.0', '0.001', '1.0E7', '1.5E-10', '4.9E-324', 'NaN']
    """
    if np.isnan(value):
        return "NaN"
    if np.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "-0.0" if np.signbit(value) else "0.0"
    shortest = np.format_float_scientific(value, unique=True, trim="-", exp_digits=1)
    mantissa, _, exponent = shortest.partition("e")
    least = np.finfo(np.float32 if isinstance(value, np.float32) else np.float64).tiny
    if "." not in mantissa and abs(float(value)) < float(least):
        # Only a subnormal float is so coarse that two digits tell more than one.
        shortest = np.format_float_scientific(value, unique=False, precision=1, exp_digits=1)
        mantissa, _, exponent = shortest.partition("e")
    power = int(exponent)
    if -3 <= power < _MOST_DIGITS:
        return str(np.format_float_positional(value, unique=True, trim="0"))
    whole, _, fraction = mantissa.partition(".")
    return f"{whole}.{fraction or '0'}E{power}"


def plain_decimal(value: Decimal) -> str:
    """A decimal with all digits of its scale and no exponent.

    >>> plain_decimal(Decimal("1E-10"))
    '0.0000000001'
    """
    return format(value, "f")


def _times(values: pa.Array) -> pa.StringArray:
    """Texts such as ``2024-01-01 12:30:00.5``: UTC for types with a zone, no trailing zeros.

    Spark has microseconds. Nanoseconds have their digits, too: two times are two keys.
    """
    plain = values.cast(pa.timestamp(values.type.unit))
    plain = plain if values.type.unit == "ns" else plain.cast(pa.timestamp("us"))
    texts = plain.cast(pa.string())
    return pc.replace_substring_regex(texts, r"\.?0*$", "") if len(texts) else texts
