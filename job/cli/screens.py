"""The output of commands: for a person, and as plain data for ``--json``."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from job import run_paths
from job.arrow import whole
from job.errors import ConfigurationError, NotFoundError
from job.plan.compare import WHY
from job.plan.packing import FIT_MEMORY, UNPACKED
from job.plan.plan import TRAIN, Plan
from job.plan.table_facts import facts
from job.run import report
from job.run.progress import State
from job.run.report import RunReport
from job.words import TRAINING, Wording, clock, counted, pace, size, wording

if TYPE_CHECKING:
    from job.config.load import Loaded
    from job.run.assembly import Assembly
    from job.store import Store


def print_json(value: Any) -> None:
    """Print one JSON document on standard output."""
    print(json.dumps(value, ensure_ascii=False, indent=1, default=str))


def out() -> Console:
    """A console for standard output; in a pipe it is 240 columns wide and has no colours."""
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 240)


def err() -> Console:
    """A console for standard error."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def settings_in_force(loaded: Loaded) -> None:
    """On a terminal, print the settings that a source sets, each with its place."""
    console = err()
    if not console.is_terminal:
        return
    for path, value, place in loaded.changed():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        console.print(f"  [dim]{path}[/dim] = {plain(text)}  [dim]({plain(place)})[/dim]")


def plain(text: str) -> str:
    """The text with escaped brackets, which rich would take for markup."""
    return text.replace("[", "\\[")


def plan_document(plan: Plan, assembly: Assembly, *, keys: bool) -> dict[str, Any]:
    """The plan as plain data."""
    due = plan.with_action(TRAIN)
    sizes = due["bytes"].to_numpy()
    found: dict[str, Any] = {
        "input": assembly.input.uri,
        "output": assembly.output.uri,
        "planned": plan.planned,
        "train": due.num_rows,
        "unchanged": plan.count("unchanged"),
        "skip": plan.count("skip"),
        "adopt": plan.count("adopt"),
        "why": plan.reasons(),
        "gone": len(plan.gone),
        "published": plan.published,
        "ignored": plan.ignored,
        "unmatched": plan.unmatched,
        "objects": plan.objects.num_rows,
        "bytes": int(sizes.sum()),
        "largest": int(sizes.max()) if len(sizes) else 0,
        "largest_key": due["key"][int(sizes.argmax())].as_py() if len(sizes) else None,
        "median": float(np.median(sizes)) if len(sizes) else 0.0,
        "estimated_core_seconds": round(float(due["cost"].to_numpy().sum()), 1),
        "listed_at": plan.listed_at.isoformat(),
    }
    if plan.table is not None and due.num_rows:
        told = facts(plan.table, whole(due["key"]), due["cost"].to_numpy())
        found["table"] = asdict(told)
    found["advice"] = _advice(found)
    if keys:
        found["keys"] = plan.keys.select(["key", "action", "why", "bytes"]).to_pylist()
        found["gone_keys"] = plan.gone.to_pylist()
    return found


def _advice(found: dict[str, Any]) -> list[str]:
    if not found["train"]:
        return []
    seconds, largest = found["estimated_core_seconds"], found["largest"]
    memory = found["table"]["memory"] if "table" in found else largest * UNPACKED * FIT_MEMORY
    spent = f"about {clock(seconds)}" if seconds >= 1 else "less than a second"
    said = [f"{spent} of core time, if fits are as fast as before or linear"]
    if memory > 200e6:
        said.append(
            f"the largest partition may need {size(memory)} of worker memory: size executors by it, or set run.memory"
        )
    useful = min(round(seconds / 60), found["train"])
    if useful > 1:
        said.append(f"{useful:,} cores would be busy for about a minute")
    if found["train"] > 10 and largest > 10 * max(found["median"], 1):
        said.append(
            f"skewed: the largest ({found['largest_key']}, {size(largest)}) is "
            f"{largest / max(found['median'], 1):,.0f} times the median; it is trained first"
        )
    return said


