"""The table of predictions at ``<output>/predictions``: a Delta table.

The predictions decide what is published: a run releases all its parts in one commit, with its id as application
transaction. The rows of the index and of the errors follow. They come from the files that the run has recorded before
that commit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from job.errors import ConfigurationError, NotFoundError, OutputError
from job.registry import forgotten, marks
from job.registry.data_file import addition, data_files, removal, spans
from job.registry.delta_log import Table
from job.registry.history import VersionInfo, version_info
from job.registry.index import Index
from job.score import columns, generation, part
from job.score.generation import Held

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from job.store import Store


@dataclass(frozen=True, kw_only=True)
class Released:
    """The result of a release."""

    version: int | None
    """the version of the predictions that has the run's parts"""
    name: str
    """the application transaction of the release (`name_of`)"""
    already: bool = False
    """whether the run had been released before"""
    plan: str | None = None
    """the plan of the driver that released the run"""


@dataclass(frozen=True, kw_only=True)
class PartFile:
    """A part that the store has acknowledged."""

    digest: str
    size: int
    rows: int
    first: str | None = None
    """its lowest key; None if keys of other parts lie between its own keys"""
    last: str | None = None
    schema: pa.Schema | None = None

    def addition(self) -> dict[str, Any]:
        """The action that adds the part to the table."""
        known = {} if self.first is None or self.last is None else {"_key": (self.first, self.last)}
        return addition(part.path(self.digest), self.size, self.rows, known)


