"""The published table for a person or a pipe: read, filter, sort, write."""

from __future__ import annotations

import csv
import json
import re
import sys
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
from rich.table import Table

from job.cli import screens
from job.errors import ConfigurationError
from job.plan.globs import pattern
from job.registry.row import ROW

if TYPE_CHECKING:
    from job.store import Store

_WHERE = re.compile(r"\s*([A-Za-z_][\w.]*)\s*(<=|>=|==|!=|<|>|=)\s*(.+?)\s*")
_JSON = ("windows", "horizons", "residuals", "challenger_row")
"""Columns of JSON text; output as JSON contains the parsed values."""
_TIMES = ("trained_at", "gone_since")
_TEXTS = ("key", "state", "gate", "reason", *_TIMES)
_SHOWN = ("key", "state", "rows", "size", "skill", "gate", "trained_at", "reason")
_SELDOM = ("skill", "gate", "reason")
"""Columns that are printed only if a key has a value."""


def read(output: Store, *, at: int | None) -> pd.DataFrame:
    """All rows of the published table, sorted by key, with one further column for each metric.

    Parameters
    ----------
    output
        The store of the output.
    at
        The version; None for the current one.

    Raises
    ------
    ConfigurationError
        Nothing has been published, or there is no such version.
    """
    from job.registry.index import Index
    from job.registry.predictions import Predictions

    table = Index(output).read(at=None if at is None else Predictions(output).index_of(at))
    if not table.num_rows:
        raise ConfigurationError(
            f"nothing is published in {output.uri}", hint="Is it the job's output.uri? `manyfit run` publishes."
        )
    # Else one missing count would turn all counts of the column into floats.
    whole = {pa.int64(): pd.Int64Dtype()}
    frame: pd.DataFrame = table.to_pandas(date_as_object=False, types_mapper=whole.get)
    frame = frame.sort_values("key", ignore_index=True)
    metrics = pd.DataFrame([json.loads(text) if isinstance(text, str) else {} for text in frame["metrics"]])
    fresh = [name for name in metrics.columns if name not in frame.columns]
    return pd.concat([frame.drop(columns="metrics"), metrics[fresh]], axis=1)


def choose(
    rows: pd.DataFrame,
    *,
    state: str | None = None,
    match: str | None = None,
    where: list[str] | None = None,
    warnings: bool = False,
    sort: str | None = None,
) -> pd.DataFrame:
    """Filter and sort rows.

    Raises
    ------
    ConfigurationError
        An expression cannot be read, or there is no such column.
    """
    if state == "gone":
        rows = rows[rows["gone_since"].notna()]
    elif state:
        rows = rows[rows["state"] == state]
    if match:
        rows = rows[rows["key"].str.fullmatch(pattern([match]))]
    if warnings:
        rows = rows[rows["warnings"].notna()]
    for text in where or []:
        rows = rows[_holds(rows, text)]
    if sort:
        column = sort.lstrip("-")
        _known(rows, column)
        rows = rows.sort_values(column, ascending=not sort.startswith("-"), kind="stable")
    return rows


def _known(rows: pd.DataFrame, column: str) -> None:
    if column not in rows.columns:
        raise ConfigurationError(
            f"there is no column {column!r}", hint=f"There are: {', '.join(map(str, rows.columns))}."
        )


def _holds(rows: pd.DataFrame, text: str) -> Any:
    found = _WHERE.fullmatch(text)
    if not found:
        raise ConfigurationError(
            f"--where {text!r} is not understood", hint="Write COLUMN, one of < <= > >= == !=, and a value: 'r2<0.5'."
        )
    column, operator, value = found.groups()
    _known(rows, column)
    series = rows[column]
    right: Any = value.strip("'\"")
    if pd.api.types.is_numeric_dtype(series):
        try:
            right = float(right)
        except ValueError:
            raise ConfigurationError(f"--where {text!r}: {column} is a number, {value!r} is not") from None
    elif pd.api.types.is_datetime64_any_dtype(series):
        try:
            right = pd.Timestamp(right)
        except ValueError:
            raise ConfigurationError(
                f"--where {text!r}: {column} is a time, {value!r} is not", hint="Write it as 2026-01-31T12:00."
            ) from None
        right = right.tz_localize("UTC") if right.tzinfo is None else right
    method = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "=": "eq", "!=": "ne"}[operator]
    return getattr(series, method)(right)


def write(rows: pd.DataFrame, *, limit: int | None, form: str) -> None:
    """Print rows as ``text``, ``json`` (one object a line) or ``csv``."""
    total = len(rows)
    shown = rows if limit is None else rows.head(limit)
    if form == "json":
        for record in shown.to_dict("records"):
            plain = {name: _unpacked(str(name), _json(value)) for name, value in record.items()}
            print(json.dumps(plain, ensure_ascii=False))
        return
    if form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(shown.columns)
        for values in shown.itertuples(index=False):
            writer.writerow(["" if _json(value) is None else _json(value) for value in values])
        return
    columns = [name for name in _SHOWN if name not in _SELDOM or shown[name].notna().any()]
    columns[4:4] = metrics_of(shown)
    if shown["gone_since"].notna().any():
        columns.append("gone_since")
    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(
            name, justify="left" if name in ("key", "state", "gate", "reason", *_TIMES) else "right", no_wrap=True
        )
    for record in shown[columns].to_dict("records"):
        table.add_row(*(text(str(name), value) for name, value in record.items()))
    console = screens.out()
    console.print(table)
    if len(shown) < total:
        console.print(f"… {total - len(shown):,} more: --limit {total}, or --csv")


def _json(value: Any) -> Any:
    if value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    return value.item() if hasattr(value, "item") else value


def _unpacked(name: str, value: Any) -> Any:
    return json.loads(value) if name in _JSON and isinstance(value, str) else value


def metrics_of(rows: pd.DataFrame) -> list[str]:
    """The columns that are metrics."""
    return [str(name) for name in rows.columns if name not in ROW.names]


def text(name: str, value: Any) -> str:
    """A value as a cell of a table."""
    plain = _json(value)
    if plain is None:
        return ""
    if name in _TIMES:
        return str(plain)[:19].replace("T", " ")
    if name in ("rows", "size"):
        return f"{int(plain):,}"
    return f"{plain:.4g}" if isinstance(plain, float) else str(plain).replace("[", "\\[")