def plan(plan: Plan, assembly: Assembly, *, keys: bool) -> None:
    """Print the plan for a person."""
    console, found = out(), plan_document(plan, assembly, keys=keys)
    console.print(f"{found['input']} → {found['output']}")
    table = Table(box=None, show_header=False, pad_edge=False)
    for why, number in found["why"].items():
        action = {"unchanged": "leave", "skipped": "skip", "finished": "take over"}.get(why, "train")
        table.add_row(f"{number:,}", action, why, f"[dim]{WHY[why]}[/dim]")
    console.print(table)
    console.print(
        f"{found['planned']:,} planned: {found['train']:,} to train, {found['unchanged']:,} unchanged, "
        f"{found['skip']:,} to skip" + (f", {found['adopt']:,} to take over" if found["adopt"] else "")
    )
    if found["train"]:
        console.print(
            f"{size(found['bytes'])} to read; median {size(found['median'])}, largest {size(found['largest'])} "
            f"({plain(str(found['largest_key']))})"
        )
    if "table" in found:
        _table(console, found["table"])
    if found["gone"]:
        console.print(
            f"no longer in the input: {counted(found['gone'], 'published key')} "
            f"(input.on_gone: {assembly.settings.input.on_gone})"
        )
    if found["ignored"] or found["unmatched"]:
        console.print(
            f"passed over: {found['ignored']:,} hidden, empty or marker objects, "
            f"{found['unmatched']:,} not matched by input.match"
        )
    for line in found["advice"]:
        console.print(f"  {plain(line)}")
    if keys:
        for row in found["keys"]:
            console.print(f"{row['action']:<10} {row['why']:<12} {size(row['bytes']):>10}  {plain(row['key'])}")


def _table(console: Console, found: dict[str, Any]) -> None:
    console.print(
        f"one table: {counted(found['rows'], 'row')} and {counted(found['keys'], 'key')} in "
        f"{counted(found['files'], found['format'] + ' file')}; {size(found['bytes'])} hold rows to train on"
    )
    console.print(f"rows are {'exchanged' if found['exchange'] else 'not exchanged'}: {plain(found['why'])}")
    console.print(f"the largest key is {plain(found['largest_key'])} with {counted(found['largest_rows'], 'row')}")
    if found["one_core"]:
        console.print(f"{counted(found['one_core'], 'compressed file')}: each is read by one core")


# -- run


def run_begins(plan: Plan, run: str, words: Wording = TRAINING) -> None:
    """Log one line before training or scoring starts."""
    import logging

    due = plan.count(TRAIN)
    logging.getLogger("job.run").info(
        "run %s: %d planned, %d to %s, %d unchanged, %d to take over",
        run,
        plan.planned,
        due,
        words.verb,
        plan.count("unchanged"),
        plan.count("adopt"),
        extra={"event": "planned", "run": run, "planned": plan.planned, "to_train": due},
    )


def run_ends(done: RunReport) -> None:
    """Print the summary of a run on a terminal; elsewhere log one line for each of its sentences."""
    import logging

    console = err()
    lines = report.lines(done)
    if console.is_terminal:
        for line in lines:
            console.print(plain(line))
        return
    log = logging.getLogger("job.run")
    for line in lines:
        log.info("%s", line, extra={"event": "summary", "run": done.run})
    level = logging.ERROR if done.exit_code else logging.INFO
    totals = {
        name: getattr(done.totals, name)
        for name in (
            *("planned", wording(done.kind).done),
            *("unchanged", "skipped", "failed"),
        )
    }
    most = f"{counted(totals['failed'], 'partition')} failed, more than run.max_failed allows"
    told = {"event": "result", "run": done.run, "exit_code": done.exit_code, **totals}
    log.log(level, "%s", most if done.exit_code else "done", extra=told)


# -- status


