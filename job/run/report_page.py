"""The report of a run as one self-contained page: no script, no request, nothing of the users' data. Pure.

Bars are plain HTML with a width: a plotting library would make the page (and the image) megabytes larger.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job.outcome import REASONS
from job.run.report import RunReport, advice, lines
from job.words import wording

_SLICE = 16_384
"""Number of rows that are converted to Python objects at a time."""

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1c2733;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}
p.sub{color:#5b6b7b;margin:.2rem 0 1.2rem}
.tiles{display:flex;flex-wrap:wrap;gap:.75rem;margin:1rem 0}
.tile{border:1px solid #d9e0e7;border-radius:8px;padding:.6rem 1rem;min-width:7rem}
.tile b{display:block;font-size:1.5rem}.tile span{color:#5b6b7b}
.bad b{color:#b3261e}.good b{color:#1a6b3c}
table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.25rem .8rem .25rem 0;border-bottom:1px solid #eef1f4;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.bar{background:#4a7fb5;height:.8rem;border-radius:2px;min-width:1px}
td.w{width:50%}code{background:#f3f5f7;padding:0 .25rem;border-radius:3px}
@media(prefers-color-scheme:dark){body{background:#14191f;color:#dfe6ee}.tile,td,th{border-color:#2c3640}code{background:#222a33}}
"""


def page(report: RunReport, settled: pa.Table) -> str:
    """Write the whole page as HTML.

    Parameters
    ----------
    report
        The run.
    settled
        The settled outcomes of the run (`job.outcome.SCHEMA`), for the distributions.
    """
    count = report.totals
    said = wording(report.kind)
    done = (said.done, count.trained + count.scored, "good")
    tiles = [("planned", count.planned, ""), done, ("unchanged", count.unchanged, "")]
    tiles += [("skipped", count.skipped, ""), ("failed", count.failed, "bad" if count.failed else "")]
    verdict = "done" if not report.exit_code else f"exit code {report.exit_code}"
    parts = [
        f"<h1>manyfit run {escape(report.run)}</h1>",
        f"<p class=sub>{escape(report.job)} · {escape(report.output)} · {escape(report.started_at[:19])} UTC · "
        f"{report.seconds:,.1f} s · {verdict}</p>",
        "<div class=tiles>" + "".join(_tile(*each) for each in tiles) + "</div>",
        "<ul>" + "".join(f"<li>{escape(line.strip())}</li>" for line in lines(report)) + "</ul>",
    ]
    parts += _failures(settled, report.kind)
    parts += _metrics(settled, "Metric" if report.kind == "train" else "Errors:")
    parts += _distribution(f"Seconds per {said.piece}", _numbers(settled, "seconds"), "s")
    parts += _distribution("Rows per partition", _numbers(settled, "rows"), "rows")
    parts += _slowest(settled, said.piece)
    parts += [
        "<h2>Where the time went</h2>",
        _table(
            ("phase", "seconds"),
            ((said.phase(k), f"{v:,.2f}") for k, v in report.phases.items()),
        ),
    ]
    if report.spark:
        rows: list[tuple[str, str]] = [(name.replace("_", " "), f"{value:,}") for name, value in report.spark.items()]
        rows += [
            ("worker processes", f"{report.workers:,}"),
            ("peak memory of a worker, MB", f"{report.peak / 1e6:,.0f}"),
        ]
        rows += [(f"seconds in {said.effort}", f"{report.fit_seconds:,.1f}")]
        parts += ["<h2>Spark</h2>", _table(("figure", "value"), rows)]
    body = "\n".join(parts)
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>manyfit run {escape(report.run)}</title>"
        f'<meta name=viewport content="width=device-width"><style>{_STYLE}</style></head><body>{body}</body></html>'
    )


def _tile(title: str, number: int, kind: str) -> str:
    return f"<div class='tile {kind}'><b>{number:,}</b><span>{title}</span></div>"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)
    top = "".join(f"<th{'' if at == 0 else ' class=n'}>{escape(name)}</th>" for at, name in enumerate(names))
    body = "".join(
        "<tr>"
        + "".join(f"<td{'' if at == 0 else ' class=n'}>{escape(str(cell))}</td>" for at, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"


def _failures(settled: pa.Table, kind: str) -> list[str]:
    failed = settled.filter(pc.or_(pc.equal(settled["status"], "failed"), pc.equal(settled["status"], "skipped")))
    if not failed.num_rows:
        return []
    rows = []
    for each in failed.slice(0, 200).select(["key", "status", "reason", "message"]).to_pylist():
        text = f"{REASONS.get(each['reason'], '')}. {advice(each['reason'], kind)}"
        cells = (each["key"], each["status"], each["reason"], each["message"])
        rows.append(
            f"<tr title='{escape(text, quote=True)}'>"
            + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells)
            + "</tr>"
        )
    more = f"<p>… {failed.num_rows - 200:,} more in outcomes.parquet</p>" if failed.num_rows > 200 else ""
    head = "<tr><th>key<th>status<th>reason<th>message</tr>"
    return ["<h2>Failed and skipped</h2>", f"<table>{head}{''.join(rows)}</table>{more}"]


def _metrics(settled: pa.Table, title: str) -> list[str]:
    texts = pc.drop_null(settled["metrics"])
    values: dict[str, array[float]] = {}
    for begin in range(0, len(texts), _SLICE):
        for text in texts.slice(begin, _SLICE).to_pylist():
            for name, value in json.loads(text).items():
                if isinstance(value, int | float):
                    values.setdefault(name, array("d")).append(value)
    out: list[str] = []
    for name, numbers in sorted(values.items()):
        out += _distribution(f"{title} {name}", np.array(numbers, float), "")
    return out


def _numbers(settled: pa.Table, column: str) -> np.ndarray:
    values: np.ndarray = pc.drop_null(settled[column]).to_numpy().astype(float)
    return values


def _bar(share: float) -> str:
    return f"<div class=bar style='width:{100 * share:.1f}%'></div>"


def _distribution(title: str, values: np.ndarray, unit: str) -> list[str]:
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return []
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    said = f"5 % {low:.4g} · median {middle:.4g} · 95 % {high:.4g}"
    said += f" · lowest {values.min():.4g} · highest {values.max():.4g} {unit}"
    if np.ptp(values) <= 1e-9 * max(abs(values.max()), 1e-300):
        return [f"<h2>{escape(title)}</h2>", f"<p class=sub>{escape(said)}</p>"]
    counts, edges = np.histogram(values, bins=min(12, max(4, len(values) // 4)))
    most = max(int(counts.max()), 1)
    rows = "".join(
        f"<tr><td class=n>{begin:.4g} – {end:.4g}</td><td class=n>{number:,}</td>"
        f"<td class=w>{_bar(number / most) if number else ''}</td></tr>"
        for number, begin, end in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    )
    return [f"<h2>{escape(title)}</h2>", f"<p class=sub>{escape(said)}</p>", f"<table>{rows}</table>"]


def _slowest(settled: pa.Table, piece: str) -> list[str]:
    timed = settled.select(["key", "seconds", "rows", "bytes"]).filter(pc.is_valid(settled["seconds"]))
    if timed.num_rows < 2:
        return []
    order = pc.sort_indices(timed, sort_keys=[("seconds", "descending")])[:10]
    rows: list[Mapping[str, Any]] = timed.take(order).to_pylist()
    cells = ((str(r["key"]), f"{r['seconds']:.3f}", f"{r['rows'] or 0:,}", f"{r['bytes'] or 0:,}") for r in rows)
    return [f"<h2>Slowest {piece}s</h2>", _table(("key", "seconds", "rows", "bytes"), cells)]
