"""A table that the tasks themselves read: its columns, its keys, and the pieces of files that hold their rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job.arrow import whole
from job.config.settings import InputSettings
from job.errors import ConfigurationError, InputError, PartitionError
from job.plan.fingerprint import data_fingerprint, digest
from job.plan.key_counts import check_text
from job.plan.selection import Selected, choose
from job.plan.table_files import TableFiles
from job.plan.table_keys import nearest
from job.reader import number_columns, table_scan
from job.reader.schema import delimiter_hint
from job.reader.spec import ReadSpec, declared_types
from job.reader.table_file import FILE, LINE
from job.reader.table_scan import TEXTS, TableScan

_RECORD = 3
"""Version of the records of files. Raise it if they get other columns."""
_PLACES = 4
"""Up to this multiple of the pairs of key and piece, there may be a place for each pair of key and file."""


@dataclass(frozen=True, kw_only=True)
class TableLayout:
    """The description of a table that planning needs."""

    scan: TableScan
    """how its files are read"""
    files: TableFiles
    """its files and their pieces"""
    keys: pa.Array
    """all keys, sorted"""
    number: np.ndarray
    """shape (entries,), int32: for each row of ``files.entries`` the position of its key in ``keys``"""
    rows: np.ndarray
    """shape (keys,), int64: the number of rows of each key"""
    version: int | None = None
    """version of the table, if it has a log with versions"""
    state: str = ""
    """digest of the files, which names their record"""


def declared_keys(settings: InputSettings, spec: ReadSpec, kind: str) -> dict[str, pa.DataType]:
    """Key columns whose type ``input.schema`` declares. In csv there are none: a key is the text of the file."""
    key = (settings.key,) if isinstance(settings.key, str) else tuple(settings.key or ())
    declared = {} if kind in TEXTS else declared_types(spec.schema)
    return {name: table_scan.plain(declared[name]) for name in key if name in declared}


def read_digest(settings: InputSettings, declared: Mapping[str, pa.DataType]) -> str:
    """Digest of the settings that decide which keys and columns are recorded of a file."""
    read = settings.model_dump(mode="json", include={"key", "format"})
    types = {"types": {name: str(kind) for name, kind in declared.items()}} if declared else {}
    return digest({"reader": "direct", "record": _RECORD, "read": read, **types})


def state(found: pa.Table, read: str, kind: str, spec: ReadSpec) -> str:
    """Digest of all that decides the record of a table's files.

    Parameters
    ----------
    found
        The files.
    read
        Digest of the settings that decide the keys (`read_digest`).
    kind
        Format of the files.
    spec
        How bytes become values, and which columns the recipe needs: of csv the record tells what they hold.
    """
    rows = zip(found["name"].to_pylist(), found["size"].to_pylist(), found["etag"].to_pylist(), strict=True)
    needed = {"needed": spec.needed, "texts": spec.texts, "schema": spec.schema} if kind in TEXTS else {}
    return digest({"files": data_fingerprint(rows), "read": read, **needed})


def layout(
    files: TableFiles,
    kind: str,
    settings: InputSettings,
    spec: ReadSpec,
    levels: Sequence[str],
    log: pa.Schema | None = None,
) -> TableLayout:
    """Build the layout of a table from the records of its files.

    Parameters
    ----------
    files
        All files of the table.
    kind
        Format of the files.
    settings
        The ``input`` section.
    spec
        How bytes become values, and which columns the recipe needs.
    levels
        Columns whose values come from the directories of the files, or from a log.
    log
        The table's columns, if a log tells them: a column that a file lacks is null there.

    Raises
    ------
    ConfigurationError
        The table lacks a column that the recipe or the key names.
    InputError
        The files have different columns, or not those of ``input.schema``.
    """
    entries = files.entries
    if not entries.num_rows:
        raise InputError(f"the table {settings.uri} has no row", hint="Check input.uri and input.match.")
    coded = whole(entries["key"]).dictionary_encode()
    order = pc.sort_indices(coded.dictionary).to_numpy()
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    number = rank[coded.indices.to_numpy()]
    rows = np.bincount(number, weights=entries["rows"].to_numpy(), minlength=len(order)).astype(np.int64)
    return TableLayout(
        scan=_scan(files, kind, settings, spec, levels, log),
        files=files,
        keys=coded.dictionary.take(pa.array(order)),
        number=number,
        rows=rows,
    )


def _scan(
    files: TableFiles,
    kind: str,
    settings: InputSettings,
    spec: ReadSpec,
    levels: Sequence[str],
    log: pa.Schema | None,
) -> TableScan:
    assert settings.key is not None
    key = (settings.key,) if isinstance(settings.key, str) else tuple(settings.key)
    needed = None if spec.needed is None else tuple(dict.fromkeys((*spec.needed, *key)))
    schemas = files.schemas()
    declared = declared_types(spec.schema)
    optional = tuple(name for name in spec.optional if name not in key)
    try:
        for name in key:
            if kind not in TEXTS and name not in levels and name not in declared:
                every = schemas if log is None else [*schemas, ("the table's log", log)]
                check_text(name, [(file, each.field(name).type) for file, each in every if name in each.names])
        if log is not None:
            optional = tuple(log.names)
            schemas = [(settings.uri, pa.schema([(field.name, table_scan.plain(field.type)) for field in log]))]
        elif kind == "json":
            # A name that no row of a JSON lines file has is null in this file, as it is in a line.
            optional = tuple({field.name for _, schema in schemas for field in schema})
        found = table_scan.unified(schemas, optional, needed)
    except PartitionError as error:
        raise InputError(error.message, hint=error.hint) from error
    there = [*found.names, *(level for level in levels if level not in found.names)]
    for name in needed or key:
        if name not in there and name not in spec.optional:
            what = "input.key" if name in key else "recipe"
            hint = delimiter_hint(found.names, spec.delimiter) or nearest(name, there)
            raise ConfigurationError(f"{what}: the table has no column {name!r}", hint=hint)
    if declared:
        _check_declared(found, declared, levels, spec.optional, schemas[0][0])
    given = [json.loads(each or "{}") for each in files.table["given"].to_pylist()] if levels and log is None else []
    texts = {level: [each[level] for each in given] for level in levels} if log is None else {}
    numbers = number_columns.types(files.numbers(), spec) if kind in TEXTS else {}
    fields = []
    for name in dict.fromkeys([*there, *(name for name in spec.optional if needed is None or name in needed)]):
        if needed is not None and name not in needed:
            continue
        if name in texts:
            # A key is text: 01 and 1 are two keys.
            kinds = pa.string() if name in key else table_scan.level_type(texts[name])
        elif kind in TEXTS:
            kinds = pa.string() if name in key else numbers.get(name, pa.string())
        elif name in declared:
            kinds = table_scan.plain(declared[name])
        else:
            kinds = found.field(name).type
        if name in levels and name not in key and name in declared and kind not in TEXTS:
            kinds = table_scan.plain(declared[name])
        known = found.field(name).metadata if name in found.names else None
        fields.append(pa.field(name, kinds, metadata=known))
    schema = table_scan.marked(pa.schema(fields), {*key, *levels})
    if declared and kind in TEXTS:
        # An error about a text that does not have the declared type names file and line.
        schema = schema.append(pa.field(LINE, pa.int64())).append(pa.field(FILE, pa.int32()))
    return TableScan(
        kind=kind,
        key=key,
        schema=schema,
        levels=tuple(levels),
        dropped=() if spec.needed is None else tuple(name for name in key if name not in spec.needed),
        typed=log is not None,
        optional=optional,
        spec=spec,
    )


def _check_declared(
    found: pa.Schema, declared: dict[str, pa.DataType], levels: Sequence[str], optional: Sequence[str], first: str
) -> None:
    if all(name in optional for name in declared):
        # Only optional columns are declared.
        return
    missing = [name for name in declared if name not in found.names and name not in levels and name not in optional]
    extra = [name for name in found.names if name not in declared and name not in levels]
    if missing or extra:
        parts = [f"missing {', '.join(map(repr, missing[:5]))}"] if missing else []
        parts += [f"not declared {', '.join(map(repr, extra[:5]))}"] if extra else []
        raise InputError(
            f"the columns of the table are not those of input.schema: {'; '.join(parts)} (in {first})",
            hint="Declare every column of the table, or none.",
        )


def select(
    table: TableLayout, found: pa.Table, settings: InputSettings, seed: int, *, ignored: int, unmatched: int
) -> Selected:
    """Select keys of a table. Each is represented by one object, whose ETag covers the files that have rows of the key.

    So a file that is added, removed or replaced changes only the keys that have rows in it.

    Parameters
    ----------
    table
        The table.
    found
        The files of the table (`job.plan.table_keys.files`).
    settings
        The ``input`` section.
    seed
        The seed for ``input.sample``.
    ignored, unmatched
        Numbers of objects that are not files of the table.

    Raises
    ------
    InputError
        The filters leave no key.
    """
    wanted = choose(table.keys, settings, seed)
    at = np.arange(len(table.keys)) if wanted is None else pc.index_in(wanted, value_set=table.keys).to_numpy()
    if not len(at):
        raise InputError(
            "no key is left after input.include, exclude, only, sample and limit",
            hint=f"There were {len(table.keys)} keys before; loosen the filters.",
        )
    total, size = int(table.rows.sum()), int(pc.sum(found["size"]).as_py())
    low, high = _fingerprints(table)
    rows = table.rows[at]
    etags = [
        f"{a:016x}{b:016x}:{c}" for a, b, c in zip(low[at].tolist(), high[at].tolist(), rows.tolist(), strict=True)
    ]
    keys = table.keys.take(pa.array(at))
    objects = pa.table(
        {
            "key": keys,
            "name": keys,
            "size": pa.array((rows * (size / total)).astype(np.int64)),
            "etag": pa.array(etags, pa.string()),
            "modified": pa.repeat(pc.max(found["modified"]), len(at)),
        }
    )
    complete = wanted is None and not unmatched
    return Selected(objects=objects, ignored=ignored, unmatched=unmatched, complete=complete)


def _by_file(
    number: np.ndarray, file: np.ndarray, rows: np.ndarray, files: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Add up the rows of each key in each file, sorted by key and file. ``number`` is the position of the key."""
    pair = number.astype(np.int64) * files + file
    places = (int(number.max()) + 1) * files if len(number) else 0
    if places <= _PLACES * len(pair):
        # Millions of pairs of a scattered table are not sorted: each has a place.
        counts = np.bincount(pair, weights=rows, minlength=places)
        found = np.flatnonzero(counts)
        rows = counts[found]
    else:
        found, at = np.unique(pair, return_inverse=True)
        rows = np.bincount(at, weights=rows)
    return (found // files).astype(np.int32), found % files, rows.astype(np.uint64)


def _fingerprints(table: TableLayout) -> tuple[np.ndarray, np.ndarray]:
    """128 bits for each key: a digest of the files that have rows of it, and of the numbers of these rows."""
    names = table.files.table.select(["name", "size", "etag"]).to_pylist()
    ids = [hashlib.sha256(data_fingerprint([tuple(each.values())]).encode()).digest() for each in names]
    words = np.frombuffer(b"".join(each[:16] for each in ids), np.uint64).reshape(-1, 2)
    file = table.files.pieces["file"].to_numpy()[table.files.entries["piece"].to_numpy()]
    number, file, rows = _by_file(table.number, file, table.files.entries["rows"].to_numpy(), len(names))
    begins = np.flatnonzero(np.append(True, number[1:] != number[:-1]))
    with np.errstate(over="ignore"):
        odd = np.uint64(0x9E3779B97F4A7C15)
        sums = []
        for half in (0, 1):
            value = (words[file, half] ^ (rows * odd)) * np.uint64(0xBF58476D1CE4E5B9)
            value = (value ^ (value >> np.uint64(31))) * np.uint64(0x94D049BB133111EB)
            sums.append(np.add.reduceat(value ^ (value >> np.uint64(29)), begins))
    return sums[0], sums[1]
