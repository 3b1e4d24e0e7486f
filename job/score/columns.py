"""The columns of a table of predictions: their names and types, and the conversion of kept columns. Pure."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache, lru_cache
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from job.errors import ConfigurationError, OutputError, PartitionError

TIME = pa.timestamp("us", "UTC")
OURS = pa.schema(
    [
        ("_key", pa.string()),
        ("_model", pa.string()),
        ("_models_version", pa.int64()),
        ("_input", pa.string()),
        ("_run", pa.string()),
        ("_scored_at", TIME),
    ]
)
"""The columns that manyfit adds to each row: its key, the digest of the model, the version of the set, the object, the
run, and the time of the plan."""
PREDICTION = "prediction"
_MOST = 2**63 - 1
"""the greatest int64"""
_FREE = re.compile(rf"{PREDICTION}_.*|proba_.*|(lo|hi)_[0-9.e+-]+", re.DOTALL)


@cache
def is_free(name: str) -> bool:
    """Whether a column is one that not every model gives, such as that of an interval. It is null for other models."""
    return _FREE.fullmatch(name) is not None


def stored(kind: pa.DataType) -> pa.DataType:
    """The type of a column in the predictions: the widest type of its kind, so that later files have the same.

    Times without a zone become UTC, and times are cut to microseconds, as a Delta table has no other times.
    """
    if pt.is_boolean(kind) or pt.is_date32(kind):
        return kind
    if pt.is_integer(kind):
        return pa.int64()
    if pt.is_floating(kind) or pt.is_decimal(kind) or pt.is_null(kind):
        return pa.float64()
    if pt.is_date64(kind):
        return pa.date32()
    if pt.is_timestamp(kind):
        return TIME
    if pt.is_binary(kind) or pt.is_large_binary(kind) or pt.is_fixed_size_binary(kind):
        return pa.binary()
    return pa.string()


def column(values: pa.ChunkedArray, kind: pa.DataType, name: str) -> pa.ChunkedArray:
    """Cast a kept column to its type in the table.

    Raises
    ------
    PartitionError
        ``schema_mismatch``: a value does not fit into the type.
    """
    if values.type == kind:
        return values
    if pt.is_nested(values.type) and kind == pa.string():
        return pa.chunked_array([pa.array(map(_json, values.to_pylist()), pa.string())])
    if pt.is_timestamp(values.type) and values.type.tz is None and kind == TIME:
        values = pc.assume_timezone(values, "UTC")
    try:
        return values.cast(kind, safe=not pt.is_timestamp(values.type))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise PartitionError(
            "schema_mismatch",
            f"the kept column {name!r} is {values.type} here, and {kind} in the table of predictions",
            hint="Declare its type in input.schema, or leave it out of score.keep.",
        ) from error


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, default=str)


def stored_values(values: pa.ChunkedArray) -> pa.DataType:
    """The type of a column in the predictions, as `stored`; text for whole numbers that int64 cannot hold."""
    beyond = pt.is_uint64(values.type) and (pc.max(values).as_py() or 0) > _MOST
    return pa.string() if beyond else stored(values.type)


def check_names(kept: Iterable[str]) -> None:
    """Refuse kept columns whose names the predictions use, or that differ in case alone. Delta's names ignore case.

    Raises
    ------
    ConfigurationError
        There are such columns; the message names them.
    """
    names = sorted(kept)
    ours = (*OURS.names, PREDICTION)
    taken = [each for each in names if each.lower() in ours or is_free(each.lower())]
    if taken:
        raise ConfigurationError(
            f"the columns {', '.join(map(repr, taken))} of the input have names that the predictions use",
            hint="Leave them out: name the columns to keep in score.keep.",
        )
    if said := alike(names):
        raise ConfigurationError(said, hint="Leave one out: name the columns to keep in score.keep.")


def alike(names: Sequence[str]) -> str:
    """What is wrong if some names differ in case alone; else empty."""
    lower = Counter(each.lower() for each in names)
    twice = sorted(each for each in names if lower[each.lower()] > 1)
    if not twice:
        return ""
    return f"the columns {', '.join(map(repr, twice))} differ in upper and lower case alone: a Delta table has not both"


def ordered(schema: pa.Schema) -> list[str]:
    """The names in the order that all files have: kept columns, predictions, the columns of `OURS`."""
    return list(_ordered(tuple(schema.names)))


@lru_cache(maxsize=64)
def _ordered(names: tuple[str, ...]) -> tuple[str, ...]:
    free = sorted(name for name in names if is_free(name))
    last = (*([PREDICTION] if PREDICTION in names else ()), *free, *OURS.names)
    return (*(name for name in names if name not in last), *last)


class Written(Protocol):
    """The values that are the same in all rows of a run."""

    @property
    def run(self) -> str:
        """The run's id."""

    @property
    def at(self) -> datetime:
        """The time of the plan."""

    @property
    def version(self) -> int:
        """The version of the models."""


