"""``manyfit plan`` of a scoring: the planned keys, the types of the columns, and a few predicted rows."""

from __future__ import annotations

import uuid
from argparse import Namespace
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.table import Table

from job.cli import arguments as given
from job.cli import own_output, screens
from job.errors import ConfigurationError
from job.outcome import REASONS
from job.plan.plan import DECIDED, SKIP, TRAIN
from job.run.assembly import check_identity
from job.run.run_files import Started
from job.run.score_assembly import ScoreAssembly
from job.run.scoring_run import ScoringRun
from job.store.side import storage
from job.words import counted

_ROWS = 5
WHY = {
    "new": "not scored before",
    "data": "the rows or the model changed",
    "recipe": "the settings that decide the predictions changed",
    "environment": "library versions changed",
    "reading": "the rules by which bytes become rows changed",
    "failed": "the last scoring failed",
    "again": "score.again",
    "unchanged": "rows, model and settings are as recorded",
    "finished": "scored by a run that did not finish; taken over",
}
"""The reasons for the action of a key of a scoring: code and text. A skipped key has a reason of `REASONS`."""
_RARE = {"fail": "fail", "adopt": "take over"}
_SINCE = "skipped by the last run, and neither rows nor model nor settings changed since"


def main(arguments: Namespace, overrides: list[str]) -> int:
    """Plan a scoring and print the plan. Only a few rows are scored, and nothing is written."""
    with own_output.kept(arguments.json):
        assembly = given.scoring(arguments, overrides)[0]
    if arguments.key is not None:
        raise ConfigurationError(
            "--key shows one key of a training, and the document is a scoring",
            hint="--keys lists the keys of a scoring; `--input.only '[KEY]'` plans one of them.",
        )
    check_identity(assembly, create=False)
    run = ScoringRun(assembly)
    started = Started(id="plan", plan=uuid.uuid4().hex[:12], at=datetime.now(UTC))
    with own_output.kept(arguments.json):
        made, known = run.plan(assembly, started, None)
    reasons = Counter(reason for reason in known["reason"].to_pylist() if reason)
    rows = _predicted(run)
    keys = _actions(assembly, made.keys.select(["key", "action", "why", "bytes"]), known)
    actions = Counter((row["action"], row["why"], row["again"]) for row in keys)
    found: dict[str, Any] = {
        "input": assembly.input.uri if assembly.scoring.has_rows else None,
        "output": assembly.output.uri,
        "models": assembly.models.uri,
        "models_version": run.pinned.version,
        "models_count": len(run.pinned),
        "planned": made.planned,
        "score": made.count(TRAIN),
        "unchanged": made.count("unchanged"),
        "skip": sum(row["action"] == "skip" for row in keys),
        "fail": sum(row["action"] == "fail" for row in keys),
        "adopt": made.count("adopt"),
        "without_model": dict(reasons),
        "why": [
            {"action": action, "why": why, "again": again, "keys": number}
            for (action, why, again), number in actions.most_common()
        ],
        "types": {name: str(kind) for name, kind in run.recipe.types or ()},
        "problems": [
            {"key": each.key, "reason": each.problem.reason, "message": each.problem.message}
            for each in run.samples
            if each.problem is not None and each.own
        ],
        "rows": rows.to_pylist() if rows is not None else [],
    }
    if arguments.keys:
        found["keys"] = keys
    if arguments.json:
        screens.print_json(found)
    else:
        _show(found)
    return 0


def _actions(assembly: ScoreAssembly, keys: pa.Table, known: pa.Table) -> list[dict[str, Any]]:
    """What happens to each key, and why.

    ``action`` is score, unchanged, adopt, skip or fail. ``why`` is a code of `WHY`, or the reason of a skipped or
    failed key. ``again`` says whether the key was skipped by an earlier run and nothing has changed since.
    """
    decided = {row["key"]: row for row in known.select(["key", "status", "reason"]).to_pylist()}
    before: dict[str, str] = {}
    if pc.any(pc.equal(keys["action"].cast(pa.string()), SKIP)).as_py():
        with storage("output", f"{assembly.output.uri} cannot be read"):
            index = assembly.index.read(columns=["key", "state", "reason"])
        skipped = index.filter(pc.equal(index["state"].cast(pa.string()), "skipped"))
        before = dict(zip(skipped["key"].to_pylist(), skipped["reason"].to_pylist(), strict=True))
    found = []
    for row in keys.to_pylist():
        action, why, again = row["action"], row["why"], row["action"] == SKIP
        if again:
            why = before.get(row["key"]) or why
        elif action == DECIDED:
            outcome = decided[row["key"]]
            action, why = "skip" if outcome["status"] == "skipped" else "fail", outcome["reason"]
        action = "score" if action == TRAIN else action
        found.append({"key": row["key"], "action": action, "why": why, "again": again, "bytes": row["bytes"]})
    return found


def _predicted(run: ScoringRun) -> pa.Table | None:
    tables = [each.scored.table for each in run.samples if each.scored is not None and each.own]
    return pa.concat_tables(tables, promote_options="permissive").slice(0, _ROWS) if tables else None


def _show(found: dict[str, Any]) -> None:
    console = screens.out()
    source = found["input"] or "the keys of the set, without rows"
    console.print(f"{source} → {found['output']}, by version {found['models_version']} of {found['models']}")
    table = Table(box=None, show_header=False, pad_edge=False)
    for each in found["why"]:
        meaning = WHY.get(each["why"]) or REASONS.get(each["why"], "")
        meaning += f"; {_SINCE}" if each["again"] else ""
        action = {"unchanged": "leave", "adopt": "take over"}.get(each["action"], each["action"])
        table.add_row(f"{each['keys']:,}", action, each["why"], f"[dim]{meaning}[/dim]")
    console.print(table)
    console.print(
        f"{found['planned']:,} planned: {found['score']:,} to score, {found['unchanged']:,} unchanged, "
        f"{found['skip']:,} to skip"
        + "".join(f", {found[name]:,} to {text}" for name, text in _RARE.items() if found[name])
        + f"; the set has {counted(found['models_count'], 'model')}"
    )
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
