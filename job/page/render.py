"""Sections as one self-contained HTML page: no script, no request. Jinja2 escapes all texts from users' data."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

from job import __version__
from job.page import svg
from job.page.facts import Facts
from job.page.section import SHOWN, Grid, Section, written
from job.words import legible

_BEHIND = 200
"""Number of rows that the page shows of the table behind a picture."""


def available() -> bool:
    """Whether the extra ``report`` is installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("jinja2", "vl_convert"))


def page(facts: Facts, sections: Sequence[Section]) -> str:
    """The whole page as HTML.

    Raises
    ------
    ImportError
        The extra ``report`` is not installed.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("job.page", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: legible(value) if type(value) is str else value,
    )
    environment.filters["written"] = written
    drawn: dict[tuple[str, int], Any] = {}
    for section in sections:
        for at, picture in enumerate(section.pictures):
            said = f"{picture.title}. {picture.note} The table below has its numbers.".replace("  ", " ")
            drawn[section.name, at] = svg.draw(picture.spec, said)

    def command(grid: Grid) -> str:
        return grid.command or facts.of_run(f"--table {grid.name}")

    return environment.get_template("page.html.j2").render(
        facts=facts,
        result=facts.result,
        sections=sections,
        drawn=drawn,
        command=command,
        shown=SHOWN,
        behind=_BEHIND,
        again=facts.of_run("--out report.html"),
        json=facts.of_run("--json"),
        made_by=f"manyfit {__version__}",
        style=environment.get_template("page.css").render(),
    )