def with_ours(
    made: Mapping[str, Any], count: int, written: Written, *, key: str, digest: str, source: str | None
) -> pa.Table:
    """Make a table from columns of a key's rows and the columns of `OURS`, in the order that all files have.

    Parameters
    ----------
    made
        Arrays of shape (count,), by column.
    count
        The number of rows.
    written, key, digest, source
        The values of the columns of `OURS`.
    """
    places = _zeros(count)
    columns = {
        **made,
        "_key": _text(key, places),
        "_model": _text(digest, places),
        "_models_version": pa.repeat(pa.scalar(written.version, pa.int64()), count),
        "_input": pa.nulls(count, pa.string()).dictionary_encode() if source is None else _text(source, places),
        "_run": _text(written.run, places),
        "_scored_at": pa.repeat(pa.scalar(written.at, TIME), count),
    }
    if said := _alike(tuple(columns)):
        raise PartitionError("predict_error", said, hint="Give one of them another name.")
    return pa.table({name: columns[name] for name in _ordered(tuple(columns))})


@lru_cache(maxsize=64)
def _alike(names: tuple[str, ...]) -> str:
    """`alike`, which is asked for each key, and mostly of the same names."""
    return alike(names)


@lru_cache(maxsize=1)
def _zeros(count: int) -> pa.Array:
    """Zero for each row: the place of its text in a dictionary of one text."""
    return pa.array(np.zeros(count, np.int32))


def _text(value: str, places: pa.Array) -> pa.Array:
    """One text for all rows, which is kept once."""
    return pa.DictionaryArray.from_arrays(places, pa.array([value], pa.string()), safe=False)


def union(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """One schema with all columns of all schemas, and `OURS`. A column must have the same type in all of them."""
    try:
        made = pa.unify_schemas([*(pa.schema(list(each)) for each in schemas), OURS])
    except pa.ArrowTypeError as error:
        raise OutputError(
            f"the predictions of some keys have other types than those of others, and cannot be one table: {error}",
            hint="Let the model's method, or score.function, give the same types for every key.",
        ) from error
    if said := alike(made.names):
        raise OutputError(said, hint="Rename the classes or outputs in training, or the columns of score.function.")
    return pa.schema([made.field(name) for name in ordered(made)])


def fits(schema: pa.Schema, types: Mapping[str, pa.DataType]) -> bool:
    """Whether a file with this schema fits into a table with these types."""
    return all(types.get(field.name, field.type) == field.type for field in schema)


def described(schema: pa.Schema) -> str:
    """Write a schema as text."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def parsed(text: str) -> pa.Schema:
    """Read a schema that `described` has written."""
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


def plain(kind: pa.DataType) -> pa.DataType:
    """A type as manyfit writes it: other libraries may use large strings instead of strings."""
    if pt.is_large_string(kind) or pt.is_string_view(kind):
        return pa.string()
    if pt.is_large_binary(kind) or pt.is_binary_view(kind):
        return pa.binary()
    return kind
