"""One Delta table in an object store: open a version, query it, commit as a compare-and-swap.

Tests of deltalake 1.6.6 showed three things that this module works around:

- ``to_pyarrow_table`` and similar methods abort the interpreter at exit; `QueryBuilder` does not.
- The conflict rules of delta-rs allow an overwrite that was computed before an append. So this module itself creates
  the object of a commit, if it does not exist. Each version is thus computed from the one directly before it.
- Delta would remove old logs and files. Their retention is set to a very long time: only ``gc`` removes anything.
"""

from __future__ import annotations

import json
import logging
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, QueryBuilder, Schema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from job.errors import ConfigurationError, ManyfitError, NotFoundError, OutputError, StoreError
from job.registry.data_file import carried, completed, data_files, opened, removal, slices
from job.registry.forgotten import additions

if TYPE_CHECKING:
    from job.store import Store

T = TypeVar("T")
log = logging.getLogger(__name__)

_FOREVER = "interval 36500 days"
_CHECKPOINT = 10
"""commits from one checkpoint to the next"""
_CONFIGURATION = {
    "delta.logRetentionDuration": _FOREVER,
    "delta.deletedFileRetentionDuration": _FOREVER,
    "delta.enableExpiredLogCleanup": "false",
    "delta.checkpointInterval": str(_CHECKPOINT),
}
_ATTEMPTS = 50
FEW_KEYS = 500  # up to this many keys are looked up by predicate, more by reading the column
_FAILURES = (DeltaError, OSError, pa.ArrowException)


