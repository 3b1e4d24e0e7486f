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
    "kept": "the gate kept the model, and has judged since",
    "state": "the same model in another state",
    "same": "the same model",
}
"""What may have become of a key between two versions."""


def read(output: Store, *, now: int | None, then: int | None) -> pd.DataFrame:
    """All keys of both versions.

    Parameters
    ----------
    output
        Where the table lies.
    now
        The version that is looked at; default the current one.
    then
        The version that it is compared with; default the one before.

    Returns
    -------
    pandas.DataFrame
        By key: ``change``, ``state_then``, ``state_now``, ``skill_then`` and ``skill_now`` where there is a skill, and
        of each metric ``<metric>_then``, ``<metric>_now`` and ``<metric>_change``.

    Raises
    ------
    ConfigurationError
        There is no such version.
    """
    from job.registry.index import Index

    current = now if now is not None else Index(output).version()
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
    shown = pd.DataFrame({"key": found["key"], "change": _changes(found)})
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
    """How many keys changed, and how the metrics of those that are in both versions did."""
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
