"""The live files of one version of a Delta table and its columns, from the log. No data is read.

The `deltalake` package reads the log. It does not report deletion vectors, which change the rows of a file, so this
module looks for them. A table with a feature that would be read wrongly is refused, with the name of the feature.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from job.errors import ConfigurationError, InputError
from job.store import Store

_READ = {
    "timestampNtz",
    "deletionVectors",
    "v2Checkpoint",
    "vacuumProtocolCheck",
    "typeWidening",
    "typeWidening-preview",
    "columnMapping",
}
"""Reader features that do not change the rows, or for which this module checks itself."""
_WAY_OUT = "Let Spark read it (input.reader: spark, with Delta's package in spark.conf), or write its rows to parquet."
_LOG = "_delta_log"


@dataclass(frozen=True, kw_only=True)
class DeltaFiles:
    """One version of a Delta table."""

    version: int
    files: pa.Table
    """name, size, etag and modified of the live files, from the listing of the store, sorted by name"""
    given: dict[str, str]
    """for each file that has partition columns: JSON with their values as texts"""
    schema: pa.Schema
    """the columns of the table"""

    def levels(self) -> tuple[str, ...]:
        """The names of the partition columns."""
        return tuple(json.loads(next(iter(self.given.values())))) if self.given else ()


def live(store: Store, listing: pa.Table, version: int | str | None) -> DeltaFiles:
    """Find the live files of one version.

    Parameters
    ----------
    store
        The folder of the table.
    listing
        All objects in it, with those of the log.
    version
        A version number, or a time stamp in ISO 8601; None: the newest version.

    Raises
    ------
    ConfigurationError
        There is no such version, or the table uses a feature that manyfit does not read.
    InputError
        The log cannot be read, or names a file that does not exist.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    uri, options = store.delta()
    try:
        table = DeltaTable(uri, version=version if isinstance(version, int) else None, storage_options=options or None)
        if isinstance(version, str):
            table.load_as_version(moment := _moment(version))
            _refuse_before(listing, int(table.version()), moment, version)
        _check(table)
        actions = pa.table(table.get_add_actions(flatten=True))
        schema = pa.schema(table.schema().to_arrow())
    except TableNotFoundError as error:
        if version is not None and _commits(listing):
            first = min(_commits(listing))
            raise ConfigurationError(
                f"input.version: the Delta table in {store.uri} has no version {version}",
                hint=f"Its log begins with version {first}: older ones were cleaned up.",
            ) from error
        raise ConfigurationError(
            f"there is no Delta table in {store.uri}", hint="Correct input.uri or input.format."
        ) from error
    except DeltaError as error:
        reason = str(error).splitlines()[0][:200]
        if version is not None and "version" in reason.lower():
            raise ConfigurationError(
                f"input.version: the Delta table in {store.uri} has no version {version} ({reason})"
            ) from error
        if "mapping" in reason.lower():
            raise _refused("columnMapping") from error
        raise InputError(f"the log of the Delta table in {store.uri} cannot be read: {reason}") from error
    names = [unquote(name) for name in actions["path"].to_pylist()]
    _refuse_deleted(store, listing, set(names), table)
    return DeltaFiles(
        version=int(table.version()),
        files=_listed(listing, names, store.uri),
        given=_given(actions, names),
        schema=schema,
    )


def _commits(listing: pa.Table) -> dict[int, datetime]:
    """The versions whose commit files are in the log, each with the time when its file was written."""
    found = {}
    for name, modified in zip(listing["name"].to_pylist(), listing["modified"].to_pylist(), strict=True):
        number, _, rest = name.removeprefix(f"{_LOG}/").partition(".")
        if name.startswith(f"{_LOG}/") and rest == "json" and number.isdigit():
            found[int(number)] = modified
    return found


def _refuse_before(listing: pa.Table, version: int, moment: datetime, text: str) -> None:
    """Raise if even the oldest version is younger than the moment: the log's reader gives that version."""
    written = _commits(listing).get(version)
    if written is not None and written > moment:
        raise ConfigurationError(
            f"input.version: the Delta table has no version as old as {text}",
            hint=f"The oldest is version {version}, of {written.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}.",
        )


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    except ValueError:
        raise ConfigurationError(
            f"input.version: {text!r} is neither a number nor a time stamp such as 2024-05-01T00:00:00Z"
        ) from None


