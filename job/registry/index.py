"""The published table: one row per key, in a Delta table at ``<output>/index``; a release is one atomic commit.

`job.run.run` reads it to plan and releases into it; `ModelSet`, ``models``, ``show``, ``history``, ``rollback``,
``retire``, ``verify`` and ``gc`` read it. It never touches a model file.

To publish, a run passes one `CHANGES` table, which has only the keys for which something changed. `job.registry.row`
describes its columns and its actions (put, touch, keep, gone, retire)::

    rows = index.changes([{"key": "Rwanda", "action": "put", "state": "live", "listed_at": at, "digest": digest, ...},
                          {"key": "Zaire", "action": "gone", "listed_at": at}])
    released = Index(store).release(rows, run=run_id, complete=listing_was_unfiltered, metadata={"trained": "142"})
    released.version, released.applied, released.superseded

A run in which nothing changed commits nothing and gets the current version. Each commit is a compare-and-swap on the
version from which it was computed. After a conflict or a lost answer the release reads the table again. If the run's id
is among the table's application transactions, the release is done, and the number of that transaction is the version
that the run made. Else the rows are merged again. Holds and fences are such transactions too.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from job.errors import ConfigurationError, HeldError
from job.registry import forgotten
from job.registry.challenger import promoted, refuse_missing
from job.registry.data_file import data_files
from job.registry.delta_log import FEW_KEYS, Table, fields
from job.registry.derived import TABLE
from job.registry.history import Release, Rollback, VersionInfo, version_info
from job.registry.marks import FENCE, HOLD, RESUME, RETIRED, fence_of, is_held
from job.registry.merge import merge
from job.registry.row import (
    CHANGES,
    FAILED,
    GONE,
    KEEP,
    LIVE,
    PUT,
    RETIRE,
    ROW,
    SKIPPED,
    STALE,
    TOUCH,
    Decision,
    Fences,
    changes,
    checked,
    contested_keys,
    decide,
    latest_credible,
    micros,
    touched_keys,
)

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from job.store import Store

# Callers of the index import the names of its rows and results from this module.
# fmt: off
__all__ = ["CHANGES", "FAILED", "GONE", "KEEP", "LIVE", "PUT", "RETIRE", "ROW", "SKIPPED", "STALE", "TOUCH",
           "Index", "Release", "Rollback", "VersionInfo", "changes"]
# fmt: on

log = logging.getLogger(__name__)


class Index:
    """The table of one output.

    Parameters
    ----------
    store
        The output's root.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._table = Table(store, "index", TABLE)

    # ---- reading

    def version(self) -> int | None:
        """The number of the current version; None if nothing has been published."""
        table = self._table.open()
        return (table.version() or None) if table is not None else None

    def read(
        self,
        *,
        columns: Sequence[str] | None = None,
        at: int | None = None,
        keys: Sequence[str] | None = None,
        encoded: Sequence[str] = (),
    ) -> pa.Table:
        """Read rows of the current version or of version ``at``, in no particular order; empty if none are published.

        Parameters
        ----------
        columns
            Columns of `ROW` to read, in this order; default all.
        at
            A version number of `history`.
        keys
            Only rows of these keys. Keys that are not in the table are ignored; default all rows.
        encoded
            Columns that come dictionary-encoded: texts that repeat (``recipe``, ``versions``) then take little memory.

        Raises
        ------
        ConfigurationError
            There is no version ``at``, or it has been removed by ``gc``.
        """
        names = ROW.names if columns is None else list(columns)
        if (keys is not None and not keys) or (table := self._table.open(at)) is None:
            return fields(ROW, names, encoded).empty_table()
        return self._table.query(table, names, keys, encoded, at)

    def slices(self, *, columns: Sequence[str], encoded: Sequence[str] = ()) -> Iterator[pa.Table]:
        """Read all rows of the current version, like `read`, but in slices."""
        table = self._table.open()
        return iter(()) if table is None else self._table.slices(table, columns, encoded)

    def history(self, limit: int | None = None) -> list[VersionInfo]:
        """The commits of the table, newest first; at most ``limit``."""
        table = self._table.open()
        return [] if table is None else [version_info(entry) for entry in self._table.commits(table, limit)]

    def released(self, run: str) -> int | None:
        """The version that a run committed; None if it did not commit, also because nothing had changed."""
        table = self._table.open()
        return None if table is None else table.transaction_version(run)

    def files(self, version: int) -> list[str]:
        """The names, below ``index/``, of the data files of a version."""
        table = self._table.open(version)
        assert table is not None
        return sorted(data_files(table))

    def held(self) -> bool:
        """Whether a rollback holds the output: then runs refuse to publish until `resume`."""
        return (table := self._table.open()) is not None and is_held(table)

    def differing(self, version: int) -> int:
        """The number of keys whose fingerprints differ from ``version``: a rollback makes the next run train them."""
        now, then = self._table.open(), self._table.open(version)
        if now is None or then is None:
            return 0
        return self._table.count_missing(now, then, ["key", "data", "recipe", "environment"], at=version)

    # ---- writing

    def release(
        self,
        rows: pa.Table,
        *,
        run: str,
        complete: bool = False,
        metadata: Mapping[str, str] | None = None,
        in_order: bool = False,
    ) -> Release:
        """Publish a run's changes in one commit; the module's docstring tells what the rows mean.

        Parameters
        ----------
        rows
            With `CHANGES`, or with `ROW` (then every row is a ``put``). No key occurs twice.
        run
            The run's id. A second release with the same id does nothing and returns the version of the first.
            With another name of a run in ``metadata``, it is the id of this commit alone.
        complete
            Whether the listing was unfiltered: then the release confirms all keys that ``rows`` does not have.
        metadata
            Texts that are recorded with the commit, for `history`.
        in_order
            Whether other commits keep the order, as those of predictions do: then no time of a listing refuses a row.

        Raises
        ------
        HeldError
            A rollback holds the output.
        """
        return self._publish(checked(rows), run=run, complete=complete, metadata=metadata, in_order=in_order)

    def retire(self, keys: Iterable[str], *, run: str | None = None) -> Release:
        """Remove keys from the set, also while the output is held. They stay in older versions until ``gc``.

        Raises
        ------
        ConfigurationError
            A key is not in the table.
        """
        wanted = sorted(set(keys))
        known = set(self.read(columns=["key"], keys=wanted).column("key").to_pylist())
        if unknown := [key for key in wanted if key not in known]:
            shown = ", ".join(map(repr, unknown[:5])) + (" …" if len(unknown) > 5 else "")
            raise ConfigurationError(
                f"{len(unknown)} of the keys to retire are not published: {shown}",
                hint="`manyfit models` lists the published keys; nothing was retired.",
            )
        now = self.store.now()
        name = run or f"retire-{now:%Y%m%dT%H%M%S}-{random.getrandbits(32):08x}"
        rows = changes({"key": key, "listed_at": now, "action": RETIRE} for key in wanted)
        return self._publish(rows, run=name, operation="retire")

    def forget(self, rows: pa.Table, *, run: str) -> Release:
        """Remove keys from the set for ``manyfit forget``. ``rows`` retire them; ``run`` is the id of the commit."""
        return self._publish(rows, run=run, operation="forget", in_order=True)

    def promote(self, keys: Iterable[str], *, run: str | None = None) -> Release:
        """Make the challengers of some keys their live models, also while the output is held.

        Raises
        ------
        ConfigurationError
            A key is not published, has no challenger, or was changed meanwhile.
        DamageError
            The file of a challenger no longer exists.
        """
        wanted = sorted(set(keys))
        now = self.store.now()
        rows = promoted(self.read(keys=wanted).to_pylist(), wanted, now)
        refuse_missing(self.store, rows)
        name = run or f"promote-{now:%Y%m%dT%H%M%S}-{random.getrandbits(32):08x}"
        done = self._publish(checked(rows), run=name, operation="promote")
        if done.superseded:
            raise ConfigurationError(
                f"{done.superseded[0]!r} was changed by another run meanwhile",
                hint="Look at it again: `manyfit show OUTPUT KEY`.",
            )
        return done

    def rollback(self, version: int, *, hold: bool = False) -> Rollback:
        """Commit a new version with exactly the rows of an older one. A rollback can itself be rolled back.

        Runs that listed their input earlier than the rollback are superseded. With ``hold``, no run publishes until
        `resume`.

        Raises
        ------
        ConfigurationError
            There is no such version, it is the current one, or ``gc`` has removed it.
        """
        now = self.store.now()
        fence = micros(now)

        def attempt(table: DeltaTable) -> Rollback:
            current = table.version()
            if not 1 <= version < current:
                raise ConfigurationError(
                    f"cannot roll back to version {version}: {self._table.where} is at version {current}",
                    hint="`manyfit history` lists the versions.",
                )
            marks = {FENCE: max(fence, fence_of(table, FENCE, latest_credible(now)))}
            if hold:
                marks[HOLD] = current + 1
            gone = forgotten.since(self.store, version)
            self._table.restore(table, version, marks, {"operation": "rollback", "restored": version}, gone)
            return Rollback(version=current + 1, restored=version, held=hold or is_held(table))

        return self._table.retried(attempt)

    def resume(self) -> Rollback:
        """End a hold, so that runs publish again: commits a version with the same rows. Does nothing if not held."""

        def attempt(table: DeltaTable) -> Rollback:
            number = table.version() + is_held(table)
            if is_held(table):
                self._table.append(table, "RESUME", {RESUME: number}, {"operation": "resume"})
            return Rollback(version=number)

        return self._table.retried(attempt)

    def _publish(
        self,
        rows: pa.Table,
        *,
        run: str,
        operation: str = "release",
        complete: bool = False,
        metadata: Mapping[str, str] | None = None,
        in_order: bool = False,
    ) -> Release:
        if not rows.num_rows:
            return Release(version=self.version())

        def attempt(table: DeltaTable) -> Release:
            base = table.version()
            credible = 0 if in_order else latest_credible(self.store.now())  # 0: no published time counts
            if (done := table.transaction_version(run)) is not None:
                return self._recorded(done, rows, credible)
            if operation == "release" and is_held(table):
                raise HeldError(
                    f"a rollback holds {self._table.where}: nothing is published",
                    hint="`manyfit rollback OUTPUT --resume` ends it; what has been trained is taken over then.",
                )
            decision = self._decide(table, rows, credible)
            if not decision.effective.num_rows:
                return Release(version=base or None, superseded=decision.superseded)
            listed = micros(pc.max(decision.effective.column("listed_at")).as_py())
            marks = {run: base + 1}
            if complete:
                marks[FENCE] = max(listed, fence_of(table, FENCE, credible))
            if pc.any(pc.equal(decision.effective.column("action"), RETIRE)).as_py():
                marks[RETIRED] = max(listed, fence_of(table, RETIRED, credible))
            if decision.disbelieved and not in_order:
                log.warning(
                    "%s rows in %s were listed in the future: the clock of the machine that published them was ahead. "
                    "They are replaced all the same",
                    f"{decision.disbelieved:,}",
                    self._table.where,
                )
            about = {"run": run, **(metadata or {}), "operation": operation}
            merge(self._table, table, decision.effective, marks, about, credible)
            return Release(version=base + 1, applied=decision.effective.num_rows, superseded=decision.superseded)

        return self._table.retried(attempt)

    def _recorded(self, done: int, rows: pa.Table, credible: int) -> Release:
        """Compute again the result of the release that made version ``done``, from the version before it."""
        before = self._table.open(done - 1)
        assert before is not None
        decision = self._decide(before, rows, credible)
        return Release(version=done, applied=decision.effective.num_rows, superseded=decision.superseded, already=True)

    def _decide(self, table: DeltaTable, rows: pa.Table, credible: int) -> Decision:
        """Decide which rows apply to the version ``table``. The commit is a compare-and-swap on the same version."""
        keys = rows.column("key").to_pylist() if rows.num_rows <= FEW_KEYS else None
        current = self._table.query(table, ["key", "listed_at", "gone_since"], keys)
        fences = Fences(
            everything=fence_of(table, FENCE, credible),
            insertions=fence_of(table, RETIRED, credible),
            credible=credible,
        )
        touched = touched_keys(rows)
        models = None
        if touched:
            chosen = self._table.query(table, ["key", "digest", "content", "recipe", "environment"], touched)
            models = chosen.filter(pc.is_valid(chosen.column("digest")))
        contested = contested_keys(rows)
        champions = self._table.query(table, ["key", "digest", "judged_until"], contested) if contested else None
        return decide(rows, current, fences, models, champions)