def read_status(output: Store, run: str | None) -> dict[str, Any]:
    """The state of a run; ``run`` is None for the run that began last.

    Raises
    ------
    ConfigurationError
        There is no such run, or no run has begun.
    """
    if run is None:
        try:
            run = str(json.loads(bytes(output.get(run_paths.LATEST)))["run"])
        except NotFoundError:
            raise ConfigurationError(f"no run has begun in {output.uri}", hint="Is it the job's output.uri?") from None
    found: dict[str, Any] = {"run": run}
    try:
        found["result"] = json.loads(RunReport.from_json(bytes(output.get(run_paths.result(run)))).to_json())
        return found
    except NotFoundError:
        pass
    try:
        found["progress"] = json.loads(State.from_json(bytes(output.get(run_paths.progress(run)))).to_json())
    except NotFoundError:
        if output.head(run_paths.settings(run)) is None and begun(output, run) is None:
            raise ConfigurationError(f"there is no run {run!r} in {output.uri}") from None
        found["progress"] = None
    return found


def begun(output: Store, run: str) -> float | None:
    """The time at which a run recorded its begin, in seconds since the epoch; None if it has not yet."""
    found = output.list(run_paths.folder(run)).select(["name", "modified"]).to_pylist()
    notices = [each["modified"] for each in found if run_paths.is_begun(run, each["name"])]
    return max(notices).timestamp() if notices else None


def status(found: dict[str, Any]) -> None:
    """Print the state of a run for a person."""
    console = out()
    if "result" in found:
        done = RunReport.from_json(json.dumps(found["result"]))
        console.print(f"run {done.run}: ended {done.finished_at[:19]} with exit code {done.exit_code}")
        for line in report.lines(done):
            console.print(plain(line))
        return
    state = found["progress"]
    if state is None:
        console.print(f"run {found['run']}: planning")
        return
    age = time.time() - state["updated_at"]
    if state["phase"] in ("training", "scoring") and state["executors"] == 0:
        console.print(
            "no executor yet: its pods are Pending (no room), or refused (a quota, admission): "
            "kubectl get pods -l spark-role=executor, and 'forbidden' in the driver's log"
        )
    rate = "" if state["rate"] is None else f", {pace(state['rate'])}/s"
    console.print(
        f"run {found['run']}: {state['phase']}, {state['done']:,} of {state['to_train']:,} to "
        f"{state.get('kind', TRAINING.verb)}"
        f"{rate}, eta {clock(state['eta'])}, {state['failed']:,} failed, {state['planned']:,} planned"
    )
    for reason, number in state["reasons"].items():
        console.print(f"  {number:,} × {reason}")
    if state["slowest"] is not None and state["slowest_seconds"] >= 10:
        console.print(f"longest: {plain(state['slowest'])}, for {clock(state['slowest_seconds'])}")
    began = datetime.fromtimestamp(state["started_at"], UTC)
    console.print(f"began {began:%Y-%m-%d %H:%M:%S} UTC, last word {clock(age)} ago")
    if age > 60:
        console.print("nothing was heard for over a minute: the driver may have died; run again to go on")


# -- gc


def gc_document(done: Any) -> dict[str, Any]:
    """The result of gc as plain data."""
    import dataclasses

    return dataclasses.asdict(done)


def gc(done: Any, *, dry_run: bool) -> None:
    """Print for a person what gc removed, or would remove."""
    console = out()
    verb = "would remove" if dry_run else "removed"
    for name, value in gc_document(done).items():
        if isinstance(value, int) and not isinstance(value, bool):
            console.print(f"{name.replace('_', ' ')}: {size(value) if 'bytes' in name else format(value, ',')}")
    if done.blocked_by:
        console.print(f"files are kept for runs that may be at work: {', '.join(done.blocked_by)}")
    console.print(f"({verb}; --delete really deletes)" if dry_run else f"({verb})")
