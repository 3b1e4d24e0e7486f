"""Builds the sections of the page about a run from its facts, and finds their grids."""

from __future__ import annotations

from collections.abc import Iterator

from job.errors import ConfigurationError
from job.page import ages, changes, failures, night, quality, timing
from job.page.facts import Facts
from job.page.section import Grid, Section


def sections(facts: Facts) -> list[Section]:
    """The questions that the facts answer, in the order of the page."""
    every = (night, quality, changes, failures, timing, ages)
    return [section for each in every if (section := each.of(facts)) is not None]


def grids(found: list[Section]) -> Iterator[Grid]:
    """All grids of the sections; each name comes once."""
    seen = set()
    for section in found:
        behind = (section.behind,) if section.behind else ()
        for grid in (*behind, *(picture.grid for picture in section.pictures), *section.grids):
            if grid.name not in seen:
                seen.add(grid.name)
                yield grid


def grid(found: list[Section], name: str) -> Grid:
    """One grid by its name.

    Raises
    ------
    ConfigurationError
        The page has no grid of this name.
    """
    there = {each.name: each for each in grids(found)}
    if name not in there:
        raise ConfigurationError(f"the page has no table {name!r}", hint=f"It has: {', '.join(sorted(there))}.")
    return there[name]
