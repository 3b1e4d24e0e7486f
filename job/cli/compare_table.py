"""Two versions of the set, key by key: what changed, and each metric then and now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from rich.table import Table

from job.cli import models_table, screens
from job.errors import ConfigurationError

if TYPE_CHECKING:
    from job.store import Store

CHANGES = {
    "new": "only now",
    "gone": "only then",
    "model": "another model",
    "predictions": "other predictions",
    "kept": "the gate kept the model, and has judged since",
    "state": "the same model in another state",
    "same": "the same model",
}
"""The changes of a key between two versions, each in words."""


def read(output: Store, *, now: int | None, then: int | None) -> pd.DataFrame:
    """Compare two versions: all keys of both.

    Parameters
    ----------
    output
        The store of the output.
    now
        The version to look at; default: the current one.
    then
        The version to compare it with; default: the one before the current one.

    Returns
    -------
    pandas.DataFrame
        One row for each key, sorted by ``key``: ``change``, ``state_then``, ``state_now``, and for each metric of both
        versions ``<metric>_then``, ``<metric>_now`` and ``<metric>_change``. A skill counts as a metric.

    Raises
    ------
    ConfigurationError
        There is no such version, or no older one to compare with.
    """
    from job.registry.index import Index
    from job.registry.predictions import Predictions

    current = now if now is not None else Predictions(output).version() or Index(output).version()
    older = then if then is not None else (current or 0) - 1
    if current is None or older < 1:
        raise ConfigurationError(
            f"{output.uri} has no version to compare with", hint="Give two of `manyfit history`: --at A --with B."
        )
    sides = [models_table.read(output, at=version) for version in (older, current)]
    metrics = [name for name in models_table.metrics_of(sides[1]) if name in models_table.metrics_of(sides[0])]
    if any(side["skill"].notna().any() for side in sides):
        metrics.insert(0, "skill")
    columns = ["key", "state", "digest", "gate", "listed_at", *metrics]
    found = sides[0][columns].merge(sides[1][columns], on="key", how="outer", suffixes=("_then", "_now"))
    changes = _changes(found)
    if Predictions(output).version() is not None:
        changes = np.where(changes == "model", "predictions", changes)
    shown = pd.DataFrame({"key": found["key"], "change": changes})
    for name in ("state", *metrics):
        shown[f"{name}_then"], shown[f"{name}_now"] = found[f"{name}_then"], found[f"{name}_now"]
        if name != "state":
            shown[f"{name}_change"] = found[f"{name}_now"].astype(float) - found[f"{name}_then"].astype(float)
    return shown.sort_values("key", ignore_index=True)


def _changes(found: pd.DataFrame) -> np.ndarray:
    other = found["digest_then"].fillna("") != found["digest_now"].fillna("")
    judged = (found["listed_at_then"] != found["listed_at_now"]) & (found["gate_now"] == "kept")
    choices = [found["state_then"].isna(), found["state_now"].isna(), other, judged]
    choices.append(found["state_then"] != found["state_now"])
    return np.select(choices, ["new", "gone", "model", "kept", "state"], "same")


def summary(shown: pd.DataFrame) -> list[str]:
    """Lines of text: the number of keys for each change; for each metric the medians, and how many rose and fell."""
    counts = shown["change"].value_counts()
    lines = ["; ".join(f"{counts[name]:,} {text}" for name, text in CHANGES.items() if counts.get(name))]
    for column in shown.columns:
        name = str(column).removesuffix("_change")
        if name != column:
            both = shown[column].dropna()
            better, worse = int((both > 0).sum()), int((both < 0).sum())
            median = f"{shown[f'{name}_then'].median():.4g} to {shown[f'{name}_now'].median():.4g}"
            lines.append(f"{name}: median {median}; greater for {better:,} keys, smaller for {worse:,}")
    return lines


def write(rows: pd.DataFrame, *, limit: int | None, form: str, lines: list[str]) -> None:
    """Print rows as ``text`` with the summary, as ``json`` (one object a line) or as ``csv``."""
    if form != "text":
        models_table.write(rows, limit=limit, form=form)
        return
    shown = rows if limit is None else rows.head(limit)
    table = Table(box=None, pad_edge=False)
    texts = ("key", "change", "state_then", "state_now")
    for name in map(str, shown.columns):
        table.add_column(name, justify="left" if name in texts else "right", no_wrap=True)
    for record in shown.to_dict("records"):
        table.add_row(*(models_table.text(str(name), value) for name, value in record.items()))
    console = screens.out()
    for line in lines:
        console.print(line)
    console.print(table)
    if len(shown) < len(rows):
        console.print(f"… {len(rows) - len(shown):,} more: --limit {len(rows)}, or --csv")
