"""Did last night go well? The verdict, the counts of keys, and a comparison with the runs before. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from statistics import median
from typing import Any

from job.page import charts
from job.page.facts import Facts
from job.page.section import Column, Grid, Picture, Section, duration, keys, written
from job.words import pace

_PARTS = ("trained", "scored", "taken over", "unchanged", "skipped", "failed")


def of(facts: Facts) -> Section:
    """The first section: how the run went."""
    result = facts.result
    count, seconds, words = result["totals"], float(result["seconds"]), facts.words
    rate, cores = rate_of(result), core_seconds(result)
    figures = [
        (f"{count['planned']:,}", "planned"),
        (f"{done_of(result):,}", words.done),
        (f"{count['failed']:,}", "failed"),
        (duration(seconds), "duration"),
        ("–" if rate is None else f"{pace(rate)}/s", words.things),
        ("–" if cores is None else duration(cores), "core time"),
        ("–" if facts.version is None else f"{facts.version}", "version"),
    ]
    runs = _runs(facts)
    pictures = [_accounting(facts), *_history(facts, runs), _phases(facts)]
    return Section(
        name="night",
        question="Did the run go well?",
        answer=f"{verdict(result)} {_beside(facts)}".strip(),
        tone="bad" if result["exit_code"] else "good" if not count["failed"] else "plain",
        pictures=tuple(pictures),
        figures=tuple(figures),
        behind=runs,
    )


def verdict(result: Mapping[str, Any]) -> str:
    """One sentence about how a run ended."""
    count = result["totals"]
    planned, failed, skipped = count["planned"], count["failed"], count["skipped"]
    if result["exit_code"] == 6:
        stays = "" if result["published"] else " Nothing was published."
        return f"No: {failed:,} of {planned:,} keys failed, more than run.max_failed allows.{stays}"
    if result["exit_code"]:
        return f"No: the run ended with exit code {result['exit_code']}."
    if failed:
        return f"Mostly: {failed:,} of {planned:,} keys failed, which run.max_failed allows."
    if not result["published"]:
        return "Yes: nothing changed, and the published version stays."
    skips = f"; {skipped:,} skipped" if skipped else ""
    return f"Yes: every one of {keys(planned)} was dealt with and none failed{skips}."


def done_of(result: Mapping[str, Any]) -> int:
    """The number of keys that were trained or scored."""
    return int(result["totals"]["trained"] + result["totals"].get("scored", 0))


def rate_of(result: Mapping[str, Any]) -> float | None:
    """Models per second of the training, or keys per second of the scoring; None if there were none."""
    done = done_of(result) - result["totals"].get("adopted", 0)
    seconds = result.get("phases", {}).get("train")
    return done / seconds if seconds and done > 0 else None


def core_seconds(result: Mapping[str, Any]) -> float | None:
    """Worker processes times the seconds of training or scoring, which is its cost; None if there was none."""
    workers, train = result.get("workers", 0), result.get("phases", {}).get("train", 0.0)
    return float(workers * train) if workers else None


def _beside(facts: Facts) -> str:
    earlier = [each for each in facts.runs[:-1] if done_of(each)]
    if not earlier or not done_of(facts.result):
        return ""
    usual = median(float(each["seconds"]) for each in earlier)
    now = float(facts.result["seconds"])
    said = f"It took {duration(now)}; the median of the {len(earlier):,} earlier runs that {facts.words.done} "
    said += f"is {duration(usual)}."
    if len(earlier) == 1:
        said = f"It took {duration(now)}, the run before {duration(usual)}."
    return said


def _accounting(facts: Facts) -> Picture:
    count = facts.result["totals"]
    adopted = count.get("adopted", 0)
    done = facts.words.done
    numbers = {"scored": 0, **count, "taken over": adopted}
    numbers[done] -= adopted
    planned = max(count["planned"], 1)
    rows = [(name, numbers[name], numbers[name] / planned) for name in _PARTS if numbers[name]]
    rows = rows or [("unchanged", 0, 0.0)]
    grid = Grid(
        name="accounting",
        title=f"{count['planned']:,} planned",
        columns=(Column(name="status"), Column(name="keys", kind="count"), Column(name="share", kind="share")),
        rows=rows,
        command=facts.of_set("status", f"--run {facts.run} --json"),
    )
    parts = [(name, number, f"{name}: {keys(number)}, {written(share, 'share')}") for name, number, share in rows]
    note = f"{count['gone']:,} published keys are gone from the input. " if count.get("gone") else ""
    if count.get("superseded"):
        note += f"{count['superseded']:,} outcomes were overtaken by a newer run."
    return Picture(
        title="What became of the planned keys",
        spec=charts.one_bar(parts, charts.STATUS, unit="keys"),
        grid=grid,
        note=note.strip(),
        wide=True,
    )


def labels(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """A short and unique name for each run on an axis: the time when it began."""
    moments = [datetime.fromisoformat(str(each["started_at"])) for each in runs]
    days = len({each.date() for each in moments})
    form = "%d %b %H:%M" if days > 1 else "%H:%M:%S"
    if days == len(moments):
        form = "%d %b"
    seen: dict[str, int] = {}
    found = []
    for moment in moments:
        text = moment.strftime(form)
        seen[text] = seen.get(text, 0) + 1
        found.append(text if seen[text] == 1 else f"{text} ({seen[text]})")
    return found


def _runs(facts: Facts) -> Grid:
    """A grid of the run and the runs before it."""
    words = facts.words
    statuses = ("planned", words.done, "unchanged", "skipped", "failed")
    rows = []
    for each in facts.runs:
        count = each["totals"]
        rows.append(
            (
                str(each["run"]),
                datetime.fromisoformat(str(each["started_at"])),
                each["exit_code"],
                float(each["seconds"]),
                rate_of(each),
                core_seconds(each),
                *(count.get(name, 0) for name in statuses),
                each["version"],
            )
        )
    return Grid(
        name="runs",
        title="Runs",
        columns=(
            Column(name="run"),
            Column(name="started_at", kind="time"),
            Column(name="exit_code", kind="count"),
            Column(name="seconds", kind="seconds"),
            Column(name=f"{words.things}_per_second", kind="number"),
            Column(name="core_seconds", kind="seconds"),
            *(Column(name=name, kind="count") for name in statuses),
            Column(name="version", kind="count"),
        ),
        rows=rows,
        command=facts.of_run(f"--last {len(rows)} --table runs"),
    )


def _history(facts: Facts, grid: Grid) -> list[Picture]:
    if len(facts.runs) < 2:
        return []
    names, rows, words = labels(facts.runs), grid.rows, facts.words

    def values(at: int, unit: str) -> list[dict[str, Any]]:
        found = []
        for name, row in zip(names, rows, strict=True):
            colour = "var(--failed)" if row[2] else charts.SERIES[0]
            said = f"{row[0]}: {written(row[at], 'seconds' if at == 3 else 'number')}{unit}, {row[7]:,} {words.done}"
            said += f", {row[10]:,} failed" if row[10] else ""
            said += f", exit code {row[2]}" if row[2] else ""
            found.append({"run": name, "number": row[at], "colour": colour, "said": said})
        return found

    fast = [value for value in values(4, f" {words.things}/s") if value["number"] is not None]
    seconds = charts.over_runs(values(3, ""), number="number", labels=names, title="seconds", now=names[-1])
    pictures = [Picture(title="Duration of this run and those before", spec=seconds, grid=grid)]
    if fast:
        rates = charts.over_runs(fast, number="number", labels=names, title=f"{words.things}/s", now=names[-1])
        note = f"Runs that {words.done} nothing have no bar."
        pictures.append(Picture(title=f"{words.things.capitalize()} per second", spec=rates, grid=grid, note=note))
    cost = [value for value in values(5, " s of core time") if value["number"] is not None]
    if cost:
        spent = charts.over_runs(cost, number="number", labels=names, title="core seconds", now=names[-1])
        note = f"Worker processes times the seconds of {words.going}."
        pictures.append(Picture(title="What it cost: core time", spec=spent, grid=grid, note=note))
    return pictures


def _phases(facts: Facts) -> Picture:
    phases = facts.result.get("phases", {}).items()
    rows = [(facts.words.phase(name), float(seconds)) for name, seconds in phases]
    grid = Grid(
        name="phases",
        title="Phases",
        columns=(Column(name="phase"), Column(name="seconds", kind="seconds")),
        rows=rows,
        command=facts.of_set("status", f"--run {facts.run} --json"),
    )
    values = [{"label": name, "number": value, "said": f"{name}: {duration(value)}"} for name, value in rows]
    return Picture(
        title="Phases of the run",
        spec=charts.bars(values, label="label", number="number", title="seconds"),
        grid=grid,
        note="prepare: stores and signatures; settle: one outcome for each key; publish: the new version.",
    )
