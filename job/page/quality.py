"""Which models are bad? Distributions of the metrics, metric over rows, and the worst models by name. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job.page import bins, charts, metrics
from job.page.facts import Facts
from job.page.section import SHOWN, Column, Grid, Picture, Section, keys, written
from job.words import SCORING, TRAINING

Numbers = np.ndarray


def of(facts: Facts) -> Section | None:
    """The section about the metrics; None if no published model has a metric."""
    table = facts.published
    if table is None:
        return None
    there = ("key", "state", "rows", "metrics", "trained_at", "skill", "gate")
    modelled = pc.is_valid(table["digest"])
    table = table.select([name for name in there if name in table.column_names]).filter(modelled)
    every = metrics.columns(table, scored=facts.words is SCORING)
    columns = {name: values for name, values in every.items() if np.isfinite(values).any()}
    if not columns:
        return None
    first = metrics.first(columns, facts.metric)
    columns = {name: columns[name] for name in sorted(columns, key=lambda each: (each != "skill", each != first))}
    pictures = [_distribution(facts, name, values) for name, values in columns.items()]
    over = _over_rows(facts, table, first, columns[first])
    if over is not None:
        pictures.insert(list(columns).index(first) + 1, over)
    return Section(
        name="models",
        question="Which models are bad?" if facts.words is TRAINING else "Which keys are predicted badly?",
        answer=" ".join(_answer(name, columns[name], facts.words.things) for name in _ranked(columns)),
        pictures=tuple(pictures),
        behind=_summary(columns, facts.words.things),
        grids=tuple(_worst(facts, table, name, columns) for name in _ranked(columns)),
    )


def _summary(columns: dict[str, Numbers], things: str) -> Grid:
    rows = []
    for name, values in columns.items():
        there = values[np.isfinite(values)]
        marks = np.quantile(there, [0, 0.05, 0.5, 0.95, 1]).tolist()
        better = "higher" if metrics.higher_is_better(name) else "lower"
        rows.append((name, better, len(there), int((there <= 0).sum()), *marks))
    return Grid(
        name="metrics",
        title="Metrics",
        columns=(
            Column(name="metric"),
            Column(name="better"),
            Column(name=things, kind="count"),
            Column(name="not_above_0", kind="count"),
            *(Column(name=each, kind="number") for each in ("lowest", "5 %", "median", "95 %", "highest")),
        ),
        rows=rows,
    )


def _ranked(columns: dict[str, Numbers]) -> list[str]:
    """The metrics by which the worst models are listed: skill, and the first other metric."""
    own = [name for name in columns if name != "skill"]
    return [name for name in ("skill", *own[:1]) if name in columns]


def _answer(name: str, values: Numbers, things: str) -> str:
    there = values[np.isfinite(values)]
    if name == "skill":
        poor = int((there <= 0).sum())
        said = f"{poor:,} of {len(there):,} models do no better than their baseline"
        return f"{said}; the median skill is {np.median(there):.3g}."
    low, middle, high = np.quantile(there, [0.05, 0.5, 0.95])
    better = "higher" if metrics.higher_is_better(name) else "lower"
    return (
        f"{name} of {len(there):,} {things}: the median is {middle:.4g}; 90 % lie between {low:.4g} and {high:.4g} "
        f"({better} is better)."
    )


def _distribution(facts: Facts, name: str, values: Numbers) -> Picture:
    there = values[np.isfinite(values)]
    tail = bins.cut(there, lower=True), bins.cut(there, lower=False)
    inside = there[
        (there >= (-np.inf if tail[0] is None else tail[0])) & (there <= (np.inf if tail[1] is None else tail[1]))
    ]
    wide = bins.is_wide(inside)
    shown = bins.histogram(inside, log=wide)
    left = len(there) - len(inside)
    note = "Higher is better" if metrics.higher_is_better(name) else "Lower is better"
    if left:
        beyond = there[(there < inside.min()) | (there > inside.max())]
        note += f"; {keys(left)} beyond the edges, from {beyond.min():.4g} to {beyond.max():.4g}"
    grid = bins.grid(f"distribution.{name}", f"Distribution of {name}", shown)
    middle = float(np.median(there))
    said = [(middle, f"median {written(middle, 'number')}")]
    if inside.min() < 0 < inside.max() and name in ("skill", "r2"):
        said.append((0.0, "0"))
    spec = charts.histogram(shown, title=name, log=wide, marks=said)
    return Picture(title=f"Distribution of {name}", spec=spec, grid=grid, note=f"{note}.")


def _over_rows(facts: Facts, table: pa.Table, name: str, values: Numbers) -> Picture | None:
    counts = table["rows"].cast(pa.float64()).to_numpy().astype(float)
    there = np.flatnonzero(np.isfinite(values) & (counts > 0))
    if len(there) < 2 or np.ptp(counts[there]) == 0:
        return None
    x, y = counts[there], values[there]
    low, high = bins.cut(y, lower=True), bins.cut(y, lower=False)
    y = np.clip(y, -np.inf if low is None else low, np.inf if high is None else high)
    wide = bins.is_wide(x)
    names = table["key"].take(pa.array(there))
    many = len(there) > bins.BINNED_ABOVE
    worst = metrics.worst_first(name, values[there])[:SHOWN]
    marked = set(worst[: min(SHOWN, max(5, len(there) // 20))].tolist())
    chosen = worst.tolist() if many else range(len(there))
    points = [
        {
            "x": float(x[at]),
            "y": float(y[at]),
            "said": f"{names[at].as_py()}: {name} {values[there[at]]:.4g}, {int(x[at]):,} rows",
            "bad": at in marked,
        }
        for at in chosen
    ]
    cells = bins.squares(x, y, log_x=wide, names=("rows", name)) if many else []
    if many:
        columns = tuple(Column(name=title, kind="number") for title in ("rows_from", "rows_to", "from", "to"))
        grid = Grid(
            name="over_rows",
            title=f"{name} over rows",
            columns=(*columns, Column(name="keys", kind="count")),
            rows=[(each["x"], each["x2"], each["y"], each["y2"], each["keys"]) for each in cells],
        )
    else:
        grid = Grid(
            name="over_rows",
            title=f"{name} over rows",
            columns=(Column(name="key"), Column(name="rows", kind="count"), Column(name=name, kind="number")),
            rows=[(names[at].as_py(), int(x[at]), float(values[there[at]])) for at in range(len(there))],
            command=facts.of_set("models", f"--at {facts.version} --csv"),
        )
    note = "Each square is coloured by how many keys it holds; " if many else ""
    note += "the worst are red; point at one for its name."
    if low is not None or high is not None:
        note += " What lies beyond the edge is drawn on it."
    spec = charts.scatter(points, cells, x="rows", y=name, log_x=wide)
    return Picture(title=f"{name} over rows", spec=spec, grid=grid, note=note[0].upper() + note[1:])


def _worst(facts: Facts, table: pa.Table, name: str, columns: dict[str, Numbers]) -> Grid:
    order = metrics.worst_first(name, columns[name])[:SHOWN]
    rows = table.take(pa.array(order)).to_pylist()
    others = [each for each in columns if each != name][:4]
    gated = "gate" in table.column_names and table["gate"].null_count < table.num_rows
    found: list[tuple[Any, ...]] = []
    for at, row in zip(order.tolist(), rows, strict=True):
        trained = row["trained_at"]
        age = (facts.now - trained).total_seconds() if isinstance(trained, datetime) else None
        numbers = [float(columns[each][at]) for each in (name, *others)]
        found.append((row["key"], *numbers, row["rows"], age, row["state"], *([row["gate"]] if gated else [])))
    gate = [Column(name="gate")] if gated else []
    sort = f"--sort {name}" if metrics.higher_is_better(name) else f"--sort -{name}"
    return Grid(
        name=f"worst.{name}",
        title=f"The worst {len(found):,} by {name}"
        if len(found) < len(columns[name])
        else f"All by {name}, the worst first",
        columns=(
            Column(name="key"),
            *(Column(name=each, kind="number") for each in (name, *others)),
            Column(name="rows", kind="count"),
            Column(name="age", kind="seconds"),
            Column(name="state"),
            *gate,
        ),
        rows=found,
        command=facts.of_set("models", f"--at {facts.version} {sort} --limit {SHOWN}"),
    )
