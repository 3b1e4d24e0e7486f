"""A run, from the plan to the published version: the protocol of docs/reliability.md, step by step.

Order is everything here: a model is put before the outcome that names it, the outcomes before the release, and the
result after the release. Nothing but ``gc`` deletes.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from job import admission, barrier, changes, fingerprint, report, segment
from job import engine as engines
from job.assembly import Assembly, check_identity, finished_outcomes, list_table, make_plan, storage
from job.engine import Borrowed, Engine, EngineReport
from job.errors import HeldError, InputError, InterruptedRun
from job.index import FAILED, STALE, Release
from job.outcome import SCHEMA
from job.page import page
from job.partition import key_path
from job.plan import TRAIN, Plan, number_of_tasks, pack
from job.progress import Tracker
from job.report import RunReport
from job.table import replaced
from job.work import TASK_SCHEMA, Work, task_name

log = logging.getLogger(__name__)

MOST_RETIRED = 0.10
"""``on_gone: retire`` refuses to take out more than this share of the published keys."""


@dataclass(frozen=True, kw_only=True)
class Started:
    """A run that is under way."""

    id: str
    plan: str
    """unique to this driver: a retried driver of the same run makes its own plan"""
    at: datetime


def run_id(assembly: Assembly, document: dict[str, object], now: datetime) -> str:
    """``run.id``; on Kubernetes the application with a digest of document and image; else new."""
    settings = assembly.settings.run
    if settings.application:
        return fingerprint.run_id(settings.application, document, settings.image)
    return settings.id or f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"


def recorded(assembly: Assembly, run: str) -> RunReport | None:
    """The result of a run that has ended already, or None."""
    with storage("output", f"the run {run} could not be looked up"):
        if assembly.output.head(f"runs/{run}/result.json") is None:
            return None
        return RunReport.from_json(bytes(assembly.output.get(f"runs/{run}/result.json")))


def run(
    assembly: Assembly,
    document: dict[str, object],
    *,
    on_plan: Callable[[Plan, str], None] = lambda plan, run: None,
    make_engine: Callable[[Assembly], Engine] = lambda assembly: engines.make(assembly.settings),
) -> RunReport:
    """Plan, train, upload, publish, report.

    Parameters
    ----------
    assembly
        The job.
    document
        The settings as plain data without secrets: recorded, and part of the run's id on Kubernetes.
    on_plan
        Called with the plan and the run's id before anything is trained.
    make_engine
        Called only if there is something to train.

    Raises
    ------
    ManyfitError
        With the exit code that the command ends with. Outcomes so far are kept and taken over by the next run.
    """
    begin = time.monotonic()
    now = datetime.now(UTC)
    settings = assembly.settings
    started = Started(id=run_id(assembly, document, now), plan=uuid.uuid4().hex[:12], at=now)
    with storage("output", f"the output {assembly.output.uri} cannot be used"):
        before = recorded(assembly, started.id)
        if before is not None:
            log.info("the run %s has ended already", started.id)
            return before
        admission.admit(assembly.output, single_writer=bool(settings.storage.side("output").single_writer))
        held = assembly.index.held()
    if held:
        raise HeldError(
            f"a rollback holds {assembly.output.uri}: nothing was trained",
            hint=f"`manyfit rollback {assembly.output.uri} --resume` lets runs publish again.",
        )
    check_identity(assembly, create=True)
    phases: dict[str, float] = {"prepare": time.monotonic() - begin}
    engine = Borrowed(lambda: make_engine(assembly))
    with _phase(phases, "plan"):
        finished = finished_outcomes(assembly, now)
        try:
            plan = make_plan(assembly, finished, engine)
            _refuse_large_retirement(assembly, plan)
        except BaseException:
            engine.stop()
            raise
    on_plan(plan, started.id)
    _write_run(assembly, started, document)
    with _phase(phases, "train"):
        outcome, done = _train(assembly, started, plan, engine)
    with _phase(phases, "settle"):
        settled = barrier.settle(plan, done, finished, assembly.fingerprints)
        count = report.totals(plan, settled)
    code = report.verdict(count, settings.run)
    with _phase(phases, "publish"):
        released = _publish(assembly, started, plan, settled, count, code)
    result = _report(assembly, started, settled, count, code, released, outcome, phases, time.monotonic() - begin)
    _write_result(assembly, started, settled, result)
    return result


class _phase:  # noqa: N801 - reads as a statement
    def __init__(self, phases: dict[str, float], name: str) -> None:
        self._phases, self._name = phases, name

    def __enter__(self) -> None:
        self._begin = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._phases[self._name] = time.monotonic() - self._begin


def _refuse_large_retirement(assembly: Assembly, plan: Plan) -> None:
    if assembly.settings.input.on_gone != "retire" or len(plan.gone) <= MOST_RETIRED * plan.published:
        return
    raise InputError(
        f"input.on_gone: retire would take {len(plan.gone):,} of {plan.published:,} published keys out of the set, "
        f"more than {MOST_RETIRED:.0%}",
        hint="If the input is complete, take them out with `manyfit retire`; else mend it. on_gone: keep leaves them.",
    )


def _write_run(assembly: Assembly, started: Started, document: dict[str, object]) -> None:
    record = {
        "run": started.id,
        "started_at": started.at.isoformat(),
        "settings": document,
        "versions": assembly.versions,
        "fingerprints": {"recipe": assembly.fingerprints.recipe, "environment": assembly.fingerprints.environment},
    }
    with storage("output", "the run could not be recorded"):
        # A driver that is retried finds the record of its predecessor, which is as good.
        assembly.output.create(f"runs/{started.id}/run.json", json.dumps(record, indent=1).encode())
        assembly.output.put("runs/latest.json", json.dumps({"run": started.id}).encode())


def _train(assembly: Assembly, started: Started, plan: Plan, borrowed: Borrowed) -> tuple[EngineReport, pa.Table]:
    due = plan.with_action(TRAIN)
    output, run = assembly.output, started.id
    if not due.num_rows:
        borrowed.stop()
        return EngineReport(), SCHEMA.empty_table()
    tracker = Tracker(output, run=run, plan=started.plan, planned=plan.planned, to_train=due.num_rows)
    try:
        engine = borrowed.get()
        tasks = number_of_tasks(due["cost"].to_numpy(), engine.cores(), local=engine.local())
        with storage("output", "the plan could not be written"):
            _write_tasks(assembly, started, plan, due, pack(due["cost"].to_numpy(), tasks), tasks)
            tracker.write("training")
        with storage("output", "training could not go on"):
            outcome = engine.run(_work(assembly, started, plan), tasks, tracker.tick)
    except (KeyboardInterrupt, InterruptedRun) as error:
        raise _interrupted(assembly, started, due.num_rows, error) from None
    finally:
        tracker.close()
        borrowed.stop()
    _refuse_replaced_files(assembly, plan)
    with storage("output", "the outcomes could not be read"):
        done = segment.read(output, segment.folder(run))
        tracker.write("publishing")
    return outcome, done


def _interrupted(assembly: Assembly, started: Started, due: int, error: BaseException) -> InterruptedRun:
    signum = error.exit_code - 128 if isinstance(error, InterruptedRun) else 2
    names = assembly.output.list(segment.folder(started.id, started.plan))["name"].to_pylist()
    done = segment.progress(names).done
    return InterruptedRun(
        f"stopped: {done:,} of {due:,} partitions are finished and kept in {assembly.output.uri}; nothing is published yet",
        hint="Run the same command again: finished partitions are taken over, not trained again.",
        signum=signum,
    )


def _refuse_replaced_files(assembly: Assembly, plan: Plan) -> None:
    """A table has no ETag that Spark could insist on: what was replaced while it was read may be a mixture."""
    if plan.files is None:
        return
    names = replaced(plan.files, list_table(assembly))
    if names:
        raise InputError(
            f"{len(names):,} files of the table were replaced or removed while it was read, first {names[0]!r}: "
            "nothing was published",
            hint="Run again when the table is at rest.",
        )


def _work(assembly: Assembly, started: Started, plan: Plan) -> Work:
    settings = assembly.settings
    return Work(
        run=started.id,
        plan=started.plan,
        input=assembly.input,
        output=assembly.output,
        fitting=assembly.fitting,
        recipe=assembly.fingerprints.recipe,
        environment=assembly.fingerprints.environment,
        hive=settings.input.layout == "hive",
        timeout=settings.run.timeout,
        memory=settings.run.memory,
        table=plan.read,
        speculation=str(settings.spark.conf.get("spark.speculation", "false")).lower() == "true",
    )


def _write_tasks(
    assembly: Assembly, started: Started, plan: Plan, due: pa.Table, assigned: np.ndarray, tasks: int
) -> None:
    """One list for each task, largest first; lists are made one at a time, so that a million keys stay in Arrow."""
    order = np.lexsort((-due["cost"].to_numpy(), assigned))
    bounds = np.searchsorted(assigned[order], np.arange(tasks + 1))
    described = ("name", "etag", "size", "modified")
    columns = [plan.objects[name].combine_chunks() for name in described]

    def write(task: int) -> None:
        rows = due.take(pa.array(order[bounds[task] : bounds[task + 1]]))
        count = rows["count"].to_numpy()
        at = np.repeat(rows["first"].to_numpy(), count) + _within(count)
        structs = pa.StructArray.from_arrays([column.take(pa.array(at)) for column in columns], names=described)
        offsets = pa.array(np.concatenate([[0], np.cumsum(count)]), pa.int32())
        objects = pa.ListArray.from_arrays(offsets, structs)
        table = pa.table(
            [*(rows[name].combine_chunks() for name in ("key", "data", "content", "bytes")), objects],
            schema=TASK_SCHEMA,
        )
        assembly.output.ensure(task_name(started.id, started.plan, task), segment.encode(table))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(tasks)))


def _within(count: np.ndarray) -> np.ndarray:
    """0, 1, … count-1 for each count, one after the other."""
    total = int(count.sum())
    starts = np.repeat(np.cumsum(count) - count, count)
    within: np.ndarray = np.arange(total) - starts
    return within


def _publish(
    assembly: Assembly, started: Started, plan: Plan, settled: pa.Table, count: report.Totals, code: int
) -> Release:
    settings = assembly.settings
    if code and settings.run.publish == "all_or_nothing":
        return Release(version=assembly.index.version())
    failed = settled.filter(pc.equal(settled["status"], "failed"))["key"].to_pylist()
    with storage("output", "the release could not be published"):
        known = assembly.index.read(columns=["key", "state", "reason", "message"], keys=failed)
        known = known.filter(pc.is_in(known["state"], value_set=pa.array([FAILED, STALE])))
        rows = changes.of(
            plan,
            settled,
            run=started.id,
            versions=json.dumps(assembly.versions, sort_keys=True),
            retire_gone=settings.input.on_gone == "retire",
            known_failures=known,
        )
        said = {name: str(getattr(count, name)) for name in ("planned", "trained", "unchanged", "skipped", "failed")}
        complete = plan.unmatched == 0 and not _filtered(assembly)
        return assembly.index.release(rows, run=started.id, complete=complete, metadata=said)


def _filtered(assembly: Assembly) -> bool:
    chosen = assembly.settings.input
    return any((chosen.include, chosen.exclude, chosen.only, chosen.sample, chosen.limit))


def _report(
    assembly: Assembly,
    started: Started,
    settled: pa.Table,
    count: report.Totals,
    code: int,
    released: Release,
    outcome: EngineReport,
    phases: dict[str, float],
    seconds: float,
) -> RunReport:
    failed = settled.filter(pc.equal(settled["status"], "failed")).slice(0, 20)
    return RunReport(
        run=started.id,
        job=assembly.settings.name,
        output=assembly.output.uri,
        exit_code=code,
        totals=replace(count, superseded=len(released.superseded)),
        version=released.version,
        published=bool(released.applied) or released.already,
        started_at=started.at.isoformat(),
        finished_at=datetime.now(UTC).isoformat(),
        seconds=seconds,
        phases={name: round(value, 3) for name, value in phases.items()},
        failures=report.reasons(settled, "failed"),
        skips=report.reasons(settled, "skipped"),
        examples=tuple(failed.select(["key", "reason", "message"]).to_pylist()),
        superseded=tuple(released.superseded[:1000]),
        warnings=int(pc.sum(pc.is_valid(settled["warnings"])).as_py() or 0),
        spark=outcome.metrics,
        workers=len({row["worker"] for row in outcome.summaries}),
        fit_seconds=round(sum(row["fit_seconds"] for row in outcome.summaries), 3),
        peak=max((row["peak"] for row in outcome.summaries), default=0),
    )


def _write_result(assembly: Assembly, started: Started, settled: pa.Table, result: RunReport) -> None:
    """What is derived first, the result last: a run without a result is one that did not finish."""
    output, folder = assembly.output, f"runs/{started.id}"
    with storage("output", "the result could not be written (the models are published)"):
        if settled.num_rows:
            sink = pa.BufferOutputStream()
            pq.write_table(settled, sink, compression="zstd")
            output.put(f"{folder}/outcomes.parquet", sink.getvalue().to_pybytes())
        failed = settled.filter(pc.equal(settled["status"], "failed"))
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda row: _write_failure(assembly, started, row), failed.to_pylist()))
        output.put(f"{folder}/report.html", page(result, settled).encode("utf-8", "replace"))
        output.create(f"{folder}/result.json", result.to_json().encode())


def _write_failure(assembly: Assembly, started: Started, row: dict[str, object]) -> None:
    text = f"{row['key']}\n{row['source']}\n{row['reason']}: {row['message']}\n\n{row['traceback'] or ''}"
    name = f"runs/{started.id}/failures/{key_path(str(row['key']))}.txt"
    assembly.output.put(name, text.encode("utf-8", "replace"))
