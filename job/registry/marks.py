"""Marks that versions of the published table carry, as application transactions: fences, holds, what was followed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from job.registry import forgotten
from job.registry.delta_log import Table
from job.registry.derived import TABLE
from job.registry.row import latest_credible, micros

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from job.store import Store

FENCE, RETIRED, HOLD, RESUME = "manyfit/fence", "manyfit/retired", "manyfit/hold", "manyfit/resume"
FOLLOWED = "manyfit/followed"
"""the last commit of the predictions beside it whose going back was done here, too"""


def is_held(table: DeltaTable) -> bool:
    """Whether a rollback holds this version."""
    # The second question only after a hold: each of them reads the log since its last checkpoint again.
    return (hold := table.transaction_version(HOLD) or 0) > 0 and hold > (table.transaction_version(RESUME) or 0)


def fence_of(table: DeltaTable, name: str, credible: int) -> int:
    """A fence of this version; 0 if there is none, or one that a clock which was ahead has put into the future."""
    moment = table.transaction_version(name) or 0
    return moment if moment <= credible else 0


def confirmed(store: Store, version: int) -> datetime | None:
    """When the last complete release up to a version listed the input: it confirms all keys but gone ones."""
    table = Table(store, "index", TABLE).open(version)
    moment = 0 if table is None else fence_of(table, FENCE, latest_credible(store.now()))
    return datetime.fromtimestamp(moment / 1e6, UTC) if moment else None


def follow(store: Store, mark: int, version: int, *, hold: bool = False) -> None:
    """Go back to the rows of ``version``, once, since the predictions went back by their commit ``mark``."""
    index = Table(store, "index", TABLE)

    def attempt(table: DeltaTable) -> None:
        if (table.transaction_version(FOLLOWED) or 0) < mark:
            about: dict[str, str | int] = {"operation": "rollback", "restored": version}
            made = {FOLLOWED: mark, FENCE: micros(store.now()), **({HOLD: table.version() + 1} if hold else {})}
            index.restore(table, version, made, about, forgotten.since(store, version))

    index.retried(attempt)
