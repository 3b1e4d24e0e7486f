"""``manyfit report``: the page about a fleet as a file, or its tables on standard output."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from job.arrow import use_plain_pool
from job.cli import screens
from job.errors import ConfigurationError, SetupError
from job.page import build, facts
from job.page.section import Section
from job.store.side import storage

if TYPE_CHECKING:
    from job.store import Store


def main(arguments: Namespace, output: Store) -> int:
    """Read the facts; write the page, one table or all tables. Returns the exit code."""
    use_plain_pool()
    if arguments.last < 1:
        raise ConfigurationError(f"--last {arguments.last} is no number of runs", hint="Give 1 or more.")
    with storage("output", f"{output.uri} cannot be read"):
        found = facts.read(
            output, run=arguments.run, against=arguments.against, last=arguments.last, metric=arguments.metric
        )
    sections = build.sections(found)
    if arguments.table:
        build.grid(sections, arguments.table).write_csv(sys.stdout)
        return 0
    if arguments.json:
        screens.print_json(_document(found, sections))
        return 0
    text = _page(found, sections)
    try:
        Path(arguments.out).write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigurationError(f"--out {arguments.out!r} cannot be written: {error.strerror}") from None
    print(f"{arguments.out}: {found.result['job']}, run {found.run}")
    for section in sections:
        print(f"  {section.question} {section.answer}")
    return 0


def _page(found: facts.Facts, sections: list[Section]) -> str:
    from job.page import render

    try:
        return render.page(found, sections)
    except ImportError as error:
        hint = "Install it: pip install 'manyfit[report]'. --table and --json print the numbers without it."
        raise SetupError(f"the page needs the extra `report`: {error.name} is not installed", hint=hint) from None


def _document(found: facts.Facts, sections: list[Section]) -> dict[str, object]:
    answers = {each.name: {"question": each.question, "answer": each.answer} for each in sections}
    tables = {each.name: each.records() for each in build.grids(sections)}
    return {"run": found.run, "version": found.version, "against": found.against, "answers": answers, "tables": tables}
