"""The record of each file of a table: its columns, its pieces, and the number of rows of each key in each piece.

Each file is recorded by itself, so after a file was added to a table only this file is read. There is one record below
``keys/`` for each state of the table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job.arrow import decode, encode, give_back, whole
from job.errors import NotFoundError
from job.plan.key_counts import FILES, Pools, counted
from job.reader import number_columns
from job.reader.number_columns import NumberColumns, joined
from job.reader.spec import ReadSpec
from job.reader.table_file import PIECE
from job.reader.table_scan import TEXTS
from job.store import Store
from job.store.side import storage

READ = b"read"
"""Metadata of a record: the digest of the settings that decide how keys are read."""
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
        columns = {field.name: flat.field(field.name) for field in PIECE}
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

    def numbers(self) -> dict[str, str]:
        """The forms of the csv columns over all files (`job.reader.number_columns`)."""
        some = self.table.filter(pc.greater(pc.list_value_length(self.table["pieces"]), 0))
        found = [json.loads(each or "{}") for each in pc.unique(some["numbers"]).to_pylist()]
        return joined({name: form for name, (_, form) in each.items()} for each in found)

    def schemas(self) -> list[tuple[str, pa.Schema]]:
        """Name and schema of each file that has rows. Without rows a type says nothing: pandas writes float64."""
        known: dict[bytes, pa.Schema] = {}
        found = []
        some = self.table.filter(pc.greater(pc.list_value_length(self.table["pieces"]), 0))
        for name, data in zip(some["name"].to_pylist(), some["schema"].to_pylist(), strict=True):
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
    declared: Mapping[str, pa.DataType] | None = None,
) -> TableFiles:
    """Read the key columns of the files that have no record yet, or whose record lacks a csv column that is needed.

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
    declared
        Types of key columns that ``input.schema`` declares: the keys have the texts of these types.

    Raises
    ------
    InputError
        A file is damaged, was replaced meanwhile, or cannot be reached.
    """

    numbers = NumberColumns(spec, key)

    def count(file: dict[str, Any]) -> pa.Table:
        kinds = {"types": types or {}, "declared": declared or {}}
        return counted(store, file, key, kind, spec, pools, **kinds, numbers=numbers.file())

    same = _known(
        found, known, (lambda numbers, schema: _covers(numbers, schema, spec, key)) if kind in TEXTS else None
    )
    todo = [at for at, row in enumerate(same) if row < 0]
    files = found.select(["name", "size", "etag", "given"]).take(pa.array(todo, pa.int64())).to_pylist()
    with storage("input", "the table could not be read"), Pools(len(files), near=store.scheme == "file") as pools:
        new = list(pools.files(count, files))
    every = pa.concat_tables([*([] if known is None else [known.cast(FILES)]), *new] or [FILES.empty_table()])
    give_back()
    order = np.array(same, np.int64)
    order[todo] = np.arange(len(todo)) + (0 if known is None else known.num_rows)
    table = every.take(pa.array(order)).combine_chunks()
    return TableFiles(table=table.replace_schema_metadata({READ: read.encode()}))


def keep(output: Store, state: str, files: TableFiles) -> None:
    """Write the record of the files of a state."""
    output.ensure(record_name(state), encode(files.table))


def _known(found: pa.Table, known: pa.Table | None, covers: Callable[[str | None, bytes], bool] | None) -> list[int]:
    """The row of each file in the record, or -1.

    Parameters
    ----------
    found
        The files.
    known
        The record. It may have a file several times.
    covers
        Takes the texts ``numbers`` and ``schema`` of a file in the record; returns whether it tells all that is needed.
        None: each does.
    """
    if known is None:
        return [-1] * found.num_rows
    columns = ("name", "size", "etag")
    rows = list(zip(*(known[each].to_pylist() for each in columns), strict=True))
    use = [True] * len(rows)
    if covers is not None:
        pairs = list(zip(known["numbers"].to_pylist(), known["schema"].to_pylist(), strict=True))
        good = {pair: covers(*pair) for pair in set(pairs)}
        counted = pc.greater(pc.list_value_length(known["pieces"]), 0).to_pylist()
        use = [good[pair] or not some for pair, some in zip(pairs, counted, strict=True)]
    at = {row: number for number, row in enumerate(rows) if use[number]}
    wanted = zip(*(found[each].to_pylist() for each in columns), strict=True)
    # Without an ETag it is unknown whether the content of a file is the same.
    return [at.get(row, -1) if row[2] is not None else -1 for row in wanted]


def _covers(numbers: str | None, schema: bytes, spec: ReadSpec, key: Sequence[str]) -> bool:
    header = pa.ipc.read_schema(pa.py_buffer(schema)).names
    return number_columns.covers(json.loads(numbers or "{}"), header, spec, key)