class Predictions:
    """The predictions of one output.

    Parameters
    ----------
    store
        The output's root.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def _table(self, schema: pa.Schema = columns.OURS) -> Table:
        return Table(self.store, part.FOLDER, schema, spanned=["_key"])

    def version(self) -> int | None:
        """The number of the current version; None if there are no predictions."""
        table = self._table().open()
        return None if table is None else table.version()

    def schema(self, at: int | None = None) -> pa.Schema | None:
        """The schema of the table; None if there are no predictions."""
        table = self._table().open(at)
        return None if table is None else _arrow(table)

    def files(self, version: int | None = None) -> dict[str, dict[str, int]]:
        """The parts of a version: ``size_bytes`` and ``num_records`` for each name below ``predictions/``."""
        table = self._table().open(version)
        return {} if table is None else data_files(table)

    def held(self, version: int | None) -> list[Held] | None:
        """The parts of a version in the order of their keys; None if they are no ranges: a key may be in several parts.

        They are ranges in a table that was written with ``output.mode: replace`` alone.

        Raises
        ------
        OutputError
            Another tool has written to the table.
        """
        table = self._table().open(version)
        if table is None:
            return []
        spanned = spans(table, "_key")
        files = data_files(table)
        if foreign := sorted(path for path in files if not path.startswith("parts/")):
            raise OutputError(
                f"{foreign[0]} of {self.store.uri}/{part.FOLDER} was not written by manyfit",
                hint="Roll back to a version before (`manyfit rollback`), or give the predictions another output.",
            )
        if len(spanned) < len(files) or not generation.apart(list(spanned.values())):
            return None
        found = [
            Held(path=path, size=file["size_bytes"], rows=file["num_records"], first=first, last=last)
            for path, file in files.items()
            for first, last in (spanned[path],)
        ]
        return sorted(found, key=lambda each: each.first)

    def replaces(self, version: int | None) -> bool:
        """Whether a run with ``output.mode: replace`` has released up to this version: then no run may append."""
        table = self._table().open(version)
        return table is not None and table.transaction_version(marks.REPLACES) is not None

    def history(self, limit: int | None = None) -> list[VersionInfo]:
        """The commits of the table, newest first; at most ``limit``."""
        table = self._table().open()
        return [] if table is None else [version_info(each) for each in self._table().commits(table, limit)]

    def index_of(self, version: int) -> int:
        """The version of the index that belongs to a version: its own number, unless the output holds predictions."""
        if not (versions := self.history()):
            return version
        found = self._index_of(next((each for each in versions if each.version == version), None))
        if found is None:
            raise ConfigurationError(
                f"{self.store.uri} has no version {version}, or nothing is known of its keys any more",
                hint="`manyfit history` lists the versions.",
            )
        return found

    def newest(self) -> VersionInfo | None:
        """The newest commit; None if there are no predictions."""
        return next(iter(self.history(1)), None)

    def release(
        self,
        parts: Sequence[PartFile],
        schema: pa.Schema,
        *,
        run: str,
        plan: str,
        base: int | None,
        metadata: Mapping[str, str],
        inserted: int | None = None,
        removed: Sequence[Held] = (),
        replaces: bool = False,
    ) -> Released:
        """Add the parts of a run, and remove others, in one commit.

        Parameters
        ----------
        parts
            The parts to add. The store must have acknowledged each of them.
        schema
            All columns of the parts.
        run, plan
            Ids of the run and of its plan. A second release of a run does nothing. A release without any part is one of
            the plan alone: if the run is started again, it may have parts (`name_of`).
        base
            The version for which the run was planned. If another run has released since, the rows may be the same.
        metadata
            Texts that are recorded with the commit.
        inserted
            Number of rows of the parts that are new; None: all.
        removed
            Parts that leave the table.
        replaces
            Whether the parts of the new version are ranges, and shall stay so (`replaces`).

        Raises
        ------
        OutputError
            Another run has released since ``base``; nothing is published.
        """

        name = run if parts or removed else f"{run}/{plan}"

        def attempt(_: DeltaTable) -> Released:
            table = self._table().open()
            assert table is not None
            if (done := table.transaction_version(name)) is not None:
                entries = [each for each in self.history() if each.version == done]
                return Released(version=done, name=name, already=True, plan=str(entries[0].metadata.get("plan")))
            refuse_another(self.store, table, base)
            wide = self._table(columns.union([_arrow(table), schema]))
            actions = [removal(each.path, each.size) for each in removed] + [each.addition() for each in parts]
            marked = {marks.REPLACES: table.version() + 1} if replaces and not self.replaces(table.version()) else {}
            rows = sum(each.rows for each in parts)
            new = rows if inserted is None else inserted
            gone = sum(each.rows for each in removed) - (rows - new)
            about = {**metadata, "operation": "release", "run": run, "plan": plan, "transaction": name}
            wide.append(
                table,
                "WRITE",
                {name: table.version() + 1, **marked},
                about,
                [*wide.evolution(table), *actions],
                {"num_target_rows_inserted": new, **({"num_target_rows_deleted": gone} if removed else {})},
            )
            return Released(version=table.version() + 1, name=name)

        return self._table(columns.union([schema])).retried(attempt)

    def rollback(self, version: int, *, hold: bool = False, base: int | None = None) -> VersionInfo:
        """Commit a new version with exactly the rows of an older one, and roll the index back to the version with it.

        Parameters
        ----------
        version
            A version of `history`.
        hold
            Whether runs refuse to publish until ``rollback --resume``.
        base
            The current version, which the index knows; None: any. If a run has released since, the index may not know
            of it yet, and what it would be told later belongs to predictions that are gone.

        Raises
        ------
        ConfigurationError
            There is no such version, or it is the current one.
        OutputError
            Another run has released since ``base``; nothing is changed.
        """
        entry = next((each for each in self.history() if each.version == version), None)
        index = self._index_of(entry)

        def attempt(_: DeltaTable) -> int:
            table = self._table().open()
            assert table is not None
            if base is not None:
                refuse_another(self.store, table, base, "rolled back")
            if index is None or not 1 <= version < table.version():
                raise ConfigurationError(
                    f"cannot roll back to version {version}: {self.store.uri} is at version {table.version()}",
                    hint="`manyfit history` lists the versions.",
                )
            about: dict[str, str | int] = {"operation": "rollback", "restored": version, "index": index}
            about["hold"] = str(hold)
            self._table().restore(table, version, {}, about)
            return int(table.version()) + 1

        if entry is None:
            raise ConfigurationError(
                f"{self.store.uri} has no version {version}", hint="`manyfit history` lists the versions."
            )
        if index is not None and any(
            self.store.head(f"index/{name}") is None for name in Index(self.store).files(index)
        ):
            raise ConfigurationError(
                f"cannot roll back to version {version}: gc has removed what was known of its keys",
                hint="`manyfit history` lists the versions.",
            )
        made = self._table().retried(attempt)
        assert index is not None
        marks.follow(self.store, made, index, hold=hold)
        return next(each for each in self.history() if each.version == made)

    def hold(self, base: int | None = None) -> int:
        """Hold the output without going back: a commit with the same rows, so that a run at work publishes nothing.

        See `job.registry.marks.hold`, which the index follows with. ``base`` is as in `rollback`.
        """
        index = Index(self.store)
        if index.held():
            return self.version() or 0
        known = index.version() or 0

        def attempt(_: DeltaTable) -> int:
            table = self._table().open()
            current = 0 if table is None else int(table.version())
            if table is None or current < 1:
                raise ConfigurationError(
                    f"cannot hold version 1: {self.store.uri} is at version {current}",
                    hint="`manyfit history` lists the versions.",
                )
            if base is not None:
                refuse_another(self.store, table, base, "held")
            self._table().append(table, "HOLD", {}, {"operation": "hold", "index": known})
            return current + 1

        made = self._table().retried(attempt)
        marks.hold(self.store, mark=made)
        return made

    def _index_of(self, entry: VersionInfo | None) -> int | None:
        """The version of the index that belongs to a commit of the predictions; None if there is none."""
        if entry is None:
            return None
        made = Index(self.store).released(name_of(entry)) if entry.run else None
        known = entry.metadata.get("index")  # of what manyfit commits without a run, and of a forget
        return made if made is not None or known is None else int(known)

    def damaged(self, at: int | None = None) -> Iterator[tuple[str, str]]:
        """Re-read every part of a version. Yields the name of each damaged part, and the problem.

        A part that ``forget`` has removed on purpose is not reported.
        """
        removed = {each for record in forgotten.every(self.store).values() for each in record.parts}
        for name, file in self.files(at).items():
            try:
                data = self.store.get(f"{part.FOLDER}/{name}")
            except NotFoundError:
                if name not in removed:
                    yield name, "is missing"
                continue
            if name != part.path(hashlib.sha256(data).hexdigest()):
                yield name, "has not the bytes that its name promises"
            elif pq.ParquetFile(pa.BufferReader(data)).metadata.num_rows != file["num_records"]:
                yield name, "has another number of rows than the table says"


def name_of(release: VersionInfo) -> str:
    """The application transaction of a release, in the predictions and in the index: its run, or one plan of it."""
    return str(release.metadata.get("transaction", release.run))


def refuse_another(store: Store, table: DeltaTable, base: int | None, done: str = "") -> None:
    """Raise OutputError if another run has released since the version ``base``; ``done`` is what a command would do."""
    if table.version() != (base or 0):
        found = f"another run released to {store.uri}"
        if done:
            raise OutputError(f"{found} at this moment: nothing was {done}", hint="Call it again.")
        raise OutputError(
            f"{found} while this one was at work: nothing was published",
            hint="Run again: what is finished is taken over, but for what the other run has scored.",
        )


def _arrow(table: DeltaTable) -> pa.Schema:
    return pa.schema([_plain(field) for field in pa.schema(table.schema().to_arrow())])


def _plain(field: Any) -> pa.Field:
    return pa.field(field.name, columns.plain(field.type))
