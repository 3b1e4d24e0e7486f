"""The columns and types that `manyfit plan` shows, for a person and as plain data."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from job.run.preview import Preview
from job.words import counted, size


def document(preview: Preview) -> dict[str, Any]:
    """The preview as plain data."""
    return dataclasses.asdict(preview)


def show(console: Console, preview: Preview) -> None:
    """Print the columns for a person, then the problems and warnings that a fit would meet."""
    if preview.columns:
        shown = ", ".join(preview.keys[:3])
        console.print(f"columns, as they reach the estimator (from {escape(shown)}: {counted(preview.rows, 'row')})")
        table = Table(box=None, show_header=False, pad_edge=False)
        for each in preview.columns:
            gaps = f"{each.missing:,} missing" if each.missing else ""
            example = "" if each.example is None else each.example
            name, kind = escape(each.name or '""'), escape(each.type)
            table.add_row(f"  {name}", kind, escape(example), gaps, f"[dim]{escape(each.role)}[/dim]")
        console.print(table)
    for problem in preview.problems:
        console.print(f"[bold]would fail[/bold]: {escape(problem.key)}: {problem.reason}: {escape(problem.message)}")
    for warning in preview.warnings:
        console.print(f"would warn: {escape(warning)}")


def show_key(console: Console, found: dict[str, Any]) -> None:
    """Print one partition for a person."""
    console.print(f"{escape(found['key'])}: {found['action']} ({found['why']}), {size(found['bytes'])}")
    for each in found["objects"][:20]:
        rows = f"  {counted(each['rows'], 'row')} of it" if "rows" in each else ""
        console.print(f"  {escape(each['name'])}  {size(each['size'])}{rows}")
    if len(found["objects"]) > 20:
        console.print(f"  … and {len(found['objects']) - 20:,} more")
    show(console, found["preview"])
    if not found["preview"].problems:
        console.print("nothing is wrong with its rows before the fit")
