"""Results of releases and rollbacks, and the versions of a set as its commits describe them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Release:
    """The result of one release."""

    version: int | None
    """the version that has the changes; None if nothing was ever published"""
    applied: int = 0
    """number of rows that changed the table"""
    superseded: tuple[str, ...] = ()
    """keys refused because a newer listing, a rollback or a retirement came first"""
    already: bool = False
    """whether an earlier call had released this run, so that this call did nothing"""


@dataclass(frozen=True, kw_only=True)
class Rollback:
    """The result of a rollback, or of `Index.resume`."""

    version: int
    """the new version"""
    restored: int | None = None
    """the older version whose rows the new version has"""
    held: bool = False
    """whether runs refuse to publish until ``rollback --resume``"""


@dataclass(frozen=True, kw_only=True)
class VersionInfo:
    """One commit."""

    version: int
    """number of the version; version 0 is the empty table"""
    at: datetime
    """time of the commit, by the writer's clock"""
    operation: str
    """create, release, retire, promote, rollback, hold, resume or forget"""
    run: str | None = None
    """id of the run that made this version"""
    inserted: int = 0
    """number of rows that are new in this version"""
    updated: int = 0
    """number of rows that changed in this version"""
    removed: int = 0
    """number of rows that this version no longer has"""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """texts that the run recorded with the commit"""


def signature_name(version: int) -> str:
    """The name that the signature of a version has below the output."""
    return f"signatures/{version:020d}.json"


_OPERATIONS = {"CREATE TABLE": "create", "MERGE": "release", "RESTORE": "rollback"}


def version_info(entry: Mapping[str, Any]) -> VersionInfo:
    """Make a `VersionInfo` from one entry of a Delta table's history."""
    own = {name.removeprefix("manyfit."): value for name, value in entry.items() if name.startswith("manyfit.")}
    metrics = entry.get("operationMetrics", {})
    done = str(entry.get("operation", "unknown"))
    operation = own.pop("operation", _OPERATIONS.get(done, done.lower()))
    return VersionInfo(
        version=entry["version"],
        at=datetime.fromtimestamp(entry.get("timestamp", 0) / 1000, UTC),
        operation=operation,
        run=own.pop("run", None),
        inserted=int(metrics.get("num_target_rows_inserted", 0)),
        updated=int(metrics.get("num_target_rows_updated", 0)),
        removed=int(metrics.get("num_target_rows_deleted", 0)),
        metadata=own,
    )