def _check(table: Any) -> None:
    protocol = table.protocol()
    unknown = sorted(set(protocol.reader_features or ()) - _READ)
    if unknown:
        raise _refused(unknown[0])
    mode = (table.metadata().configuration or {}).get("delta.columnMapping.mode", "none")
    if mode != "none":
        raise _refused(f"columnMapping (mode {mode})")


def _refused(feature: str) -> ConfigurationError:
    return ConfigurationError(
        f"the Delta table uses {feature}, which is not read without Spark: nothing was read", hint=_WAY_OUT
    )


def _listed(listing: pa.Table, names: list[str], uri: str) -> pa.Table:
    wanted = pa.array(sorted(names), pa.string())
    at = pc.index_in(wanted, value_set=listing["name"].combine_chunks())
    if at.null_count:
        lost = wanted.filter(pc.is_null(at)).to_pylist()
        outside = next((name for name in lost if "://" in name or name.startswith("/")), None)
        if outside is not None:
            raise ConfigurationError(
                f"the Delta table's log names a file outside of {uri}: {outside!r} (a shallow clone?)", hint=_WAY_OUT
            )
        raise InputError(
            f"{len(lost):,} files that the log of the Delta table names are not there, first {lost[0]!r}",
            hint="Was the table vacuumed? Choose a newer input.version.",
        )
    return listing.take(at)


def _given(actions: pa.Table, names: list[str]) -> dict[str, str]:
    columns = [name for name in actions.column_names if name.startswith("partition.")]
    if not columns:
        return {}
    texts = [actions[name].cast(pa.string()).to_pylist() for name in columns]
    fields = [name.removeprefix("partition.") for name in columns]
    rows = zip(*texts, strict=True)
    return {name: json.dumps(dict(zip(fields, row, strict=True))) for name, row in zip(names, rows, strict=True)}


def _refuse_deleted(store: Store, listing: pa.Table, names: set[str], table: Any) -> None:
    """Raise if a live file has a deletion vector, which marks rows of the file that the table no longer has."""
    if "deletionVectors" not in (table.protocol().reader_features or ()):
        return
    deleted: dict[str, bool] = {}
    for path, vector in _added(store.get, listing, int(table.version())):
        deleted[unquote(path)] = vector
    some = sorted(name for name in names if deleted.get(name, False))
    if some:
        raise ConfigurationError(
            f"{len(some):,} files of the Delta table have deletion vectors, first {some[0]!r}, "
            "which are not read without Spark: nothing was read",
            hint=f"REORG TABLE ... APPLY (PURGE) rewrites them. Or: {_WAY_OUT}",
        )


def _added(get: Callable[[str], Any], listing: pa.Table, version: int) -> Iterator[tuple[str, bool]]:
    """Yield the files that the log has added, in order, and for each whether it has a deletion vector."""
    names = [name for name in listing["name"].to_pylist() if name.startswith(f"{_LOG}/")]
    checkpoints: dict[int, list[str]] = {}
    commits: list[tuple[int, str]] = []
    for name in names:
        number, _, rest = name.rpartition("/")[2].partition(".")
        if not number.isdigit() or int(number) > version or name.count("/") != 1:
            continue
        if rest.startswith("checkpoint"):
            checkpoints.setdefault(int(number), []).append(name)
        elif rest == "json":
            commits.append((int(number), name))
    begin = max(checkpoints, default=-1)
    for name in sorted(checkpoints.get(begin, ())):
        if not name.endswith(".parquet"):
            raise _refused("a checkpoint of the second kind beside deletionVectors")
        found = pq.ParquetFile(pa.BufferReader(pa.py_buffer(get(name))))
        if "sidecar" in found.schema_arrow.names:
            raise _refused("a checkpoint of the second kind beside deletionVectors")
        for row in found.read(columns=["add"]).column("add").to_pylist():
            if row is not None and row.get("path"):
                yield row["path"], row.get("deletionVector") is not None
    for number, name in sorted(commits):
        if number <= begin:
            continue
        for line in bytes(get(name)).splitlines():
            action = json.loads(line) if line.strip() else {}
            if "add" in action:
                yield action["add"]["path"], action["add"].get("deletionVector") is not None
