"""Compares a new model with the live one on rows that neither has seen. The live model is passed as bytes.

A held-out row takes part if its time stamp is strictly newer than all rows that the live model was fitted on, than all
rows of its earlier comparison, and than all rows that the validation's fit has seen. A row that several windows predict
counts once, with the newest window.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from job.errors import DamageError
from job.fit import artifact
from job.fit.fitted import Contest
from job.fit.predicted import Predicted
from job.judge import gate

Rows = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The live model of a key, as the published table describes it."""

    data: Any
    """the bytes of its file; None if they could not be read"""
    digest: str
    """the published SHA-256 of the file"""
    size: int
    """the published size of the file in bytes"""
    versions: str | None
    """the environment card, as JSON"""
    until: str | None
    """the last time stamp of the rows that it was fitted on (`stamp`)"""
    judged_until: str | None
    """the last time stamp of the rows on which it was compared before"""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle ``data`` as plain bytes, from any buffer of a store: guarded children get the champion by pickle."""
        return _champion, ({**vars(self), "data": None if self.data is None else bytes(self.data)},)


def _champion(state: dict[str, Any]) -> Champion:
    return Champion(**state)


@dataclass(frozen=True, kw_only=True)
class Against:
    """The live model and the metric of a comparison."""

    champion: Champion
    """the live model"""
    metric: str
    """one of `job.judge.losses.LOSSES`"""


@dataclass(frozen=True, kw_only=True)
class Held:
    """The challenger's losses on the held-out rows of one split."""

    rows: Rows
    """the held-out rows"""
    newest: Any
    """the last time stamp of the rows of the fit"""
    losses: Rows
    """the loss of each held-out row"""


class _Unable(Exception):
    """The models cannot be compared; the message says why."""


def stamp(order: Any) -> str | None:
    """The last time stamp of a column, as text for `as_stamp`; None if no column orders the rows."""
    if order is None or not len(order):
        return None
    newest = order.max()
    return newest.isoformat() if isinstance(newest, pd.Timestamp) else str(newest)


def as_stamp(text: str, order: pd.Index) -> Any:
    """The inverse of `stamp`, as a value that compares with those of ``order``.

    Raises
    ------
    ValueError
        The column has another type than the column from which the stamp was taken.
    """
    if isinstance(order, pd.DatetimeIndex):
        found = pd.Timestamp(text)
        if (found.tz is None) != (order.tz is None):
            raise ValueError("one of them has a time zone, the other has none")
        return found
    if order.dtype.kind in "iu":
        return int(text)
    return float(text) if order.dtype.kind == "f" else text


def _read(text: str, order: pd.Index) -> Any:
    try:
        return as_stamp(text, order)
    except ValueError:
        raise _Unable("the column that orders the rows has another type than the live model was fitted with") from None


def compare(against: Against, held: list[Held], order: pd.Index, X: Any, y: Any) -> Contest:
    """Compare the validation's own fits with the live model.

    Parameters
    ----------
    against
        The live model, and the metric.
    held
        The challenger's losses for each split, the oldest first.
    order
        The column that orders all rows, shape (n,).
    X, y
        Features and target of all rows, as the estimator gets them.

    Returns
    -------
    Contest
        The comparison, or a note that says why the models could not be compared.
    """
    try:
        rows, challenger = _judging(against.champion, held, order)
        live = _losses(_loaded(against.champion), against.metric, X, y, rows)
        return Contest(comparison=gate.compare(against.metric, live, challenger))
    except _Unable as unable:
        return Contest(note=str(unable))


def _judging(champion: Champion, held: list[Held], order: pd.Index) -> tuple[Rows, Rows]:
    if champion.until is None:
        raise _Unable("it is not recorded up to when the live model was fitted")
    seen = _read(champion.until, order)
    if champion.judged_until is not None:
        seen = max(seen, _read(champion.judged_until, order))
    found = np.full(len(order), np.nan)
    for split in held:
        stamps = order[split.rows]
        new = np.asarray((stamps > seen) & (stamps > split.newest))
        found[split.rows[new]] = split.losses[new]
    rows = np.flatnonzero(~np.isnan(found))
    if not len(rows):
        raise _Unable("no held-out row is newer than what the live model has seen")
    rows = rows[np.argsort(_numbers(order[rows]), kind="stable")]
    return rows, found[rows]


def _numbers(stamps: pd.Index) -> Rows:
    return stamps.asi8 if isinstance(stamps, pd.DatetimeIndex) else np.asarray(stamps)


def _loaded(champion: Champion) -> Any:
    if champion.data is None:
        raise _Unable("the live model's file cannot be read")
    versions = json.loads(champion.versions) if champion.versions else None
    try:
        return artifact.load(champion.data, digest=champion.digest, versions=versions, max_bytes=champion.size)
    except DamageError as error:
        raise _Unable(f"the live model cannot be used: {error.message}") from None


def _losses(estimator: Any, metric: str, X: Any, y: Any, rows: Rows) -> Rows:
    part = X.iloc[rows]
    names = getattr(estimator, "feature_names_in_", None)
    if names is not None and isinstance(X, pd.DataFrame):
        gone = [str(name) for name in names if name not in X.columns]
        if gone:
            raise _Unable(f"the live model needs the column {gone[0]!r}, which the recipe does not read any more")
        part = part[list(names)]
    try:
        return Predicted(estimator, part, y.iloc[rows]).losses(metric)
    except MemoryError:
        raise
    except Exception as error:
        raise _Unable(f"the live model could not predict these rows: {type(error).__name__}") from None
