"""Vega-Lite charts of grids. Pure: takes and returns plain dictionaries.

Colours are CSS variables of the page (light and dark), so one drawing serves both. Each mark has a ``description``,
which `job.page.svg` turns into the text that is shown on hover.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

WIDE, HALF = 960, 460
STATUS = {
    "trained": "var(--trained)",
    "scored": "var(--trained)",
    "taken over": "var(--adopted)",
    "unchanged": "var(--unchanged)",
    "skipped": "var(--skipped)",
    "failed": "var(--failed)",
    "gone": "var(--gone)",
}
SERIES = tuple(f"var(--series{number})" for number in range(1, 8))
"""colours of series; the first two are shades of one colour, for neighbours of the same kind"""
_KINDS = tuple(SERIES[at] for at in (0, 2, 3, 4, 5, 6, 1))

_CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--soft)",
        "titleColor": "var(--soft)",
        "gridColor": "var(--grid)",
        "domainColor": "var(--axis)",
        "tickColor": "var(--axis)",
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "labelLimit": 170,
    },
    "legend": {
        "labelColor": "var(--ink)",
        "titleColor": "var(--soft)",
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "orient": "top",
        "symbolType": "square",
        "symbolStrokeWidth": 0,
    },
    "rule": {"color": "var(--axis)"},
    "text": {"color": "var(--soft)", "fontSize": 11, "aria": False},
}

Values = Iterable[Mapping[str, Any]]


def _spec(width: int, height: int, *, values: Values | None = None, **rest: Any) -> dict[str, Any]:
    data = {} if values is None else {"data": {"values": list(values)}}
    size = {"width": width, "height": height, "autosize": {"type": "fit", "contains": "padding"}}
    return {**size, **data, "config": _CONFIG, **rest}


def _axis(field: str, title: str | None, *, kind: str = "quantitative", **rest: Any) -> dict[str, Any]:
    return {"field": field, "type": kind, "title": title, **rest}


_ROOM = 64
"""Number of letters that fit side by side below a picture of `HALF` width."""
_SAID = {"field": "said", "type": "nominal"}


def _ticks(most: float, *, whole: bool, about: int = 4) -> dict[str, Any]:
    """The ticks of an axis of amounts. Large amounts are written as ``20k``; few keys get whole ticks only."""
    if whole and most <= about:
        return {"values": list(range(int(most) + 1)), "format": "d"}
    return {"tickCount": about, "labelExpr": "format(datum.value, '~s')"} if most >= 1e4 else {"tickCount": about}


def _turned(labels: Sequence[str]) -> dict[str, Any]:
    """An axis of labels. They are turned if they are too long to fit side by side."""
    width = sum(len(each) + 2 for each in labels)
    return {"labelAngle": -40 if width > _ROOM else 0, "labelOverlap": True}


def _most(values: Iterable[Mapping[str, Any]], name: str) -> float:
    return max((float(each[name] or 0) for each in values), default=0.0)


def one_bar(parts: Sequence[tuple[str, float, str]], colours: Mapping[str, str], *, unit: str) -> dict[str, Any]:
    """Parts of a whole as one bar: (name, number, hover text)."""
    values = [
        {"part": name, "number": number, "said": said, "rank": rank} for rank, (name, number, said) in enumerate(parts)
    ]
    names = [name for name, _, _ in parts]
    return _spec(
        WIDE,
        92,
        values=values,
        mark={"type": "bar", "height": 26, "stroke": "var(--card)", "strokeWidth": 1},
        encoding={
            "x": _axis(
                "number",
                unit,
                stack="zero",
                scale={"nice": False},
                axis={"grid": False, **_ticks(sum(number for _, number, _ in parts), whole=True, about=6)},
            ),
            "order": {"field": "rank", "type": "ordinal"},
            "color": {
                "field": "part",
                "type": "nominal",
                "sort": names,
                "scale": {"domain": names, "range": [colours[name] for name in names]},
                "legend": {"title": None, "direction": "horizontal"},
            },
            "description": _SAID,
        },
    )


def bars(
    values: Values,
    *,
    label: str,
    number: str,
    title: str,
    colour: str = SERIES[0],
    log: bool = False,
    height: int | None = None,
) -> dict[str, Any]:
    """Horizontal bars in the order of ``values``.

    Each value has the fields named by ``label`` and ``number``, ``said`` (hover text), and ``colour`` if it differs.
    """
    rows = [{"colour": colour, **each} for each in values]
    whole = all(float(each[number] or 0).is_integer() for each in rows)
    axis = _ticks(_most(rows, number), whole=whole, about=5)
    return _spec(
        HALF,
        height or max(60, 24 * len(rows) + 40),
        values=rows,
        mark={"type": "bar", "height": {"band": 0.7}},
        encoding={
            "y": _axis(label, None, kind="nominal", sort=None, axis={"ticks": False, "domain": False}),
            "x": _axis(number, title, axis=axis, scale={"type": "symlog"} if log else {"zero": True}),
            "color": {"field": "colour", "type": "nominal", "scale": None},
            "description": _SAID,
        },
    )


def histogram(
    values: Values, *, title: str, log: bool = False, marks: Sequence[tuple[float, str]] = ()
) -> dict[str, Any]:
    """A histogram of bins (``begin``, ``end``, ``keys``, ``said``); ``marks`` are vertical lines: (place, name)."""
    rows = list(values)
    scale: dict[str, Any] = {"type": "log", "nice": False} if log else {"zero": False, "nice": False}
    x = _axis("begin", title, scale=scale, axis={"grid": False, "tickCount": 6, "labelOverlap": True})
    top = _ticks(_most(rows, "keys"), whole=True)
    layers: list[dict[str, Any]] = [
        {
            # on a logarithmic scale bins are rectangles from 0: a bar between two places would float at its height
            "mark": {"type": "rect" if log else "bar", "color": SERIES[0], "stroke": "var(--card)", "strokeWidth": 0.8},
            "encoding": {
                "x": {**x, "bin": {"binned": True}} if not log else x,
                "x2": {"field": "end"},
                "y": _axis("keys", "keys", axis=top),
                **({"y2": {"datum": 0}} if log else {}),
                "description": _SAID,
            },
        }
    ]
    for at, name in marks:
        line = {"at": at, "said": name}
        layers.append(
            {
                "data": {"values": [line]},
                "mark": {"type": "rule", "color": "var(--ink)", "strokeDash": [3, 3], "y": -3},
                "encoding": {"x": {"field": "at", "type": "quantitative"}, "description": _SAID},
            }
        )
        layers.append(
            {
                "data": {"values": [line]},
                "mark": {
                    "type": "text",
                    "align": "center",
                    "y": -4,
                    "baseline": "bottom",
                    "color": "var(--ink)",
                    "aria": False,
                },
                "encoding": {
                    "x": {"field": "at", "type": "quantitative"},
                    "text": {"field": "said", "type": "nominal"},
                },
            }
        )
    return _spec(HALF, 190, values=rows, layer=layers)


def scatter(
    points: Values,
    cells: Values,
    *,
    x: str,
    y: str,
    log_x: bool = False,
    diagonal: tuple[float, float] | None = None,
    width: int = HALF,
    height: int = 260,
) -> dict[str, Any]:
    """A scatter plot: dots with names, drawn over squares that stand for many keys.

    Parameters
    ----------
    points
        Fields ``x``, ``y``, ``said`` (hover text) and ``bad`` (drawn in the colour of failures).
    cells
        Fields ``x``, ``x2``, ``y``, ``y2``, ``keys``, ``said``; empty if all dots are drawn.
    x, y
        Titles of the axes.
    diagonal
        Begin and end of the line "nothing changed", on both axes; None for no line.
    """
    scale: dict[str, Any] = {"type": "log", "nice": False} if log_x else {"zero": False}
    dots, squares = list(points), list(cells)
    across = _axis("x", x, scale=scale, axis={"tickCount": 6, "labelOverlap": True, "labelSeparation": 4})
    up = _axis("y", y, scale={"zero": False}, axis={"tickCount": 5})
    layers: list[dict[str, Any]] = []
    if squares:
        shade = {"type": "sqrt", "range": [0.12, 1.0]}
        layers.append(
            {
                "data": {"values": squares},
                "mark": {"type": "rect", "color": SERIES[0]},
                "encoding": {
                    "x": across,
                    "x2": {"field": "x2"},
                    "y": up,
                    "y2": {"field": "y2"},
                    "opacity": {"field": "keys", "type": "quantitative", "scale": shade, "legend": None},
                    "description": _SAID,
                },
            }
        )
    if diagonal:
        low, high = diagonal
        layers.append(
            {
                "data": {"values": [{"x": low, "y": low, "x2": high, "y2": high}]},
                "mark": {"type": "rule", "strokeDash": [4, 3], "color": "var(--soft)", "aria": False},
                "encoding": {"x": across, "y": up, "x2": {"field": "x2"}, "y2": {"field": "y2"}},
            }
        )
    for bad, colour in ((False, SERIES[0]), (True, "var(--failed)")):
        chosen = [each for each in dots if bool(each["bad"]) is bad]
        if chosen:
            layers.append(
                {
                    "data": {"values": chosen},
                    "mark": {"type": "circle", "size": 26, "opacity": 0.8 if bad else 0.55, "color": colour},
                    "encoding": {"x": across, "y": up, "description": _SAID},
                }
            )
    return _spec(width, height, layer=layers)


def stacked(values: Values, *, order: Sequence[str], labels: Sequence[str], title: str) -> dict[str, Any]:
    """One bar of stacked parts for each run: fields ``run`` (one of ``labels``), ``part``, ``number`` and ``said``."""
    values = list(values)
    heights = Counter[str]()
    for each in values:
        heights[each["run"]] += each["number"]
    highest = max(heights.values(), default=0)
    return _spec(
        HALF,
        220,
        values=values,
        mark={"type": "bar"},
        encoding={
            "x": _axis("run", None, kind="ordinal", sort=list(labels), axis=_turned(labels)),
            "y": _axis("number", title, axis=_ticks(highest, whole=True)),
            "color": {
                "field": "part",
                "type": "nominal",
                "scale": {"domain": list(order), "range": list(_KINDS[: len(order)])},
                "legend": {"title": None, "columns": 3, "labelLimit": 130},
            },
            "description": _SAID,
        },
    )


def over_runs(values: Values, *, number: str, labels: Sequence[str], title: str, now: str) -> dict[str, Any]:
    """One bar for each run, in the colour of its field ``colour``. Runs other than ``now`` are paler."""
    values = list(values)
    return _spec(
        HALF,
        190,
        values=values,
        mark={"type": "bar", "cornerRadiusEnd": 2},
        encoding={
            "x": _axis("run", None, kind="ordinal", sort=list(labels), axis=_turned(labels)),
            "y": _axis(number, title, axis=_ticks(_most(values, number), whole=False)),
            "color": {"field": "colour", "type": "nominal", "scale": None},
            "opacity": {"condition": {"test": f"datum.run === {now!r}", "value": 1}, "value": 0.6},
            "description": _SAID,
        },
    )


def lanes(values: Values, *, order: Sequence[str], labelled: bool, span: float) -> dict[str, Any]:
    """Intervals over time, in lanes of workers: fields ``lane``, ``begin``, ``end`` (seconds), ``colour``, ``said``."""
    band = 18 if len(order) <= 24 else 9 if labelled else max(2, 430 // max(len(order), 1))
    unit, divisor = ("seconds", 1) if span < 300 else ("minutes", 60) if span < 7200 * 2 else ("hours", 3600)
    rows = [{**each, "begin": each["begin"] / divisor, "end": each["end"] / divisor} for each in values]
    hidden = {"labels": False, "ticks": False, "domain": False}
    lane = _axis("lane", None, kind="ordinal", sort=list(order), axis={"ticks": False, "domain": False})
    return _spec(
        WIDE,
        band * len(order) + 45,
        values=rows,
        mark={"type": "bar", "height": {"band": 0.82}, "stroke": "var(--card)", "strokeWidth": 0.5},
        encoding={
            "x": _axis("begin", f"{unit} since the first task began", axis={"tickCount": 10}),
            "x2": {"field": "end"},
            "y": lane if labelled else {**lane, "axis": hidden},
            "color": {"field": "colour", "type": "nominal", "scale": None},
            "description": _SAID,
        },
    )
