"""Marks of versions of the published table, stored as application transactions: fences, holds, followed rollbacks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from job.errors import ConfigurationError
from job.registry import forgotten
from job.registry.delta_log import Table
from job.registry.derived import TABLE
from job.registry.row import latest_credible, micros

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from job.store import Store

FENCE, RETIRED, HOLD, RESUME = "manyfit/fence", "manyfit/retired", "manyfit/hold", "manyfit/resume"
FOLLOWED = "manyfit/followed"
"""the last rollback of the predictions that the index has followed, by the number of its commit"""
REPLACES = "manyfit/replaces"
"""predictions whose parts are ranges (``output.mode: replace``), by the number of the commit that made them so"""


def is_held(table: DeltaTable) -> bool:
    """Whether a rollback holds this version."""
    # RESUME is looked up only after a hold, because each look-up reads the log since the last checkpoint again.
    return (hold := table.transaction_version(HOLD) or 0) > 0 and hold > (table.transaction_version(RESUME) or 0)


def fence_of(table: DeltaTable, name: str, credible: int) -> int:
    """A fence of this version, in microseconds since the epoch; 0 if there is none or it is after ``credible``."""
    moment = table.transaction_version(name) or 0
    return moment if moment <= credible else 0


def confirmed(store: Store, version: int) -> datetime | None:
    """The time at which the last complete release up to ``version`` listed the input; None if there is none.

    That release confirms all keys except those that are gone.
    """
    table = Table(store, "index", TABLE).open(version)
    moment = 0 if table is None else fence_of(table, FENCE, latest_credible(store.now()))
    return datetime.fromtimestamp(moment / 1e6, UTC) if moment else None


def hold(store: Store, at: int | None = None, mark: int | None = None) -> int:
    """Hold the output without going back: commit a version of the index with the same rows. Nothing if it is held.

    Parameters
    ----------
    store
        The output.
    at
        The version that is to be held; None: the current one.
    mark
        The commit of the predictions that the hold follows, once; None for a set of models.

    Returns
    -------
    int
        The version that is held.

    Raises
    ------
    ConfigurationError
        Nothing is published, or the current version is another one.
    """
    index = Table(store, "index", TABLE)

    def attempt(table: DeltaTable) -> int:
        current = int(table.version())
        if current < 1 or (at is not None and current != at):
            raise ConfigurationError(
                f"cannot hold version {at or 1}: {store.uri} is at version {current}",
                hint="`manyfit history` lists the versions; `manyfit rollback` goes back to an older one.",
            )
        followed = mark is not None and (table.transaction_version(FOLLOWED) or 0) >= mark
        if followed or is_held(table):
            return current
        marked = {HOLD: current + 1, **({} if mark is None else {FOLLOWED: mark})}
        index.append(table, "HOLD", marked, {"operation": "hold"})
        return current + 1

    return index.retried(attempt)


def follow(store: Store, mark: int, version: int, *, hold: bool = False) -> None:
    """Roll the index back to ``version`` once, because commit ``mark`` has rolled the predictions back."""
    index = Table(store, "index", TABLE)

    def attempt(table: DeltaTable) -> None:
        if (table.transaction_version(FOLLOWED) or 0) < mark:
            about: dict[str, str | int] = {"operation": "rollback", "restored": version}
            made = {FOLLOWED: mark, FENCE: micros(store.now()), **({HOLD: table.version() + 1} if hold else {})}
            index.restore(table, version, made, about, forgotten.since(store, version))

    index.retried(attempt)
