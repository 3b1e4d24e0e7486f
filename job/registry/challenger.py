"""Publish by hand a challenger that the gate kept back: its new row, and the check of its file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from job.errors import ConfigurationError, DamageError
from job.keys import model_name
from job.outcome import champion_token
from job.registry.row import LIVE, PUT, TOUCHED, changes

if TYPE_CHECKING:
    from job.store import Store

_COMPARED = (*TOUCHED, "bytes")
"""Columns that already describe the challenger: the action ``keep`` has set them."""
_GATE = ("gate_champion", "gate_challenger", "gate_gain", "gate_rows", "gate_p")


def promoted(rows: Iterable[Mapping[str, Any]], wanted: Iterable[str], now: datetime) -> pa.Table:
    """The changes that make the challengers of some keys their live models.

    Parameters
    ----------
    rows
        The published rows of the keys.
    wanted
        The keys.
    now
        The time by the store's clock. Runs that listed their input earlier do not undo the promotion.

    Raises
    ------
    ConfigurationError
        A key is not published, or has no challenger.
    """
    published = {row["key"]: row for row in rows}
    unknown = sorted(set(wanted) - published.keys())
    if unknown:
        raise ConfigurationError(
            f"{_shown(unknown)} not published", hint="`manyfit models` lists the published keys; nothing was changed."
        )
    without = sorted(key for key, row in published.items() if row["challenger"] is None)
    if without:
        raise ConfigurationError(
            f"no challenger of {_shown(without)} was kept back: nothing was changed",
            hint="`manyfit models OUTPUT --where gate=kept` lists the keys that have one.",
        )
    return changes(_row(row, now) for row in published.values())


def refuse_missing(store: Store, rows: pa.Table) -> None:
    """Check that each model file that the changes name exists.

    Raises
    ------
    DamageError
        A model file is missing, or has another size.
    """
    for row in rows.select(["key", "digest", "size"]).to_pylist():
        info = store.head(model_name(row["key"], row["digest"]))
        if info is None or info.size != row["size"]:
            raise DamageError(
                f"the challenger of {row['key']!r} is not there any more: nothing was changed",
                hint="Train the key again, with another recipe.version.",
            )


def _row(row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    kept = json.loads(row["challenger_row"])
    trained_at = datetime.fromtimestamp(kept.pop("finished_at"), tz=now.tzinfo)
    return {
        "key": row["key"],
        "action": PUT,
        "state": LIVE,
        "listed_at": now,
        "against": champion_token(row["digest"], row["judged_until"]),
        **{name: row[name] for name in (*_COMPARED, *_GATE)},
        **kept,
        "trained_at": trained_at,
        "gate": "promoted",
        "gate_note": "by hand",
    }


def _shown(keys: list[str]) -> str:
    return ", ".join(map(repr, keys[:5])) + (" …" if len(keys) > 5 else "")
