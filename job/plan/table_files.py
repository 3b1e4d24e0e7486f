"""The record of each file of a table: its columns, its pieces, and the number of rows of each key in each piece.

Each file is recorded by itself, so after a file was added to a table only this file is read. There is one record below
``keys/`` for each state of the table.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job.arrow import decode, encode, give_back, whole
from job.errors import ChangedError, ConfigurationError, InputError, NotFoundError, PartitionError
from job.plan.table_keys import nearest
from job.reader import table_scan
from job.reader.key_text import no_text, row_keys
from job.reader.schema import wider
from job.reader.spec import ReadSpec
from job.reader.table_file import Portion
from job.store import Store
from job.store.side import storage
from job.store.stored_file import StoredFile

_PIECE = pa.struct(
    [
        ("part", pa.int32()),
        ("begin", pa.int64()),
        ("end", pa.int64()),
        ("line", pa.int64()),
        ("rows", pa.int64()),
        ("bytes", pa.int64()),
    ]
)
_KEY = pa.struct([("key", pa.string()), ("piece", pa.int32()), ("rows", pa.int64())])
FILES = pa.schema(
    [
        ("name", pa.string()),
        ("size", pa.int64()),
        ("etag", pa.string()),
        ("given", pa.string()),
        ("schema", pa.binary()),
        ("pieces", pa.list_(_PIECE)),
        ("keys", pa.list_(_KEY)),
    ]
)
"""One row for each file, sorted by name. ``keys``: rows of each key in each piece, by position in ``pieces``."""
READ = b"read"
"""Metadata of a record: the digest of the settings that decide how keys are read."""
_FILES_AT_ONCE = 8
_AT_REST = "Run again when nothing writes to the table."
_RECORDS = 3
"""Number of records that are searched for files that were read before."""


@dataclass(frozen=True, kw_only=True)
class TableFiles:
    """The recorded files of a table.

    Parameters
    ----------
    table
        With the schema `FILES`.
    """

    table: pa.Table

    @cached_property
    def pieces(self) -> pa.Table:
        """All pieces, with the columns file (row of ``table``) and those of a piece."""
        lists = whole(self.table["pieces"])
        flat = lists.flatten()
        columns = {field.name: flat.field(field.name) for field in _PIECE}
        return pa.table({"file": pc.list_parent_indices(lists).cast(pa.int32()), **columns})

    @cached_property
    def entries(self) -> pa.Table:
        """The number of rows of each key in each piece, with the columns key, piece (row of ``pieces``) and rows."""
        lists = whole(self.table["keys"])
        flat = lists.flatten()
        count = pc.list_value_length(whole(self.table["pieces"])).to_numpy()
        first = np.cumsum(count) - count
        owner = pc.list_parent_indices(lists).to_numpy()
        piece = flat.field("piece").to_numpy() + first[owner]
        return pa.table(
            {"key": flat.field("key"), "piece": pa.array(piece.astype(np.int32)), "rows": flat.field("rows")}
        )

    def schemas(self) -> list[tuple[str, pa.Schema]]:
        """Name and schema of each file that has columns."""
        known: dict[bytes, pa.Schema] = {}
        found = []
        for name, data in zip(self.table["name"].to_pylist(), self.table["schema"].to_pylist(), strict=True):
            if data not in known:
                known[data] = pa.ipc.read_schema(pa.py_buffer(data))
            if len(known[data]):
                found.append((name, known[data]))
        return found


def record_name(state: str) -> str:
    """The name, below the output, of the record of a state of a table."""
    return f"keys/{state}.arrow"


def recorded(output: Store, state: str, read: str) -> tuple[pa.Table | None, bool]:
    """Read the record of this state, or if there is none, the newest records of other states.

    Returns
    -------
    pyarrow.Table or None
        With the schema `FILES`; it may have files of several states.
    bool
        Whether it is the record of this state.
    """
    try:
        return decode(output.get(record_name(state))), True
    except NotFoundError:
        pass
    try:
        listing = output.list("keys")
    except NotFoundError:
        return None, False  # ``manyfit plan`` before the output exists
    newest = pc.sort_indices(listing, sort_keys=[("modified", "descending")])
    found = []
    for name in listing["name"].take(newest).to_pylist():
        table = decode(output.get(name))
        if (table.schema.metadata or {}).get(READ) == read.encode():
            found.append(table)
            if len(found) == _RECORDS:
                break
    return (pa.concat_tables(found) if found else None), False


def look(
    store: Store,
    found: pa.Table,
    key: Sequence[str],
    kind: str,
    spec: ReadSpec,
    known: pa.Table | None,
    read: str,
    *,
    types: Mapping[str, pa.DataType] | None = None,
) -> TableFiles:
    """Read the key columns of the files that have no record yet.

    Parameters
    ----------
    store
        The input.
    found
        The files (name, size, etag, given), sorted by name. ``given`` is JSON: the values, as texts, of columns that
        are the same for all rows of a file.
    key
        The key columns.
    kind
        Format of the files.
    spec
        How they are read.
    known
        Recorded files, of any state.
    read
        Digest of the settings that decide how keys are read.
    types
        Types of the columns in ``given``; default text.

    Raises
    ------
    InputError
        A file is damaged, was replaced meanwhile, or cannot be reached.
    """
    same = _known(found, known)
    todo = [at for at, row in enumerate(same) if row < 0]
    files = found.select(["name", "size", "etag", "given"]).take(pa.array(todo, pa.int64())).to_pylist()
    with storage("input", "the table could not be read"), _Pools(len(files), near=store.scheme == "file") as pools:
        new = list(pools.files(lambda file: _look_at(store, file, key, kind, spec, pools, types or {}), files))
    every = pa.concat_tables([*([] if known is None else [known.cast(FILES)]), *new] or [FILES.empty_table()])
    give_back()
    order = np.array(same, np.int64)
    order[todo] = np.arange(len(todo)) + (0 if known is None else known.num_rows)
    table = every.take(pa.array(order)).combine_chunks()
    return TableFiles(table=table.replace_schema_metadata({READ: read.encode()}))


def keep(output: Store, state: str, files: TableFiles) -> None:
    """Write the record of the files of a state."""
    output.ensure(record_name(state), encode(files.table))


def _known(found: pa.Table, known: pa.Table | None) -> list[int]:
    """The row of each file in the record, or -1."""
    if known is None:
        return [-1] * found.num_rows
    columns = ("name", "size", "etag")
    at = {row: number for number, row in enumerate(zip(*(known[each].to_pylist() for each in columns), strict=True))}
    rows = zip(*(found[each].to_pylist() for each in columns), strict=True)
    # Without an ETag it is unknown whether the content of a file is the same.
    return [at.get(row, -1) if row[2] is not None else -1 for row in rows]


class _Pools:
    """Threads for several files, or, if there are few files, for the portions of one file."""

    def __init__(self, files: int, *, near: bool) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._many = files >= cores
        self._cores = cores
        # Each thread takes memory, so there are more threads than cores only if they wait for a remote store.
        self._pool = ThreadPoolExecutor(cores if near or not self._many else _FILES_AT_ONCE, "count")

    def __enter__(self) -> _Pools:
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


def _look_at(
    store: Store,
    file: dict[str, Any],
    key: Sequence[str],
    kind: str,
    spec: ReadSpec,
    pools: _Pools,
    types: Mapping[str, pa.DataType],
) -> pa.Table:
    name = str(file["name"])
    texts: dict[str, str | None] = json.loads(file["given"] or "{}")
    try:
        opened = table_scan.open_file(name, StoredFile(store, name, file["size"], file["etag"]), kind, spec)
        schema = opened.schema()
        inside = [each for each in key if each not in texts]

        def load(portion: Portion) -> tuple[Portion, pa.Schema, int, np.ndarray, pa.StringArray]:
            found, table = portion.load()
            columns = {}
            for each in key:
                if each in texts:
                    value = table_scan.given_value(texts[each], type_of := types.get(each, pa.string()))
                    columns[each] = pa.repeat(pa.scalar(value, type_of), table.num_rows)
                elif each in table.column_names:
                    _check_key(name, each, table.schema.field(each).type)
                    columns[each] = whole(table.column(each))
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
            schema = _joined(name, schema, found) if kind == "json" else schema
            if not count:
                continue
            if not pieces or pieces[-1]["part"] != portion.piece.part:
                pieces.append({each: getattr(portion.piece, each) for each in (field.name for field in _PIECE)})
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
        found = pa.StructArray.from_arrays([whole(table[name]) for name in names], fields=list(_KEY))
    else:
        found = pa.array([], _KEY)
    return pa.ListArray.from_arrays(pa.array([0, len(found)], pa.int32()), found)


def _joined(name: str, schema: pa.Schema, found: pa.Schema) -> pa.Schema:
    """Merge the types of JSON lines over all blocks of a file."""
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