class Table:
    """The Delta table below ``name`` in a store. It holds no handle, so that each use sees the newest version.

    For the columns ``spanned``, the log records the lowest and the highest text of each file.
    """

    def __init__(self, store: Store, name: str, schema: pa.Schema, spanned: Sequence[str] = ()) -> None:
        self._store = store
        self._name = name
        self.schema = schema
        self.files = store.child(name)
        """the store for its files"""
        self.where = f"{store.uri}/{name}"
        self._spanned = spanned

    def open(self, at: int | None = None) -> DeltaTable | None:
        """Open the current version, or version ``at``; None if there is no table yet."""
        _refuse_forked()
        uri, options = self.files.delta()
        try:
            return DeltaTable(uri, version=at, storage_options=options)
        except TableNotFoundError:
            if at is None:
                return None
            raise self._no_version(at) from None
        except _FAILURES as error:
            if at is not None and isinstance(error, DeltaError):
                raise self._no_version(at) from error
            raise self._broken(error) from error

    def create(self) -> DeltaTable:
        """Open the current version, or create the empty table. Another process may create it at the same time."""
        if (table := self.open()) is not None:
            return table
        uri, options = self.files.delta()
        try:
            return DeltaTable.create(
                uri,
                self.schema,
                configuration=_CONFIGURATION,
                storage_options=options,
                commit_properties=CommitProperties({"manyfit.operation": "create"}, max_commit_retries=0),
            )
        except _FAILURES as error:
            if (table := self.open()) is not None:  # another run has created it first
                return table
            raise self._broken(error) from error

    def query(
        self,
        table: DeltaTable,
        columns: Sequence[str],
        keys: Sequence[str] | None = None,
        encoded: Sequence[str] = (),
        at: int | None = None,
    ) -> pa.Table:
        """Read columns of one version: all rows, or the rows of some keys, in no particular order.

        The columns ``encoded`` come dictionary-encoded: texts that repeat then take little memory. ``at`` is the number
        of the version if the caller chose one: then an error says that its files may have been removed.
        """
        wanted = list(dict.fromkeys([*columns, "key"]) if keys is not None else columns)
        where, few = "", None
        if keys is not None and len(keys) > FEW_KEYS:
            few = pa.array(keys, pa.string())
        elif keys is not None:
            if not keys:
                return fields(self.schema, columns, encoded).empty_table()
            where = ' WHERE "key" IN (' + ", ".join("'" + key.replace("'", "''") + "'" for key in keys) + ")"
        batches = []
        for rows in self._batches(table, wanted, encoded, at, where):
            batches.append(rows if few is None else rows.filter(pc.is_in(rows.column("key"), value_set=few)))
        given = fields(self.schema, wanted, encoded)
        return pa.Table.from_batches(batches, given).unify_dictionaries().select(list(columns))

    def slices(self, table: DeltaTable, columns: Sequence[str], encoded: Sequence[str] = ()) -> Iterator[pa.Table]:
        """Read all rows in slices, file by file, so that only a part of them is in memory at a time."""
        self.refuse_unknown(table)
        for path in data_files(table):
            yield from slices(opened(self.files, path, encoded), fields(self.schema, columns, encoded))

    def refuse_unknown(self, table: DeltaTable) -> None:
        """Raise if the table uses Delta features that manyfit does not know, such as deletion vectors.

        Raises
        ------
        OutputError
            Another tool has raised the version of the Delta protocol that a reader needs.
        """
        needed = table.protocol().min_reader_version
        if needed > 1:
            raise OutputError(
                f"{self.where} was changed by another tool: to read it needs version {needed} of the Delta protocol",
                hint="Copy the output without its index and run again, or have the tool undo its change.",
            )

    def _batches(
        self, table: DeltaTable, columns: Sequence[str], encoded: Sequence[str], at: int | None, where: str = ""
    ) -> Iterator[pa.RecordBatch]:
        # A version that an older manyfit has made has fewer columns.
        known = {field.name for field in table.schema().fields}
        present = [name for name in columns if name in known] or ["key"]
        plain, given = fields(self.schema, present), fields(self.schema, columns, encoded)
        chosen = ", ".join(f'"{name}"' for name in present)
        for batch in self._run(f"SELECT {chosen} FROM t{where}", {"t": table}, at):
            rows = batch.cast(plain)  # strings come as string views, which few functions of Arrow accept
            if len(present) < len(columns):
                rows = completed(rows, fields(self.schema, columns)).select(list(columns))
            yield rows.cast(given) if encoded else rows

    def count_missing(self, now: DeltaTable, then: DeltaTable, columns: Sequence[str], *, at: int) -> int:
        """The number of rows of version ``now`` that have no row with equal ``columns`` in the older version ``at``."""
        equal = " AND ".join(f'n."{name}" = o."{name}"' for name in columns)
        (batch,) = self._run(f"SELECT count(*) FROM n LEFT ANTI JOIN o ON {equal}", {"n": now, "o": then}, at)
        return int(batch.column(0)[0].as_py())

    def _run(self, sql: str, tables: Mapping[str, DeltaTable], at: int | None) -> Iterator[pa.RecordBatch]:
        _refuse_forked()
        builder = QueryBuilder()
        for name, table in tables.items():
            builder.register(name, table)
        try:
            yield from pa.RecordBatchReader.from_stream(builder.execute(sql))
        except _FAILURES as error:
            if at is not None and "not found" in str(error):
                raise self._no_version(at) from error
            raise self._broken(error) from error

    def evolution(self, table: DeltaTable) -> list[dict[str, Any]]:
        """The action that adds missing columns to a table of an older manyfit; empty if it has all columns."""
        have = json.loads(table.schema().to_json())
        names = {field["name"] for field in have["fields"]}
        wanted = json.loads(Schema.from_arrow(self.schema).to_json())
        new = [field for field in wanted["fields"] if field["name"] not in names]
        if not new:
            return []
        about = table.metadata()
        return [
            {
                "metaData": {
                    "id": str(about.id),
                    "format": {"provider": "parquet", "options": {}},
                    "schemaString": json.dumps({**have, "fields": have["fields"] + new}),
                    "partitionColumns": about.partition_columns,
                    "configuration": about.configuration,
                    "createdTime": about.created_time,
                }
            }
        ]

    def commits(self, table: DeltaTable, limit: int | None = None) -> list[dict[str, Any]]:
        """The metadata of the commits up to that of ``table``, newest first, each with its ``version``.

        It reads the log without deltalake, for the reason that `append` gives.
        """

        def info(version: int) -> dict[str, Any] | None:
            try:
                body = bytes(self._store.get(f"{self._name}/{_log(version)}"))
            except NotFoundError:
                return None  # another tool has cleaned the log
            lines = (json.loads(line) for line in body.splitlines() if line)
            own: dict[str, Any] = next((line["commitInfo"] for line in lines if "commitInfo" in line), {})
            return {**own, "version": version}

        versions = range(table.version(), -1, -1)[:limit]
        with ThreadPoolExecutor(16) as pool:
            return [found for found in pool.map(info, versions) if found]

    def restore(
        self,
        table: DeltaTable,
        version: int,
        marks: Mapping[str, int],
        about: Mapping[str, str | int],
        forgotten: frozenset[str] = frozenset(),
    ) -> None:
        """Commit a version after ``table`` with the files of an older version, without the rows of ``forgotten`` keys.

        Raises
        ------
        ConfigurationError
            There is no such version, or some of its files have been removed.
        """
        older = self.open(version)
        assert older is not None
        now, then = data_files(table), data_files(older)
        if any(self._store.head(f"{self._name}/{path}") is None for path in then.keys() - now.keys()):
            raise self._no_version(version)
        removed = [removal(path, file["size_bytes"]) for path, file in now.items() if path not in then]
        back = [path for path in then if path not in now]
        if self._spanned:
            added = carried(older, self._spanned, back)
        else:
            added = [each for path in back for each in additions(self.files, path, then[path], forgotten)]
        self.append(table, "RESTORE", marks, about, [*removed, *added])

    def append(
        self,
        table: DeltaTable,
        operation: str,
        marks: Mapping[str, int],
        about: Mapping[str, str | int],
        actions: Sequence[Mapping[str, object]] = (),
        metrics: Mapping[str, int] | None = None,
    ) -> None:
        """Commit actions as the version after that of ``table``; `CommitFailedError` if another writer was first.

        It writes the log without deltalake: the ``restore`` and ``history`` of deltalake hold the interpreter's lock
        during their requests, so that they never end if the server runs in the same process.
        """
        version = table.version() + 1
        info = {
            "timestamp": int(time.time() * 1000),
            "operation": operation,
            "operationParameters": {},
            "operationMetrics": dict(metrics or {}),
            "readVersion": table.version(),
            "engineInfo": "manyfit",
            **{f"manyfit.{name}": str(value) for name, value in about.items()},
        }
        transactions = [{"txn": {"appId": name, "version": number}} for name, number in marks.items()]
        lines = [{"commitInfo": info}, *transactions, *actions]
        body = "\n".join(json.dumps(line) for line in lines).encode()
        if not self._store.create(f"{self._name}/{_log(version)}", body):
            raise CommitFailedError(f"version {version} exists")
        if version % _CHECKPOINT == 0:
            self._checkpoint(version)

    def _checkpoint(self, version: int) -> None:
        """Write a checkpoint of the log, so that opening the table takes few requests. A failure only warns."""
        try:
            if (table := self.open(version)) is not None:
                table.create_checkpoint()
        except (ManyfitError, *_FAILURES) as error:
            log.warning("no checkpoint of version %d of %s: %s", version, self.where, error)

    def retried(self, attempt: Callable[[DeltaTable], T]) -> T:
        """Call ``attempt`` with the newest version, again after each conflict, until its commit succeeds.

        ``attempt`` must check whether an earlier try has succeeded whose answer was lost.
        """
        last: Exception | None = None
        for count in range(_ATTEMPTS):
            if count:
                time.sleep(random.uniform(0, min(2.0, 0.02 * 2**count)))
            try:
                return attempt(self.create())
            except CommitFailedError as error:
                last = error
            except _FAILURES as error:
                if count >= 4:
                    raise self._broken(error) from error
                last = error
        raise OutputError(
            f"could not publish to {self.where}: {_ATTEMPTS} times another writer was first ({last})",
            hint="Wait until its other runs have ended, then run again: finished partitions are taken over.",
        )

    def _no_version(self, at: int) -> ConfigurationError:
        return ConfigurationError(
            f"{self.where} has no version {at}, or it is no longer kept",
            hint="`manyfit history` lists the versions.",
        )

    def _broken(self, error: Exception) -> OutputError:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return OutputError(
            f"cannot use the table at {self.where}: {first}", hint="Check that the output storage can be reached."
        )


_used_by: int | None = None
"""The id of the process that used deltalake first."""


def _refuse_forked() -> None:
    """Raise an ordinary error in a forked process, where deltalake would panic, as its threads are not in the fork."""
    global _used_by
    if _used_by is None:
        _used_by = os.getpid()
    if _used_by != os.getpid():
        raise StoreError(
            "the published table was read before this process was forked, and cannot be read on this side",
            hint="Open the set in the processes that use it (gunicorn: without preload_app), or start them by spawn or "
            "forkserver (multiprocessing.get_context).",
        )


def _log(version: int) -> str:
    return f"_delta_log/{version:020d}.json"


def fields(schema: pa.Schema, columns: Sequence[str], encoded: Sequence[str] = ()) -> pa.Schema:
    """The fields ``columns`` of a schema, in this order; the ``encoded`` ones as dictionaries."""
    chosen = [schema.field(name) for name in columns]
    return pa.schema(
        [field.with_type(pa.dictionary(pa.int32(), field.type)) if field.name in encoded else field for field in chosen]
    )
