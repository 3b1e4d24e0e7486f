"""The columns of a table of predictions: which there are, of which types, and what kept columns become. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

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
"""What is said of each row beside its prediction: its key, the digest of the model, the version of the set, the object,
the run, and when the run was planned."""
PREDICTION = "prediction"
_FREE = re.compile(rf"{PREDICTION}_.*|proba_.*|(lo|hi)_[0-9.e+-]+", re.DOTALL)


def is_free(name: str) -> bool:
    """Whether a column is one that not every model has, such as an interval's: it is null where a model has none."""
    return _FREE.fullmatch(name) is not None


def stored(kind: pa.DataType) -> pa.DataType:
    """The type that a column has in the predictions: the widest of its sort, so that the next file fits too.

    Times without a zone are taken as UTC, and finer units than microseconds are cut: a Delta table holds no others.
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
    """The values of a kept column in the type that the table has.

    Raises
    ------
    PartitionError
        ``schema_mismatch``: they do not fit into it.
    """
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


def check_names(kept: Iterable[str]) -> None:
    """Refuse kept columns whose names the predictions need.

    Raises
    ------
    ConfigurationError
        Names the columns.
    """
    taken = sorted(each for each in kept if each in OURS.names or each == PREDICTION or is_free(each))
    if taken:
        raise ConfigurationError(
            f"the columns {', '.join(map(repr, taken))} of the input have names that the predictions use",
            hint="Leave them out: name the columns to keep in score.keep.",
        )


def ordered(schema: pa.Schema) -> list[str]:
    """Names in the one order that all files have: kept columns, predictions, ours."""
    free = sorted(name for name in schema.names if is_free(name))
    last = [*([PREDICTION] if PREDICTION in schema.names else []), *free, *OURS.names]
    return [name for name in schema.names if name not in last] + last


class Written(Protocol):
    """The values that every row of a run shares."""

    @property
    def run(self) -> str:
        """The run's id."""

    @property
    def at(self) -> datetime:
        """When it was planned."""

    @property
    def version(self) -> int:
        """The version of the models."""


def with_ours(
    made: Mapping[str, Any], count: int, written: Written, *, key: str, digest: str, source: str | None
) -> pa.Table:
    """Some columns of a key's rows, and beside them those of `OURS`, in the one order that all files have.

    Parameters
    ----------
    made
        Arrays of shape (count,).
    count
        The number of rows.
    written, key, digest, source
        What `OURS` say.
    """
    about = {
        "_key": key,
        "_model": digest,
        "_models_version": written.version,
        "_input": source,
        "_run": written.run,
        "_scored_at": written.at,
    }
    ours = {field.name: pa.repeat(pa.scalar(about[field.name], field.type), count) for field in OURS}
    table = pa.table({**made, **ours})
    return table.select(ordered(table.schema))


def union(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """All columns of all schemas, whose types agree where they share one; and `OURS`."""
    try:
        made = pa.unify_schemas([*(pa.schema(list(each)) for each in schemas), OURS])
    except pa.ArrowTypeError as error:
        raise OutputError(
            f"the predictions of some keys have other types than those of others, and cannot be one table: {error}",
            hint="Let the model's method, or score.function, give the same types for every key.",
        ) from error
    return pa.schema([made.field(name) for name in ordered(made)])


def fits(schema: pa.Schema, types: Mapping[str, pa.DataType]) -> bool:
    """Whether a file with this schema can stand in a table with these types."""
    return all(types.get(field.name, field.type) == field.type for field in schema)


def described(schema: pa.Schema) -> str:
    """A schema as a text."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def parsed(text: str) -> pa.Schema:
    """The inverse of `described`."""
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


def plain(kind: pa.DataType) -> pa.DataType:
    """A type as we write it: another library may say large texts where it means texts."""
    if pt.is_large_string(kind) or pt.is_string_view(kind):
        return pa.string()
    if pt.is_large_binary(kind) or pt.is_binary_view(kind):
        return pa.binary()
    return kind
