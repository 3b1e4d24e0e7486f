"""Counts the rows of each key in one file of a table: reads its key columns, several portions at once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from job.arrow import whole
from job.errors import ChangedError, ConfigurationError, InputError, NotFoundError, PartitionError
from job.plan.table_keys import nearest
from job.reader import table_scan
from job.reader.exact import plain
from job.reader.key_text import no_text, row_keys, text_rule
from job.reader.number_columns import FileNumbers
from job.reader.schema import wider
from job.reader.spec import ReadSpec
from job.reader.table_file import PIECE, Portion
from job.store import Store
from job.store.stored_file import StoredFile

KEY = pa.struct([("key", pa.string()), ("piece", pa.int32()), ("rows", pa.int64())])
"""Number of rows of a key in a piece, which is given by its position in the list of pieces."""
FILES = pa.schema(
    [
        ("name", pa.string()),
        ("size", pa.int64()),
        ("etag", pa.string()),
        ("given", pa.string()),
        ("schema", pa.binary()),
        ("pieces", pa.list_(PIECE)),
        ("keys", pa.list_(KEY)),
        ("numbers", pa.string()),
    ]
)
"""The record of files, one row each, sorted by name. ``numbers`` is JSON: the declared types and the forms of those csv
columns that were needed when the file was read (`job.reader.number_columns.FileNumbers.record`)."""
_FILES_AT_ONCE = 8
_AT_REST = "Run again when nothing writes to the table."


class Pools:
    """Threads for several files, or, if there are few files, for the portions of one file."""

    def __init__(self, files: int, *, near: bool) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._many = files >= cores
        self._cores = cores
        # Each thread takes memory, so there are more threads than cores only if they wait for a remote store.
        self._pool = ThreadPoolExecutor(cores if near or not self._many else _FILES_AT_ONCE, "count")

    def __enter__(self) -> Pools:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def files(self, look: Callable[[dict[str, Any]], pa.Table], files: list[dict[str, Any]]) -> Iterator[Any]:
        """Yield the result of ``look`` for each file, several at once if there are many files."""
        return self._pool.map(look, files) if self._many else map(look, files)

    def portions(self, load: Callable[[Portion], Any], portions: Iterator[Portion]) -> Iterator[Any]:
        """Yield the loaded portions of a file, in order. At most twice as many as cores are in memory."""
        if self._many:
            yield from map(load, portions)
            return
        waiting: list[Future[Any]] = [self._pool.submit(load, each) for each in islice(portions, 2 * self._cores)]
        while waiting:
            result = waiting.pop(0).result()
            waiting.extend(self._pool.submit(load, each) for each in islice(portions, 1))
            yield result


def counted(
    store: Store,
    file: dict[str, Any],
    key: Sequence[str],
    kind: str,
    spec: ReadSpec,
    pools: Pools,
    *,
    types: Mapping[str, pa.DataType],
    declared: Mapping[str, pa.DataType],
    numbers: FileNumbers,
) -> pa.Table:
    """Count the rows of each key in one file.

    Parameters
    ----------
    store, key, kind, spec, types, declared
        As in `job.plan.table_files.look`.
    file
        name, size, etag and given of the file.
    pools
        The threads that load its portions.
    numbers
        Collects which columns of csv hold only numbers.

    Returns
    -------
    pyarrow.Table
        One row with the schema `FILES`.

    Raises
    ------
    ConfigurationError
        The file lacks a key column, or its values have no text.
    InputError
        The file is damaged, was replaced meanwhile, or cannot be reached.
    """
    name = str(file["name"])
    texts: dict[str, str | None] = json.loads(file["given"] or "{}")
    try:
        stored = StoredFile(store, name, file["size"], file["etag"])
        opened = table_scan.open_file(name, stored, kind, spec, numbers=numbers)
        schema = opened.schema()
        inside = [each for each in key if each not in texts]
        undeclared = [each for each in inside if each not in declared]

        def load(portion: Portion) -> tuple[Portion, pa.Schema, int, np.ndarray, pa.StringArray]:
            found, table = portion.load()
            table = plain(table)
            columns = {}
            for each in key:
                if each in texts:
                    _check_key(name, each, type_of := types.get(each, pa.string()))
                    value = table_scan.given_value(texts[each], type_of)
                    columns[each] = pa.repeat(pa.scalar(value, type_of), table.num_rows)
                elif each in table.column_names:
                    column = table.column(each)
                    if each in declared:
                        column = table_scan.cast(name, pa.field(each, declared[each]), column, declared=True)
                    _check_key(name, each, column.type)
                    columns[each] = whole(column)
                elif kind == "json" and table.num_rows:
                    columns[each] = pa.nulls(table.num_rows, pa.string())
                elif table.num_rows:
                    raise ConfigurationError(
                        f"input.key: the table has no column {each!r} (in {name})", hint=nearest(each, found.names)
                    )
            if not table.num_rows:
                return portion, found, 0, np.zeros(0, np.int64), pa.array([], pa.string())
            codes, keys = row_keys(columns, table.num_rows)
            counts = np.bincount(codes, minlength=len(keys))
            present = np.flatnonzero(counts)
            return portion, found, table.num_rows, counts[present], keys.take(pa.array(present))

        pieces: list[dict[str, Any]] = []
        keys, rows, at = [], [], []
        for portion, found, count, counts, names in pools.portions(load, opened.portions(inside)):
            schema = _joined(name, schema, found, undeclared) if kind == "json" else schema
            if not count:
                continue
            if not pieces or pieces[-1]["part"] != portion.piece.part:
                pieces.append(asdict(portion.piece))
            pieces[-1]["rows"] += count
            keys.append(names)
            rows.append(counts)
            at.append(np.full(len(names), len(pieces) - 1, np.int32))
    except ChangedError as error:
        raise InputError(f"{name} was replaced while it was read", hint=_AT_REST) from error
    except NotFoundError as error:
        raise InputError(f"{name} was removed while it was read", hint=_AT_REST) from error
    except PartitionError as error:
        raise InputError(error.message, hint=error.hint) from error
    total = sum(piece["rows"] for piece in pieces)
    for piece in pieces:
        piece["bytes"] = piece["bytes"] or int(file["size"] * piece["rows"] / total)
    row = {**file, "schema": schema.serialize().to_pybytes(), "pieces": pieces, "keys": None}
    row["numbers"] = json.dumps(numbers.record(schema.names))
    table = pa.Table.from_pylist([row], schema=FILES)
    return table.set_column(FILES.get_field_index("keys"), FILES.field("keys"), _entries(keys, rows, at))


def _entries(keys: list[pa.StringArray], rows: list[np.ndarray], at: list[np.ndarray]) -> pa.ListArray:
    """Count the rows of each key in each piece of one file."""
    if keys:
        columns = [
            pa.chunked_array(keys),
            pa.array(np.concatenate(at)),
            pa.array(np.concatenate(rows).astype(np.int64)),
        ]
        table = pa.table(columns, names=["key", "piece", "rows"])
        if len(keys) > 1:
            # If a piece was read in several portions, a key occurs several times.
            table = table.group_by(["key", "piece"], use_threads=False).aggregate([("rows", "sum")])
        names = ["key", "piece", "rows_sum" if len(keys) > 1 else "rows"]
        found = pa.StructArray.from_arrays([whole(table[name]) for name in names], fields=list(KEY))
    else:
        found = pa.array([], KEY)
    return pa.ListArray.from_arrays(pa.array([0, len(found)], pa.int32()), found)


def _joined(name: str, schema: pa.Schema, found: pa.Schema, key: Sequence[str]) -> pa.Schema:
    """Merge the types of JSON lines over all blocks of a file."""
    for each in key:
        if each in schema.names and each in found.names:
            check_text(each, [(f"some rows of {name}", schema.field(each).type), ("others", found.field(each).type)])
    for field in found:
        at = schema.get_field_index(field.name)
        if at < 0:
            schema = schema.append(field)
            continue
        both = wider(schema.field(at).type, field.type)
        if both is None:
            raise PartitionError(
                "schema_mismatch",
                f"{name}: column {field.name!r} is {schema.field(at).type} in some rows and {field.type} in others",
                hint="A column must hold values of one kind.",
            )
        schema = schema.set(at, pa.field(field.name, both))
    return schema


def _check_key(name: str, column: str, kind: pa.DataType) -> None:
    if no_text(kind):
        raise ConfigurationError(
            f"input.key: column {column!r} is of type {kind} in {name}, which has no text for a key"
        )


def check_text(column: str, types: Sequence[tuple[str, pa.DataType]]) -> None:
    """Raise ``schema_mismatch`` if the types of a key column give equal values other texts: 1 and 1.0 are two keys.

    Parameters
    ----------
    column
        The key column.
    types
        Its types, each with the place where it has this type, for the message.
    """
    first: tuple[str, pa.DataType] | None = None
    for place, kind in types:
        rule = text_rule(kind)
        if rule is None:
            continue
        if first is None:
            first = place, kind
        elif text_rule(first[1]) != rule:
            raise PartitionError(
                "schema_mismatch",
                f"the key column {column!r} is {first[1]} in {first[0]} and {kind} in {place}: "
                "one key would have two texts, such as 1 and 1.0",
                hint="Write it with one type, or declare the type of the keys: "
                f"input.schema: {{{column}: {{type: int64, optional: true}}}}.",
            )
