"""Where did the time go? The event time line (which worker did what, when), slow keys, skew and idle workers. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job.page import bins, charts
from job.page.facts import Facts
from job.page.section import SHOWN, Column, Grid, Picture, Section, duration, figures, keys, written
from job.words import Wording

Numbers = np.ndarray
LANES = 64
"""Number of workers that the time line shows: the first and the last to end, and some between, if there are more."""
PIECES = 3_000
"""Number of marks of a time line; if there are more tasks, successive tasks are drawn as one."""
FITS = 600
"""Up to this number of fits, each fit is drawn; above it, each task."""
_LONGEST_NAME = 26
_BAD = 0.2
"""A task is drawn red if a larger share of its keys failed."""


def of(facts: Facts) -> Section | None:
    """The section about time; None if the run trained nothing, or its outcomes have expired."""
    if facts.outcomes is None:
        return None
    own = facts.outcomes.filter(
        pc.and_(pc.and_(pc.is_valid(facts.outcomes["worker"]), pc.is_valid(facts.outcomes["finished_at"])),
                pc.invert(pc.fill_null(facts.outcomes["adopted"], False)))
    )  # fmt: skip
    if not own.num_rows or not pc.any(pc.greater(own["seconds"], 0.0)).as_py():
        return None
    workers = own["worker"].cast(pa.string()).dictionary_encode().combine_chunks()
    work = Work(
        worker=workers.indices.to_numpy(zero_copy_only=False).astype(np.int64),
        names=workers.dictionary.to_pylist(),
        task=own["task"].to_numpy().astype(np.int64),
        end=own["finished_at"].to_numpy().astype(float),
        seconds=pc.fill_null(own["seconds"], 0.0).to_numpy().astype(float),
        failed=pc.equal(own["status"].cast(pa.string()), "failed").to_numpy(zero_copy_only=False).astype(bool),
    )
    tasks = work.tasks()
    busy = float(work.seconds.sum())
    span = float(tasks["end"].max() - tasks["begin"].min())
    share = busy / (len(work.names) * span) if span > 0 else 1.0
    pictures = [_time_line(own, work, tasks, facts.words), _seconds(work.seconds, facts.words)]
    if len(work.names) > 1:
        pictures.append(_by_worker(work, tasks, facts.words))
    slowest = float(work.seconds.max())
    middle = float(np.median(work.seconds[work.seconds > 0]))  # a key without rows takes no time
    most = int(_at_once(tasks))
    crowd = f"{len(work.names):,} worker{'s' if len(work.names) != 1 else ''}"
    words = facts.words
    said = f"{crowd} {words.done} {keys(own.num_rows)} in {len(tasks['task']):,} tasks over {duration(span)}, "
    said += f"at most {most:,} at once: {written(min(share, 1.0), 'share')} of their time went into {words.effort}, "
    said += f"the rest into reading, writing and waiting. The slowest {words.piece} took {duration(slowest)}"
    said += f", {slowest / middle:,.0f} times the median." if slowest > 1.5 * middle else "."
    return Section(
        name="time",
        question="Where did the time go?",
        answer=said,
        pictures=tuple(pictures),
        grids=(_slowest(own, words),),
        behind=figures(
            "time",
            "Where the time went",
            workers=len(work.names),
            keys=own.num_rows,
            tasks=len(tasks["task"]),
            seconds=span,
            at_once=most,
            fitting_share=min(share, 1.0),
            slowest=slowest,
            median=middle,
        ),
    )


class Work:
    """Outcomes of a run as columns, each with one value for each key.

    Parameters
    ----------
    worker
        Number of the worker, an index of ``names``.
    names
        Names of the workers.
    task
        Number of the task.
    end
        End of the fit, in seconds since the epoch.
    seconds
        Duration of the fit, in seconds.
    failed
        Whether the key failed.
    """

    def __init__(
        self, *, worker: Numbers, names: list[str], task: Numbers, end: Numbers, seconds: Numbers, failed: Numbers
    ) -> None:
        self.worker, self.names, self.task, self.end, self.seconds, self.failed = (
            worker,
            names,
            task,
            end,
            seconds,
            failed,
        )

    def tasks(self) -> dict[str, Numbers]:
        """Columns with one row for each task of each worker, sorted by worker and begin.

        The columns are worker, task, begin, end, keys, failed, and busy (seconds of fits).
        """
        group = self.worker * (int(self.task.max()) + 1) + self.task
        order = np.argsort(group, kind="stable")
        first = np.flatnonzero(np.append(True, np.diff(group[order]) != 0))
        begin = np.minimum.reduceat((self.end - self.seconds)[order], first)
        found = {
            "worker": self.worker[order][first],
            "task": self.task[order][first],
            "begin": begin,
            "end": np.maximum.reduceat(self.end[order], first),
            "keys": np.add.reduceat(np.ones(len(order), np.int64), first),
            "failed": np.add.reduceat(self.failed[order].astype(np.int64), first),
            "busy": np.add.reduceat(self.seconds[order], first),
        }
        by_time = np.lexsort((found["begin"], found["worker"]))
        return {name: column[by_time] for name, column in found.items()}


def _at_once(tasks: dict[str, Numbers]) -> int:
    """The largest number of tasks that ran at one moment."""
    moments = np.concatenate([tasks["begin"], tasks["end"]])
    steps = np.repeat([1, -1], len(tasks["begin"]))
    # if one task ends at the moment at which another begins, count the end first
    order = np.lexsort((steps, moments))
    return int(np.cumsum(steps[order]).max())


def _short(name: str) -> str:
    host, _, process = name.rpartition(":")
    return f"{host if len(host) <= _LONGEST_NAME else '…' + host[-_LONGEST_NAME:]}:{process}" if host else name


def _time_line(own: pa.Table, work: Work, tasks: dict[str, Numbers], words: Wording) -> Picture:
    start = float(tasks["begin"].min())
    ends = np.full(len(work.names), -np.inf)
    np.maximum.at(ends, tasks["worker"], tasks["end"])
    ranked = np.argsort(ends, kind="stable")
    shown = ranked if len(ranked) <= LANES else ranked[np.unique(np.linspace(0, len(ranked) - 1, LANES).astype(int))]
    lane = {int(worker): _short(work.names[worker]) for worker in shown}
    rows = [
        (work.names[int(tasks["worker"][at])], int(tasks["task"][at]), float(tasks["begin"][at] - start),
         float(tasks["end"][at] - start), int(tasks["keys"][at]), int(tasks["failed"][at]), float(tasks["busy"][at]))
        for at in range(len(tasks["task"]))
    ]  # fmt: skip
    grid = Grid(
        name="tasks",
        title="Tasks by worker",
        columns=(
            Column(name="worker"),
            Column(name="task", kind="count"),
            Column(name="begin", kind="seconds"),
            Column(name="end", kind="seconds"),
            Column(name="keys", kind="count"),
            Column(name="failed", kind="count"),
            Column(name="fitting", kind="seconds"),
        ),
        rows=rows,
    )
    fine = own.num_rows <= FITS
    values = _fits(own, work, lane, start) if fine else _pieces(tasks, lane, start)
    span = float(tasks["end"].max() - start)
    spec = charts.lanes(values, order=[lane[int(each)] for each in shown], labelled=len(shown) <= 40, span=span)
    note = "Each row is a worker process; each bar is "
    note += (
        f"one {words.piece}, red if it failed"
        if fine
        else f"a task of many keys, red if more than {_BAD:.0%} of them failed"
    )
    note += ". Neighbouring tasks have two shades. Gaps are reading, writing and waiting."
    if len(shown) < len(ranked):
        note += f" {len(shown):,} of {len(ranked):,} workers are drawn, from the first to end to the last."
    return Picture(title="Event time line: which worker did what, when", spec=spec, grid=grid, note=note, wide=True)


def _colour(failed: bool, number: int) -> str:
    return "var(--failed)" if failed else charts.SERIES[0] if number % 2 == 0 else charts.SERIES[1]


def _fits(own: pa.Table, work: Work, lane: dict[int, str], start: float) -> list[dict[str, Any]]:
    names, statuses = own["key"].to_pylist(), own["status"].cast(pa.string()).to_pylist()
    found = []
    for at in np.argsort(work.end, kind="stable").tolist():
        if (worker := int(work.worker[at])) in lane:
            seconds, end = float(work.seconds[at]), float(work.end[at] - start)
            found.append(
                {
                    "lane": lane[worker],
                    "begin": max(0.0, end - seconds),
                    "end": end,
                    "colour": _colour(bool(work.failed[at]), int(work.task[at])),
                    "said": f"{names[at]}: {statuses[at]} in {duration(seconds)}, task {int(work.task[at])}",
                }
            )
    return found


def _pieces(tasks: dict[str, Numbers], lane: dict[int, str], start: float) -> list[dict[str, Any]]:
    chosen = [at for at in range(len(tasks["task"])) if int(tasks["worker"][at]) in lane]
    every = -(-len(chosen) // PIECES)
    found: list[dict[str, Any]] = []
    numbers: dict[int, int] = {}
    for at in chosen:
        worker = int(tasks["worker"][at])
        number = numbers[worker] = numbers.get(worker, -1) + 1
        begin, end = float(tasks["begin"][at] - start), float(tasks["end"][at] - start)
        keyed, failed = int(tasks["keys"][at]), int(tasks["failed"][at])
        if number % every and found:
            last = found[-1]
            last["end"], last["keys"], last["failed"] = (
                max(last["end"], end),
                last["keys"] + keyed,
                last["failed"] + failed,
            )
            last["last"] = int(tasks["task"][at])
            continue
        task = int(tasks["task"][at])
        found.append({"lane": lane[worker], "begin": begin, "end": end, "keys": keyed, "failed": failed,
                      "first": task, "last": task, "number": number // every})  # fmt: skip
    for each in found:
        named = f"task {each['first']}" if every == 1 else f"{every} tasks from {each['first']}"
        bad = f", {each['failed']:,} failed" if each["failed"] else ""
        each["said"] = f"{named}: {keys(each['keys'])}{bad}, {duration(each['end'] - each['begin'])}"
        each["colour"] = _colour(each.pop("failed") > _BAD * each["keys"], each.pop("number"))
        del each["first"], each["last"]
    return found


def _seconds(seconds: Numbers, words: Wording) -> Picture:
    positive = seconds[seconds > 0]
    wide = bins.is_wide(positive)
    shown = bins.histogram(positive if len(positive) else seconds, log=wide, unit=" s")
    grid = bins.grid("fit_seconds", f"Seconds per {words.piece}", shown, "seconds")
    middle = float(np.median(positive)) if len(positive) else 0.0
    marks = [(middle, f"median {duration(middle)}")] if len(positive) else []
    spec = charts.histogram(shown, title=f"seconds per {words.piece}", log=wide, marks=marks)
    return Picture(title=f"How long {words.piece}s took", spec=spec, grid=grid)


def _by_worker(work: Work, tasks: dict[str, Numbers], words: Wording) -> Picture:
    start, finish = float(tasks["begin"].min()), float(tasks["end"].max())
    span = max(finish - start, 1e-9)
    count = len(work.names)
    busy = np.bincount(work.worker, weights=work.seconds, minlength=count)
    fitted = np.bincount(work.worker, minlength=count)
    ends = np.full(count, -np.inf)
    np.maximum.at(ends, tasks["worker"], tasks["end"])
    rows = [
        (work.names[at], int(fitted[at]), float(busy[at]), float(min(1.0, busy[at] / span)), float(ends[at] - start))
        for at in np.argsort(-busy, kind="stable").tolist()
    ]
    grid = Grid(
        name="workers",
        title="Workers",
        columns=(
            Column(name="worker"),
            Column(name="keys", kind="count"),
            Column(name="fitting", kind="seconds"),
            Column(name="share of the time", kind="share"),
            Column(name="last word", kind="seconds"),
        ),
        rows=rows,
    )
    if count <= 16:
        values = [
            {
                "label": _short(name),
                "number": 100 * share,
                "said": f"{name}: {written(share, 'share')} of its time in {words.effort}, {keys(number)}",
            }
            for name, number, _, share, _ in rows
        ]
        spec = charts.bars(values, label="label", number="number", title=f"% of the time spent in {words.effort}")
    else:
        shares = np.array([row[3] for row in rows]) * 100
        spec = charts.histogram(
            [
                {**each, "said": each["said"].replace("key", "worker")}
                for each in bins.histogram(shares, log=False, unit=" %")
            ],
            title=f"% of the time spent in {words.effort} (keys axis: workers)",
        )
    return Picture(title="How busy the workers were", spec=spec, grid=grid)


def _slowest(own: pa.Table, words: Wording) -> Grid:
    timed = own.select(["key", "seconds", "rows", "bytes", "worker", "task"]).filter(pc.is_valid(own["seconds"]))
    order = pc.sort_indices(timed, sort_keys=[("seconds", "descending")])[:SHOWN]
    rows = timed.take(order).to_pylist()
    return Grid(
        name="slowest",
        title=f"The slowest {len(rows):,} {words.piece}s",
        columns=(
            Column(name="key"),
            Column(name="seconds", kind="seconds"),
            Column(name="rows", kind="count"),
            Column(name="bytes", kind="bytes"),
            Column(name="task", kind="count"),
            Column(name="worker"),
        ),
        rows=[tuple(row[name] for name in ("key", "seconds", "rows", "bytes", "task", "worker")) for row in rows],
    )
