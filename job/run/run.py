"""A run, from the plan to the published version: the protocol of docs/explanation/reliability.md, step by step.

The order matters: a model is put before the outcome that names it, the outcomes before the release, and the result
after the release. This module removes nothing.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from job import engine as engines
from job import run_paths
from job.arrow import give_back, whole
from job.config import local_file
from job.config.score_settings import PredictionsSettings
from job.engine import Borrowed, Engine, EngineReport
from job.errors import InputError, InterruptedRun
from job.outcome import SCHEMA
from job.plan import placing
from job.plan.packing import pack_together
from job.plan.plan import UNCHANGED, Plan
from job.plan.table_keys import replaced
from job.registry.index import Release
from job.registry.seal import Seal
from job.run import after_release, barrier, notice, report, run_files
from job.run.assembly import Assembly, check_held, check_identity
from job.run.heartbeat import Heartbeat
from job.run.metrics import Metrics
from job.run.planning import list_table
from job.run.progress import Tracker
from job.run.purpose import Purpose
from job.run.report import RunReport
from job.run.run_files import Started, recorded, run_id
from job.run.running import Running
from job.run.seen import Seen
from job.run.task_lists import memory_needs, write_table, write_tasks
from job.run.training_run import TrainingRun
from job.store import probe
from job.store.side import storage
from job.worker import segment
from job.worker.work import Work

log = logging.getLogger(__name__)

_PATIENCE = 20.0
"""Seconds that this run waits for another run to sign a version that it has just published."""
MOST_RETIRED = 0.10
"""With ``on_gone: retire``, a run refuses to retire more than this share of the published keys."""


def run(
    assembly: Assembly,
    document: dict[str, object],
    *,
    purpose: Purpose | None = None,
    on_plan: Callable[[Plan, str], None] = lambda plan, run: None,
    make_engine: Callable[[Assembly], Engine] = lambda assembly: engines.make(assembly.settings),
) -> RunReport:
    """Plan, train or score, upload, publish, report.

    Parameters
    ----------
    assembly
        The job.
    document
        The settings as plain data without secrets. They are recorded, and on Kubernetes are part of the run's id.
    purpose
        The steps in which training and scoring differ; default training.
    on_plan
        Called with the plan and the run's id before anything is trained or scored.
    make_engine
        Makes the engine; called only if a key is to be trained or scored, or if keys must be counted.

    Raises
    ------
    ManyfitError
        With the exit code of the command. The next run adopts the outcomes that exist so far.
    """
    begin = time.monotonic()
    now = datetime.now(UTC)
    purpose = purpose or TrainingRun()
    settings = assembly.settings
    started = Started(id=run_id(assembly, document, now), plan=uuid.uuid4().hex[:12], at=now)
    with storage("output", f"the output {assembly.output.uri} cannot be used"):
        before = recorded(assembly, started.id)
        if before is not None:
            log.warning(
                "the run %s has ended already: what follows is its recorded result, and nothing was looked at. "
                "To run again, change the job or run.id.",
                started.id,
            )
            return before
        probe.admit(assembly.output, single_writer=bool(settings.storage.side("output").single_writer))
        check_held(assembly, purpose.done)
    check_identity(assembly, create=False)
    seal = _seal(assembly, started)
    with storage("output", "the run could not be announced"):
        # Before the run reads anything that it may adopt: see job.run.notice.
        notice.begin(assembly.output, started.id, started.plan)
        notice.Others(assembly.output, started.id).look()
    with Heartbeat(assembly.output, started.id, words=purpose.wording) as beat, _metrics(assembly, beat) as metrics:
        phases: dict[str, float] = {"prepare": time.monotonic() - begin}
        engine = Borrowed(lambda: make_engine(assembly))
        with _phase(phases, beat, "plan"):
            try:
                plan, finished = purpose.plan(assembly, started, engine)
                _refuse_large_retirement(assembly, plan, purpose)
                check_identity(assembly, create=True)  # not before: an address with a typo must not claim the output
            except BaseException:
                engine.stop()
                raise
        on_plan(plan, started.id)
        run_files.write_run(assembly, started, document, plan)
        if metrics:
            metrics.planned(plan.planned, plan.count(UNCHANGED))
        with _phase(phases, beat, "train"):
            outcome, done = _train(assembly, started, purpose, plan, engine, metrics)
        with _phase(phases, beat, "settle"):
            settled = barrier.settle(plan, purpose.counted(started, done), finished, assembly.fingerprints)
            del done, finished
            settled = purpose.decided(assembly, settled)
            count = report.totals(plan, settled)
        code = report.verdict(count, settings.run)
        with _phase(phases, beat, "publish"):
            if code and settings.run.publish == "all_or_nothing":
                released = Release(version=assembly.index.version())
            else:
                with storage("output", "the release could not be published"):
                    # A release names only files that would survive a power cut.
                    assembly.output.sync()
                    released = purpose.publish(assembly, started, plan, settled, count)
                seal.put(released.version, run=started.id)
        result = run_files.make_report(
            assembly, started, settled, count, code, released, outcome, phases, time.monotonic() - begin
        )
        result = replace(result, after_release=_told(assembly, started, purpose, released))
        text = metrics.ended(result, settled) if metrics else None
        run_files.write_result(assembly, started, settled, result, metrics=text)
        if metrics:
            metrics.linger()
        return result


def _told(assembly: Assembly, started: Started, purpose: Purpose, released: Release) -> dict[str, Any]:
    """Call ``output.after_release`` for the published version; returns the call as plain data, or nothing."""
    output = assembly.settings.output
    if output.after_release is None:
        return {}
    done = after_release.call(
        assembly.output,
        output.after_release,
        version=released.version,
        timeout=output.after_release_timeout,
        about={"run": started.id, "job": assembly.settings.name, "kind": purpose.wording.verb, "operation": "release"},
    )
    return done.document() if done else {}


def _metrics(assembly: Assembly, beat: Heartbeat) -> AbstractContextManager[Metrics | None]:
    settings = assembly.settings
    if not settings.metrics.enabled:
        return nullcontext()
    seen = Seen(assembly.output, everything=True)
    return Metrics(settings.metrics, job=settings.name, seen=seen, phase=lambda: beat.phase)


def _seal(assembly: Assembly, started: Started) -> Seal:
    """Signs the release. If the set is signed and this run could not sign, it raises now and not after the training."""
    output = assembly.settings.output
    key, unsigned = (None, True) if isinstance(output, PredictionsSettings) else (output.signing_key, output.unsigned)
    seal = Seal(
        assembly.output,
        local_file.read(key, "output.signing_key") if key else None,
        unsigned=unsigned,
        names=("output.signing_key", "output.unsigned: true"),
    )
    with storage("output", "the signatures cannot be read"):
        if assembly.index.released(started.id) is None:  # else this run was stopped between release and signature
            warning = seal.check(patience=_PATIENCE)
            if warning:
                log.warning("the release stays %s", warning)
    return seal


class _phase:  # noqa: N801 - reads as a statement
    def __init__(self, phases: dict[str, float], beat: Heartbeat, name: str) -> None:
        self._phases, self._name = phases, name
        beat.phase = name

    def __enter__(self) -> None:
        self._begin = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._phases[self._name] = time.monotonic() - self._begin


def _refuse_large_retirement(assembly: Assembly, plan: Plan, purpose: Purpose) -> None:
    if assembly.settings.input.on_gone == "retire" and plan.filtered:
        log.warning("input.on_gone: retire takes no key out in this run, since the input is filtered by keys")
    if assembly.settings.input.on_gone != "retire" or len(plan.gone) <= MOST_RETIRED * plan.published:
        return
    raise InputError(
        f"input.on_gone: retire would take {len(plan.gone):,} of {plan.published:,} published keys out, "
        f"more than {MOST_RETIRED:.0%}",
        hint=f"If the input is complete, use `manyfit {purpose.wording.removal}`, else correct it; "
        "on_gone: keep leaves them in the set.",
    )


def _train(
    assembly: Assembly, started: Started, purpose: Purpose, plan: Plan, borrowed: Borrowed, metrics: Metrics | None
) -> tuple[EngineReport, pa.Table]:
    due = plan.due()
    output, run = assembly.output, started.id
    if not len(due):
        borrowed.stop()
        return EngineReport(), SCHEMA.empty_table()
    engine: Engine | None = None
    tracker = Tracker(
        output,
        run=run,
        plan=started.plan,
        planned=plan.planned,
        to_train=len(due),
        executors=lambda: engine.executors() if engine else None,
        seen=metrics.seen if metrics else None,
        told=metrics.update if metrics else None,
        wording=purpose.wording,
    )
    try:
        engine = borrowed.get()
        costs = plan.keys["cost"].to_numpy()[due].astype(np.float32)
        tasks = engine.number_of_tasks(costs)
        work = _work(assembly, started, purpose, plan)
        groups = purpose.together(plan)
        with storage("output", "the plan could not be written"):
            if plan.table is not None:
                chosen = whole(plan.keys["key"]).take(pa.array(due))
                placement = placing.place(plan.table, chosen, costs, tasks, engine.cores())
                work, assigned = replace(work, scan=plan.table.scan, readers=placement.readers), placement.assigned
                tasks = int(assigned.max()) + 1
                write_table(output, run, started.plan, plan.table, chosen, costs, placement)
            else:
                assigned = pack_together(costs, tasks, groups)
                tasks = int(assigned.max()) + 1
            # Keys of one group one after the other, so that few chunks are open at a time; else the largest key first.
            order = costs if groups is None or plan.table is not None else -groups
            work = replace(work, needs=memory_needs(plan, due, assigned))
            keys = plan.keys["key"]
            champions = purpose.champions(keys.take(pa.array(due)))
            write_tasks(output, run, started.plan, plan, due, order, assigned, champions, purpose.beside)
            del champions
            tracker.running = Running(assigned, order, lambda row: str(keys[int(due[row])]), engine.cores())
            plan.forget_objects()
            give_back()
            tracker.write(purpose.wording.going)
        with storage("output", f"{purpose.wording.going} could not go on"):
            outcome = engine.run(work, tasks, tracker.tick)
    except (KeyboardInterrupt, InterruptedRun) as error:
        raise _interrupted(assembly, started, purpose, len(due), error) from None
    finally:
        tracker.close()
        borrowed.stop()
    _refuse_replaced_files(assembly, plan)
    with storage("output", "the outcomes could not be read"):
        done = segment.read(output, run_paths.segments(run))
        tracker.write("publishing")
    return outcome, done


def _interrupted(
    assembly: Assembly, started: Started, purpose: Purpose, due: int, error: BaseException
) -> InterruptedRun:
    signum = error.exit_code - 128 if isinstance(error, InterruptedRun) else 2
    names = assembly.output.list(run_paths.segments(started.id, started.plan))["name"].to_pylist()
    done = segment.progress(names).done
    return InterruptedRun(
        f"stopped: {done:,} of {due:,} partitions are finished and kept in {assembly.output.uri}; "
        "nothing is published yet",
        hint=f"Run the same command again: finished partitions are taken over, not {purpose.done} again.",
        signum=signum,
    )


def _refuse_replaced_files(assembly: Assembly, plan: Plan) -> None:
    """Raise if files were replaced while Spark read them: Spark checks no ETags, and so may have read both versions."""
    if plan.files is None or plan.read is None:
        return
    names = replaced(plan.files, list_table(assembly))
    if names:
        raise InputError(
            f"{len(names):,} files of the table were replaced or removed while it was read, first {names[0]!r}: "
            "nothing was published",
            hint="Run again when nothing writes to the table.",
        )


def _work(assembly: Assembly, started: Started, purpose: Purpose, plan: Plan) -> Work:
    settings = assembly.settings
    return Work(
        run=started.id,
        plan=started.plan,
        input=assembly.input,
        output=assembly.output,
        operation=purpose.operation(assembly, started),
        models=purpose.models,
        hive=settings.input.layout == "hive",
        timeout=settings.run.timeout,
        memory=settings.run.memory,
        rows=assembly.has_rows,
        table=plan.read,
        speculation=str(settings.spark.conf.get("spark.speculation", "false")).lower() == "true",
    )
