"""Finds rows of some keys in the files of all versions of predictions and errors, and removes them from both tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from job.errors import NotFoundError
from job.registry.data_file import Writer, addition, completed, data_files, opened, plain, removal
from job.registry.delta_log import Table
from job.registry.errors_table import ERRORS
from job.registry.forgotten import rows_of
from job.registry.index import Index
from job.score import columns, part
from job.store.stored_file import StoredFile

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from job.store import Store

PREDICTIONS = (part.FOLDER, "_key")
"""the folder of the table, and its column with the key"""
ERRORS_TABLE = ("errors", "key")


@dataclass(frozen=True, kw_only=True)
class Holding:
    """A data file with rows of the keys."""

    name: str
    """name of the file below the output"""
    size: int
    rows: int
    """number of rows of these keys"""
    keys: frozenset[str]
    """those of the keys that it holds rows of"""
    current: bool
    """whether the file belongs to the current version"""


def holding(store: Store, table: tuple[str, str], keys: Sequence[str]) -> list[Holding]:
    """All files of a table that hold rows of some keys: files of any version, and files that are not released yet."""
    folder, column = table
    opened_now = Table(store, folder, pa.schema([])).open()
    now = set() if opened_now is None else {f"{folder}/{path}" for path in data_files(opened_now)}
    try:
        listing = store.list(folder)
    except NotFoundError:
        return []
    names = zip(listing["name"].to_pylist(), listing["size"].to_pylist(), strict=True)
    files = [(name, size) for name, size in names if name.endswith(".parquet") and "/_delta_log/" not in name]
    with ThreadPoolExecutor(16) as pool:
        counts = pool.map(lambda each: _rows(store, each[0], each[1], column, keys), files)
        return [
            Holding(name=name, size=size, rows=sum(rows.values()), keys=frozenset(rows), current=name in now)
            for (name, size), rows in zip(files, counts, strict=True)
            if rows
        ]


def _rows(store: Store, name: str, size: int, column: str, keys: Sequence[str]) -> Counter[str]:
    """The number of rows of each of the keys in a file. Row groups whose statistics exclude the keys are not read."""
    parquet = pq.ParquetFile(StoredFile(store, name, size, None))
    place = parquet.schema_arrow.names.index(column)
    found: Counter[str] = Counter()
    for group in range(parquet.metadata.num_row_groups):
        known = parquet.metadata.row_group(group).column(place).statistics
        if known is not None and known.has_min_max and not any(known.min <= key <= known.max for key in keys):
            continue
        values = parquet.read_row_group(group, [column], use_threads=False)[column]
        found.update(values.filter(pa.array(rows_of(values, keys))).cast(pa.string()).to_pylist())
    return found


def take_out(store: Store, keys: Sequence[str], *, run: str, going_on: Callable[[], None] = lambda: None) -> int | None:
    """Rewrite the files of both tables that hold rows of the keys, without these rows; one commit for each table.

    Parameters
    ----------
    store
        The output.
    keys
        The keys whose rows are removed.
    run
        The id of the commits. A second call with the same id does nothing.
    going_on
        Called for each file: a large table has many.

    Returns
    -------
    int
        The new version of the predictions; None if there are no predictions.
    """

    def of_predictions(data: pa.Table) -> Iterator[dict[str, Any]]:
        made = part.pack([data])
        store.ensure(f"{part.FOLDER}/{part.path(made.digest)}", made.data)
        span = pc.min_max(data.column("_key"))
        keys = {"_key": (span["min"].as_py(), span["max"].as_py())}
        yield addition(part.path(made.digest), len(made.data), data.num_rows, keys)

    def of_errors(data: pa.Table) -> Iterator[dict[str, Any]]:
        writer = Writer(store.child("errors"), ERRORS, ["run"])
        writer.add(plain(completed(data, ERRORS), ERRORS))
        writer.close()
        yield from writer.added

    version = _take_out(store, PREDICTIONS, columns.OURS, keys, run, of_predictions, going_on)
    _take_out(store, ERRORS_TABLE, ERRORS, keys, run, of_errors, going_on)
    return version


def _take_out(
    store: Store,
    table: tuple[str, str],
    schema: pa.Schema,
    keys: Sequence[str],
    run: str,
    write: Any,
    going_on: Callable[[], None],
) -> int | None:
    folder, column = table
    delta = Table(store, folder, schema)
    if delta.open() is None:
        return None
    index = Index(store).version() or 0

    def attempt(current: DeltaTable) -> int:
        if (done := current.transaction_version(run)) is not None:
            return done
        actions, gone = [], 0
        sizes = {path: file["size_bytes"] for path, file in data_files(current).items()}
        held = []
        with ThreadPoolExecutor(16) as pool:
            found = pool.map(lambda path: _rows(store, f"{folder}/{path}", sizes[path], column, keys), sizes)
            for path, rows in zip(sizes, found, strict=True):
                going_on()
                held += [path] if rows else []
        for path in held:
            going_on()
            data = opened(delta.files, path).read(use_threads=False)
            mask = rows_of(data[column], keys)
            gone += int(mask.sum())
            actions.append(removal(path, sizes[path]))
            if (left := data.filter(pa.array(~mask))).num_rows:
                actions += write(left)
        if not actions:
            return int(current.version())
        about: dict[str, str | int] = {"operation": "forget", "run": run, "index": index}
        delta.append(current, "DELETE", {run: current.version() + 1}, about, actions, {"num_target_rows_deleted": gone})
        return int(current.version()) + 1

    return delta.retried(attempt)
