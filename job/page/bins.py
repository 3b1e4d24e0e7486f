"""Bins of many numbers: histograms, and squares of a plane. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from job.page.section import Column, Grid, Kind, keys, written

Numbers = np.ndarray
BINNED_ABOVE = 5_000
"""More dots than this are drawn as squares of many keys: a dot with its name takes 110 bytes on the page."""
_SPAN = 1e-9


def is_wide(values: Numbers) -> bool:
    """Whether a logarithmic axis is better: all numbers are positive, and the largest is > 200 × the smallest."""
    return bool(len(values) and values.min() > 0 and values.max() / values.min() > 200)


def edges(values: Numbers, *, log: bool, most: int) -> Numbers:
    """Edges of 5 to ``most`` equal bins, from the lowest to the highest number. More numbers make more bins."""
    low, high = float(values.min()), float(values.max())
    if high - low <= _SPAN * max(abs(high), abs(low), 1e-300):
        reach = max(abs(high) * 0.01, 1e-12)
        low, high = low - reach, high + reach
    count = int(min(most, max(5, math.sqrt(len(values)) * 1.5)))
    found: Numbers = np.geomspace(low, high, count + 1) if log else np.linspace(low, high, count + 1)
    return found


def cut(values: Numbers, *, lower: bool) -> float | None:
    """The value beyond which a long tail would flatten the picture; None if there is no such tail.

    Parameters
    ----------
    values
        Numbers without NaN. Fewer than 20 have no tail.
    lower
        True for the tail of low numbers, False for the tail of high numbers.
    """
    if len(values) < 20:
        return None
    first, last = np.quantile(values, [0.02, 0.98])
    spread = max(float(last - first), 1e-300)
    if lower and float(first - values.min()) > 3 * spread:
        return float(first - spread)
    if not lower and float(values.max() - last) > 3 * spread:
        return float(last + spread)
    return None


def histogram(values: Numbers, *, log: bool, unit: str = "") -> list[dict[str, Any]]:
    """One row for each bin: ``begin``, ``end``, ``keys`` (their number) and ``said`` (hover text)."""
    limits = edges(values, log=log, most=30)
    counts, limits = np.histogram(values, bins=limits)
    return [
        {
            "begin": begin,
            "end": end,
            "keys": number,
            "said": f"{written(begin, 'number')} to {written(end, 'number')}{unit}: {keys(number)}",
        }
        for begin, end, number in zip(limits[:-1].tolist(), limits[1:].tolist(), counts.tolist(), strict=True)
    ]


def grid(name: str, title: str, shown: Sequence[Mapping[str, Any]], kind: Kind = "number") -> Grid:
    """The numbers of a `histogram`, whose values are of this kind."""
    return Grid(
        name=name,
        title=title,
        columns=(Column(name="from", kind=kind), Column(name="to", kind=kind), Column(name="keys", kind="count")),
        rows=[(each["begin"], each["end"], each["keys"]) for each in shown],
    )


def squares(x: Numbers, y: Numbers, *, log_x: bool, names: tuple[str, str]) -> list[dict[str, Any]]:
    """One row for each square that is not empty: ``x``, ``x2``, ``y``, ``y2``, ``keys`` and ``said`` (hover text)."""
    across, up = edges(x, log=log_x, most=40), edges(y, log=False, most=30)
    counts, across, up = np.histogram2d(x, y, bins=[across, up])
    found = []
    for i, j in zip(*np.nonzero(counts), strict=True):
        number = int(counts[i, j])
        box = {"x": float(across[i]), "x2": float(across[i + 1]), "y": float(up[j]), "y2": float(up[j + 1])}
        said = (
            f"{names[0]} {written(box['x'], 'number')} to {written(box['x2'], 'number')}, "
            f"{names[1]} {written(box['y'], 'number')} to {written(box['y2'], 'number')}: {keys(number)}"
        )
        found.append({**box, "keys": number, "said": said})
    return found
