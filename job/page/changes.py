"""What got worse? The first metric then and now, the largest losses, and the decisions of the gate. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job.page import bins, charts, metrics
from job.page.facts import Facts
from job.page.section import SHOWN, Column, Grid, Picture, Section, figures, keys
from job.words import SCORING

Numbers = np.ndarray


def of(facts: Facts) -> Section | None:
    """The section about changes; None if one of the two versions was not read."""
    if facts.published is None or facts.before is None:
        return None
    now, then = _models(facts.published), _models(facts.before)
    place = pc.index_in(now["key"], value_set=pa.chunked_array(then["key"].chunks, pa.string()))
    both = pc.is_valid(place)
    fresh = now.num_rows - int(pc.sum(both).as_py() or 0)
    now, then = now.filter(both), then.take(pc.drop_null(place))
    other = pc.not_equal(now["digest"], then["digest"])
    now, then = now.filter(other), then.filter(other)
    section = Section(
        name="changes",
        question=f"What changed since version {facts.against}?",
        answer=f"{keys(now.num_rows)} with {_other(facts)}, {fresh:,} new.",
        pictures=_gates(facts),
        grids=tuple(each for each in (_kept(facts),) if each is not None),
        behind=figures("change", "What changed", other=now.num_rows, new=fresh),
    )
    before, after = (metrics.columns(each, scored=facts.words is SCORING) for each in (then, now))
    common = [name for name in after if name in before and np.isfinite(after[name] - before[name]).any()]
    return _compared(facts, section, now["key"], before, after, common) if common else section


def _compared(
    facts: Facts,
    section: Section,
    named: pa.ChunkedArray,
    before: dict[str, Numbers],
    after: dict[str, Numbers],
    common: list[str],
) -> Section:
    """The section, completed with the comparison of one metric."""
    name = metrics.first({each: after[each] for each in common}, facts.metric)
    there = np.flatnonzero(np.isfinite(after[name] - before[name]))
    names = named.take(pa.array(there))
    old, new = before[name][there], after[name][there]
    gain = new - old if metrics.higher_is_better(name) else old - new
    worse, better = int((gain < 0).sum()), int((gain > 0).sum())
    assert section.behind is not None
    other, fresh = section.behind.rows[0]
    return replace(
        section,
        answer=f"{keys(other)} with {_other(facts)}, {fresh:,} new: by {name}, {worse:,} worse and {better:,} better.",
        pictures=(_then_and_now(facts, name, names, old, new, gain), _gains(name, gain), *section.pictures),
        grids=(_most(facts, name, names, old, new, gain), *section.grids),
        behind=figures("change", "What changed", other=other, new=fresh, metric=name, worse=worse, better=better),
    )


def _other(facts: Facts) -> str:
    return "other predictions" if facts.words is SCORING else "another model"


def _models(table: pa.Table) -> pa.Table:
    """The columns to compare of all rows with a model. Other columns are left out, because the filter copies."""
    chosen = table.select([name for name in ("key", "digest", "metrics", "skill") if name in table.column_names])
    return chosen.filter(pc.is_valid(chosen["digest"])) if chosen["digest"].null_count else chosen


def _then_and_now(
    facts: Facts, name: str, names: pa.ChunkedArray, old: Numbers, new: Numbers, gain: Numbers
) -> Picture:
    every = np.concatenate([old, new])
    low, high = bins.cut(every, lower=True), bins.cut(every, lower=False)
    bottom, top = -np.inf if low is None else low, np.inf if high is None else high
    x, y = np.clip(old, bottom, top), np.clip(new, bottom, top)
    many = len(x) > bins.BINNED_ABOVE
    order = np.argsort(gain, kind="stable")
    marked = {int(at) for at in order[: min(SHOWN, max(3, len(order) // 20))] if gain[at] < 0}
    chosen = sorted(marked) if many else range(len(x))
    points = [
        {
            "x": float(x[at]),
            "y": float(y[at]),
            "said": f"{names[at].as_py()}: {name} {old[at]:.4g} then, {new[at]:.4g} now",
            "bad": at in marked,
        }
        for at in chosen
    ]
    cells = bins.squares(x, y, log_x=False, names=("then", "now")) if many else []
    line = (float(min(x.min(), y.min())), float(max(x.max(), y.max())))
    spec = charts.scatter(points, cells, x=f"{name} in version {facts.against}", y=f"{name} now", diagonal=line)
    if many:
        numbers = tuple(Column(name=title, kind="number") for title in ("then_from", "then_to", "now_from", "now_to"))
        grid = Grid(
            name="then_and_now",
            title=f"{name} then and now",
            columns=(*numbers, Column(name="keys", kind="count")),
            rows=[(each["x"], each["x2"], each["y"], each["y2"], each["keys"]) for each in cells],
        )
    else:
        grid = Grid(
            name="then_and_now",
            title=f"{name} then and now",
            columns=(Column(name="key"), Column(name="then", kind="number"), Column(name="now", kind="number")),
            rows=[(names[at].as_py(), float(old[at]), float(new[at])) for at in range(len(old))],
        )
    side = "below" if metrics.higher_is_better(name) else "above"
    return Picture(
        title=f"{name} then and now",
        spec=spec,
        grid=grid,
        note=f"On the dashed line nothing changed; {side} it the key got worse. The largest losses are red.",
    )


def _gains(name: str, gain: Numbers) -> Picture:
    low, high = bins.cut(gain, lower=True), bins.cut(gain, lower=False)
    inside = gain[(gain >= (-np.inf if low is None else low)) & (gain <= (np.inf if high is None else high))]
    shown = bins.histogram(inside, log=False)
    left = len(gain) - len(inside)
    grid = bins.grid("gains", f"Gain of {name}", shown)
    note = "Left of 0 the key got worse."
    note += f" {keys(left)} beyond the edges, from {gain.min():.4g} to {gain.max():.4g}." if left else ""
    marks = [(0.0, "no change")] if inside.min() <= 0 <= inside.max() else []
    spec = charts.histogram(shown, title=f"gain of {name}", marks=marks)
    return Picture(title=f"Gain of {name} by key", spec=spec, grid=grid, note=note)


def _gates(facts: Facts) -> tuple[Picture, ...]:
    """A picture of the decisions of the gate; empty if there is no gate."""
    table = facts.published
    if table is None or "gate" not in table.column_names or table["gate"].null_count == table.num_rows:
        return ()
    counts = pc.value_counts(pc.drop_null(table["gate"].cast(pa.string()))).to_pylist()
    rows = sorted(((each["values"], each["counts"]) for each in counts), key=lambda each: -each[1])
    grid = Grid(
        name="gate",
        title="What the gate decided",
        columns=(Column(name="gate"), Column(name="keys", kind="count")),
        rows=rows,
        command=facts.of_set("models", f"--at {facts.version} --csv"),
    )
    values = [{"label": name, "number": number, "said": f"{name}: {keys(number)}"} for name, number in rows]
    spec = charts.bars(values, label="label", number="number", title="keys")
    return (Picture(title="What the gate decided", spec=spec, grid=grid),)


def _kept(facts: Facts) -> Grid | None:
    """Keys whose new model did not replace the live one, sorted by falling gain; None if there are none."""
    table = facts.published
    if table is None or "gate" not in table.column_names:
        return None
    stayed = pc.is_in(table["gate"].cast(pa.string()), value_set=pa.array(["kept", "undecidable"]))
    columns = ["key", "gate", "gate_gain", "gate_rows", "gate_p", "gate_note"]
    found = table.select(columns).filter(stayed)
    if not found.num_rows:
        return None
    order = pc.sort_indices(found, sort_keys=[("gate_gain", "descending"), ("key", "ascending")])
    return Grid(
        name="kept",
        title="Live models that stayed, because the new one was not better",
        columns=(
            Column(name="key"),
            Column(name="gate"),
            Column(name="gain", kind="number"),
            Column(name="rows", kind="count"),
            Column(name="p", kind="number"),
            Column(name="note"),
        ),
        rows=[tuple(row[name] for name in columns) for row in found.take(order[:SHOWN]).to_pylist()],
    )


def _most(facts: Facts, name: str, names: pa.ChunkedArray, old: Numbers, new: Numbers, gain: Numbers) -> Grid:
    order = np.argsort(gain, kind="stable")[:SHOWN]
    found: list[tuple[Any, ...]] = [
        (names[at].as_py(), float(old[at]), float(new[at]), float(gain[at])) for at in order.tolist() if gain[at] < 0
    ]
    return Grid(
        name="worse",
        title=f"The largest losses of {name}" if found else "No key got worse",
        columns=(
            Column(name="key"),
            Column(name=f"{name} in version {facts.against}", kind="number"),
            Column(name=f"{name} now", kind="number"),
            Column(name="gain", kind="number"),
        ),
        rows=found,
    )
