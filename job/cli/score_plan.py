"""``manyfit plan`` of a scoring: the planned keys, the types of the columns, and a few predicted rows."""

from __future__ import annotations

import uuid
from argparse import Namespace
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from rich.table import Table

from job.cli import screens
from job.errors import ConfigurationError
from job.plan.plan import DECIDED, TRAIN
from job.run.assembly import check_identity
from job.run.run_files import Started
from job.run.score_assembly import ScoreAssembly
from job.run.scoring_run import ScoringRun
from job.words import counted

_ROWS = 5


def main(arguments: Namespace, assembly: ScoreAssembly) -> int:
    """Plan a scoring and print the plan. Only a few rows are scored, and nothing is written."""
    if arguments.key is not None:
        raise ConfigurationError(
            "--key shows one key of a training, and the document is a scoring",
            hint="--keys lists the keys of a scoring; `--input.only '[KEY]'` plans one of them.",
        )
    check_identity(assembly, create=False)
    run = ScoringRun(assembly)
    made, known = run.plan(assembly, Started(id="plan", plan=uuid.uuid4().hex[:12], at=datetime.now(UTC)), None)
    reasons = Counter(reason for reason in known["reason"].to_pylist() if reason)
    rows = _predicted(run)
    found: dict[str, Any] = {
        "input": assembly.input.uri if assembly.scoring.has_rows else None,
        "output": assembly.output.uri,
        "models": assembly.models.uri,
        "models_version": run.pinned.version,
        "models_count": len(run.pinned),
        "planned": made.planned,
        "score": made.count(TRAIN),
        "unchanged": made.count("unchanged"),
        "skip": made.count("skip"),
        "adopt": made.count("adopt"),
        "without_model": dict(reasons),
        "types": {name: str(kind) for name, kind in run.recipe.types or ()},
        "problems": [
            {"key": each.key, "reason": each.problem.reason, "message": each.problem.message}
            for each in run.samples
            if each.problem is not None
        ],
        "rows": rows.to_pylist() if rows is not None else [],
    }
    if arguments.keys:
        found["keys"] = made.keys.select(["key", "action", "why", "bytes"]).to_pylist()
    if arguments.json:
        screens.print_json(found)
    else:
        _show(found, made.count(DECIDED))
    return 0


def _predicted(run: ScoringRun) -> pa.Table | None:
    tables = [each.scored.table for each in run.samples if each.scored is not None]
    return pa.concat_tables(tables, promote_options="permissive").slice(0, _ROWS) if tables else None


def _show(found: dict[str, Any], without: int) -> None:
    console = screens.out()
    given = found["input"] or "the keys of the set, without rows"
    console.print(f"{given} → {found['output']}, by version {found['models_version']} of {found['models']}")
    console.print(
        f"{found['planned']:,} planned: {found['score']:,} to score, {found['unchanged']:,} unchanged, "
        f"{found['skip']:,} to skip, {found['adopt']:,} to take over, {without:,} without a model "
        f"({counted(found['models_count'], 'model')})"
    )
    for reason, number in found["without_model"].items():
        console.print(f"  {number:,} × {reason}")
    for each in found["problems"]:
        console.print(f"  {screens.plain(each['key'])}: {each['reason']}: {screens.plain(each['message'])}")
    if found["types"]:
        console.print("columns: " + ", ".join(f"{screens.plain(name)} {kind}" for name, kind in found["types"].items()))
    if found["rows"]:
        table = Table(box=None, pad_edge=False)
        names = [name for name in found["rows"][0] if name not in ("_model", "_models_version", "_run", "_scored_at")]
        for name in names:
            table.add_column(screens.plain(name))
        for row in found["rows"]:
            table.add_row(*("" if row[name] is None else screens.plain(str(row[name])) for name in names))
        console.print(table)
    for row in found.get("keys", ()):
        console.print(f"{row['action']:<10} {row['why']:<12} {screens.plain(row['key'])}")
