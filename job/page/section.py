"""The parts of a page: sections that answer a question, grids of numbers, pictures of grids, commands. Pure data."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TextIO

from job.words import counted, size

Kind = Literal["text", "count", "number", "seconds", "bytes", "share", "time"]
SHOWN = 50
"""Number of rows of a grid that the page shows; the command next to the grid prints all rows."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a grid."""

    name: str
    """heading on the page, and name of the column in CSV"""
    kind: Kind = "text"
    """how a value is written for a person"""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table of numbers, on the page and as CSV."""

    name: str
    """the name for ``manyfit report --table``"""
    title: str
    columns: tuple[Column, ...]
    rows: Sequence[tuple[Any, ...]]
    command: str = ""
    """the command that prints the same numbers; empty for ``manyfit report --table``"""

    def write_csv(self, out: TextIO) -> None:
        """Write all rows with a header. Times are in ISO 8601; unknown values are empty."""
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([each.name for each in self.columns])
        for row in self.rows:
            writer.writerow([plain(value) for value in row])

    def records(self) -> list[dict[str, Any]]:
        """The rows as plain data."""
        names = [each.name for each in self.columns]
        return [dict(zip(names, map(plain, row), strict=True)) for row in self.rows]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture of a grid."""

    title: str
    spec: Mapping[str, Any]
    """the picture in Vega-Lite"""
    grid: Grid
    note: str = ""
    """how to read the picture"""
    wide: bool = False
    """whether the picture needs the whole width of the page"""


@dataclass(frozen=True, kw_only=True)
class Section:
    """The answer to one question."""

    name: str
    question: str
    answer: str
    """one or two sentences"""
    tone: Literal["good", "bad", "plain"] = "plain"
    pictures: tuple[Picture, ...] = ()
    grids: tuple[Grid, ...] = ()
    """shown open, as tables"""
    figures: tuple[tuple[str, str], ...] = field(default=())
    """(value, label): the numbers that the page shows in large type"""
    behind: Grid | None = None
    """the numbers in the answer and in the figures"""


def figures(name: str, title: str, **given: Any) -> Grid:
    """A grid of one row, which holds the numbers of an answer."""
    return Grid(
        name=name,
        title=title,
        columns=tuple(
            Column(name=each, kind="text" if isinstance(value, str) else "number") for each, value in given.items()
        ),
        rows=[tuple(given.values())],
    )


def plain(value: Any) -> Any:
    """A value for JSON and CSV: None for NaN and infinity, times in ISO 8601."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return value


def written(value: Any, kind: Kind) -> str:
    """A value as text for a person; ``–`` if it is unknown."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if kind == "text":
        return str(value)
    if kind == "time":
        return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else str(value)[:16].replace("T", " ")
    if kind == "count":
        return f"{int(value):,}"
    if kind == "share":
        return f"{100 * value:.1f} %"
    if kind == "seconds":
        return duration(value)
    if kind == "bytes":
        return size(value)
    return f"{value:,.4g}" if abs(value) < 1e6 else f"{value:,.0f}"


def duration(seconds: float) -> str:
    """Seconds as text: ``0.8 ms``, ``12.3 s``, ``3 min 5 s``, ``2 h 10 min``, ``4.5 d``."""
    if seconds < 0.0995:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 99.5:
        return f"{seconds:.3g} s"
    if seconds < 3570:
        return f"{round(seconds) // 60} min {round(seconds) % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 2880 else f"{seconds / 86400:.1f} d"


def earlier(number: int) -> str:
    """A number of earlier runs in words: ``the run before``, ``the 5 runs before``."""
    return "the run before" if number == 1 else f"the {number:,} runs before"


def keys(number: int) -> str:
    """A number of keys in words: ``1 key``, ``1,204 keys``."""
    return counted(number, "key")
