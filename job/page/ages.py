"""How old is it? The age of the live models, gone and stale keys, and what changed in each version. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job.page import charts
from job.page.facts import Facts
from job.page.section import Column, Grid, Picture, Section, duration, figures, keys
from job.words import SCORING, counted

_HOUR, _DAY = 3600.0, 86400.0
_AGES = (
    ("under 1 h", _HOUR), ("1 to 6 h", 6 * _HOUR), ("6 to 24 h", _DAY), ("1 to 2 d", 2 * _DAY), ("2 to 7 d", 7 * _DAY),
    ("1 to 4 weeks", 28 * _DAY), ("4 to 13 weeks", 91 * _DAY), ("older", float("inf")),
)  # fmt: skip

_TRAINED = {
    "live": "the model is of the newest data",
    "stale": "the newest fit failed; the model before it stays",
    "failed": "never had a model",
    "skipped": "too little data for a model",
}
_SCORED = {
    "live": "the predictions are of the newest data and model",
    "stale": "the last scoring failed; the predictions before it stay",
    "failed": "never had predictions",
    "skipped": "no row, or no model that may be used",
}


def _named(facts: Facts) -> str:
    return "predictions" if facts.words is SCORING else "a model"


def of(facts: Facts) -> Section | None:
    """The section about age; None if nothing has been published."""
    pictures: list[Picture] = []
    grids: list[Grid] = []
    answer = ""
    behind = None
    if facts.published is not None and facts.published.num_rows:
        table = facts.published
        states = {
            each["values"]: each["counts"] for each in pc.value_counts(table["state"].cast(pa.string())).to_pylist()
        }
        gone = table.num_rows - table["gone_since"].null_count
        models = table["trained_at"].filter(pc.is_valid(table["digest"]))
        ages = _ages(facts, models)
        if len(ages):
            answer = f"{keys(len(models))} have {_named(facts)}; the median age is {duration(float(np.median(ages)))}, "
            answer += f"the oldest {duration(float(ages.max()))}. "
            pictures.append(_age(facts, ages))
        stale, without = states.get("stale", 0), states.get("failed", 0)
        answer += f"{stale:,} stale, {without:,} without {_named(facts)}, {gone:,} gone from the input."
        behind = figures(
            "age",
            f"How old the {facts.words.files} are",
            **{facts.words.things: len(models)},
            median_seconds=float(np.median(ages)) if len(ages) else None,
            oldest_seconds=float(ages.max()) if len(ages) else None,
            stale=stale,
            **{f"without_{facts.words.result}": without},
            gone=gone,
        )
        pictures.append(_states(facts, states, gone))
        old = _old(facts, table)
        grids += [old] if old.rows else []
    if sum(each.version > 0 for each in facts.versions) > 1:
        pictures.append(_versions(facts))
    if not pictures:
        return None
    return Section(
        name="age",
        question="How old is it?",
        answer=answer.strip(),
        pictures=tuple(pictures),
        grids=tuple(grids),
        behind=behind,
    )


def _ages(facts: Facts, models: pa.ChunkedArray) -> np.ndarray:
    moments = pc.drop_null(models).cast(pa.int64()).to_numpy().astype(float) / 1e6
    found: np.ndarray = np.maximum(0.0, facts.now.timestamp() - moments)
    return found


def _age(facts: Facts, ages: np.ndarray) -> Picture:
    limits = np.array([limit for _, limit in _AGES])
    counts = np.bincount(np.searchsorted(limits, ages, side="right").clip(max=len(_AGES) - 1), minlength=len(_AGES))
    last = int(np.flatnonzero(counts).max())
    rows = [(name, int(number)) for (name, _), number in zip(_AGES, counts, strict=True)][: last + 1]
    grid = Grid(
        name="ages",
        title=f"Age of the {facts.words.files}",
        columns=(Column(name="age"), Column(name="keys", kind="count")),
        rows=rows,
        command=facts.of_set("models", f"--at {facts.version} --sort trained_at"),
    )
    values = [{"label": name, "number": number, "said": f"{name}: {keys(number)}"} for name, number in rows]
    spec = charts.bars(values, label="label", number="number", title="keys")
    return Picture(title=f"Age of the {facts.words.files} when the run ended", spec=spec, grid=grid)


def _states(facts: Facts, states: dict[str, int], gone: int) -> Picture:
    meaning = _SCORED if facts.words is SCORING else _TRAINED
    rows = [(name, states[name], meaning[name]) for name in meaning if states.get(name)]
    if gone:
        rows.append(("gone", gone, "the input no longer has it; counted in the others, too"))
    grid = Grid(
        name="states",
        title="States",
        columns=(Column(name="state"), Column(name="keys", kind="count"), Column(name="meaning")),
        rows=rows,
        command=facts.of_set("models", f"--at {facts.version} --state live --csv"),
    )
    values = [
        {"label": name, "number": number, "said": f"{name}: {keys(number)}; {text}"} for name, number, text in rows
    ]
    return Picture(
        title="States of the published keys",
        spec=charts.bars(values, label="label", number="number", title="keys"),
        grid=grid,
    )


def _old(facts: Facts, table: pa.Table) -> Grid:
    stale = pc.equal(table["state"].cast(pa.string()), "stale")
    chosen = table.filter(pc.or_(stale, pc.is_valid(table["gone_since"])))
    chosen = chosen.take(pc.sort_indices(chosen, sort_keys=[("trained_at", "ascending")]))
    rows = []
    for row in chosen.select(["key", "state", "trained_at", "gone_since", "reason"]).to_pylist():
        age = None if row["trained_at"] is None else max(0.0, (facts.now - row["trained_at"]).total_seconds())
        rows.append((row["key"], row["state"], age, row["gone_since"], row["reason"]))
    return Grid(
        name="old",
        title="Stale and gone keys, the oldest first",
        columns=(
            Column(name="key"),
            Column(name="state"),
            Column(name="age", kind="seconds"),
            Column(name="gone_since", kind="time"),
            Column(name="reason"),
        ),
        rows=rows,
    )


def _versions(facts: Facts) -> Picture:
    shown = [each for each in reversed(facts.versions) if each.version]
    rows: list[tuple[Any, ...]] = [
        (each.version, each.at, each.operation, each.inserted, each.updated, each.removed, each.run) for each in shown
    ]
    grid = Grid(
        name="versions",
        title="Versions",
        columns=(
            Column(name="version", kind="count"),
            Column(name="at", kind="time"),
            Column(name="operation"),
            *(Column(name=name, kind="count") for name in ("new", "changed", "removed")),
            Column(name="run"),
        ),
        rows=rows,
        command=facts.of_set("history", f"--limit {len(rows) + 1}"),
    )
    names = [str(each.version) for each in shown]
    noun = "row" if facts.words is SCORING else "key"
    values = [
        {
            "run": str(row[0]),
            "part": part,
            "number": number,
            "said": f"version {row[0]} ({row[2]}): {counted(number, noun)} {part}",
        }
        for row in rows
        for part, number in zip(("new", "changed", "removed"), row[3:6], strict=True)
    ]
    spec = charts.stacked(values, order=["new", "changed", "removed"], labels=names, title=f"{noun}s")
    return Picture(title="What changed in each version", spec=spec, grid=grid)
