"""What failed, again? Reasons over the last runs, messages, and the keys that fail every night. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from job.outcome import REASONS
from job.page import charts
from job.page.facts import Facts
from job.page.night import labels
from job.page.section import Column, Grid, Picture, Section, earlier, figures, keys

_REASONS = 6
"""Number of reasons that have their own colour; all others are drawn as "other"."""


def of(facts: Facts) -> Section | None:
    """The section about failures; None if nothing failed or was skipped, in this run or in the last runs."""
    now = _now(facts)
    over = _over_runs(facts)
    if now.num_rows == 0 and over is None:
        return None
    failed = now.filter(pc.equal(now["status"], "failed"))
    again = sum(1 for key in failed["key"].to_pylist() if facts.failed_before.get(key))
    before = len(facts.runs) - 1
    if not failed.num_rows:
        answer = "Nothing failed this time"
        answer += f"; {keys(now.num_rows)} skipped." if now.num_rows else "."
    else:
        answer = f"{keys(failed.num_rows)} failed"
        answer += f"; {again:,} of them failed in {earlier(before)}, too." if before else "."
    pictures = tuple(each for each in (over, _reasons(facts, now)) if each is not None)
    grids = (_messages(now), _again(facts, failed)) if now.num_rows else ()
    return Section(
        name="failures",
        question="What failed, again?",
        answer=answer,
        tone="bad" if failed.num_rows else "good",
        pictures=pictures,
        grids=tuple(each for each in grids if each.rows),
        behind=figures("failed", "What failed", failed=failed.num_rows, again=again, runs_before=before),
    )


def _now(facts: Facts) -> pa.Table:
    """Key, status, reason and message of all keys that failed or were skipped."""
    columns = ["key", "status", "reason", "message"]
    if facts.outcomes is None:
        empty = pa.table({name: pa.array([], pa.string()) for name in columns})
        return empty
    chosen = pc.is_in(facts.outcomes["status"].cast(pa.string()), value_set=pa.array(["failed", "skipped"]))
    found = facts.outcomes.select(columns).filter(chosen)
    plain = [found[name].cast(pa.string()) for name in columns]
    return pa.table(dict(zip(columns, plain, strict=True)))


def _over_runs(facts: Facts) -> Picture | None:
    total: Counter[str] = Counter()
    for each in facts.runs:
        total.update(each.get("failures", {}))
    if not total or len(facts.runs) < 2:
        return None
    first = [reason for reason, _ in total.most_common(_REASONS)]
    order = [*first, "other"] if len(total) > len(first) else first
    names = labels(facts.runs)
    rows: list[tuple[Any, ...]] = []
    values: list[dict[str, Any]] = []
    for name, each in zip(names, facts.runs, strict=True):
        counts: Counter[str] = Counter()
        for reason, number in each.get("failures", {}).items():
            counts[reason if reason in first else "other"] += number
            rows.append((str(each["run"]), reason, number))
        for reason in order:
            number = counts[reason]
            values.append(
                {"run": name, "part": reason, "number": number, "said": f"{each['run']}: {number:,} × {reason}"}
            )
    grid = Grid(
        name="reasons_over_runs",
        title="Failures of each run",
        columns=(Column(name="run"), Column(name="reason"), Column(name="keys", kind="count")),
        rows=rows,
        command=facts.of_run(f"--last {len(facts.runs)} --table reasons_over_runs"),
    )
    spec = charts.stacked(values, order=order, labels=names, title="failed keys")
    return Picture(title="Failed keys by reason, over the last runs", spec=spec, grid=grid)


def _reasons(facts: Facts, now: pa.Table) -> Picture | None:
    counts = Counter(zip(now["status"].to_pylist(), now["reason"].to_pylist(), strict=True))
    if not counts:
        return None
    rows = [(reason, status, number, REASONS.get(reason, "")) for (status, reason), number in counts.most_common()]
    grid = Grid(
        name="reasons",
        title="Reasons",
        columns=(
            Column(name="reason"),
            Column(name="status"),
            Column(name="keys", kind="count"),
            Column(name="meaning"),
        ),
        rows=rows,
        command=facts.of_set("status", f"--run {facts.run} --json"),
    )
    colours = {"failed": "var(--failed)", "skipped": "var(--skipped)"}
    values = [
        {
            "colour": colours[status],
            "label": reason,
            "number": number,
            "said": f"{reason} ({status}): {keys(number)}; {meaning}",
        }
        for reason, status, number, meaning in rows
    ]
    spec = charts.bars(values, label="label", number="number", title="keys")
    return Picture(title="Failed and skipped in this run", spec=spec, grid=grid)


def _messages(now: pa.Table) -> Grid:
    grouped: dict[tuple[str, str], list[str]] = {}
    for key, reason, message in zip(*(now[name].to_pylist() for name in ("key", "reason", "message")), strict=True):
        grouped.setdefault((reason, message or ""), []).append(key)
    ordered = sorted(grouped.items(), key=lambda each: (-len(each[1]), each[0]))
    return Grid(
        name="messages",
        title="Grouped by message",
        columns=(
            Column(name="keys", kind="count"),
            Column(name="reason"),
            Column(name="message"),
            Column(name="for example"),
        ),
        rows=[(len(named), reason, message, ", ".join(named[:3])) for (reason, message), named in ordered],
    )


def _again(facts: Facts, failed: pa.Table) -> Grid:
    older: dict[str, str] = {}
    if facts.published is not None:
        chosen = facts.published.filter(pc.is_in(facts.published["key"], value_set=failed["key"].combine_chunks()))
        older = dict(zip(chosen["key"].to_pylist(), chosen["state"].to_pylist(), strict=True))
    rows = []
    for key, reason, message in zip(*(failed[name].to_pylist() for name in ("key", "reason", "message")), strict=True):
        kept = {"stale": "an older one", "failed": "none", "live": "a newer one"}.get(older.get(key, ""), "–")
        rows.append((key, facts.failed_before.get(key, 0), reason, message, kept))
    rows.sort(key=lambda row: (-row[1], row[0]))
    return Grid(
        name="failing",
        title="Failing keys, those that fail most often first",
        columns=(
            Column(name="key"),
            Column(name=f"failed in {earlier(len(facts.runs) - 1)}", kind="count"),
            Column(name="reason"),
            Column(name="message"),
            Column(name=f"published {facts.words.result}"),
        ),
        rows=rows,
    )
