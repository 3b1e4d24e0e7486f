"""Fleets of any size with a past: runs that ended, their outcomes and versions, without a single fit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from job.keys import key_path
from job.outcome import REPEATED, SCHEMA
from job.registry.index import CHANGES, PUT, Index
from job.run.report import RunReport, Totals, reasons
from job.store import Store

_REASONS = (
    ("fit_error", "LinAlgError: singular matrix"),
    ("too_few_rows", "3 rows, recipe.min_rows is 10"),
    ("bad_row", "line 17 has 4 fields, the header has 5"),
    ("timeout", "the fit took longer than 60 s"),
)
_FIRST = datetime(2026, 11, 1, 2, 0, tzinfo=UTC)


def names(count: int) -> list[str]:
    """Keys as a chain of shops has them."""
    width = max(2, len(str(count // 40)))
    return [f"store={at // 40:0{width}d}/item={at % 40:02d}" for at in range(count)]


def publish(
    store: Store,
    keys: int,
    *,
    runs: int = 2,
    workers: int = 8,
    failing: float = 0.01,
    allowed: float = 0.05,
    seed: int = 0,
    job: str = "demand by shop",
    every: timedelta = timedelta(days=1),
    model_names: Sequence[str] | None = None,
) -> list[str]:
    """Make an output with so many runs; their ids, the oldest first.

    Parameters
    ----------
    failing
        The share of keys that fails in a run; half of them fail in every run.
    allowed
        The share of failed keys above which a run ends with 6.
    """
    random = np.random.default_rng(seed)
    named = list(model_names) if model_names is not None else names(keys)
    always = random.random(keys) < failing / 2
    size = np.maximum(12, random.lognormal(6, 1.1, keys)).astype(np.int64)
    skill = np.clip(random.beta(9, 2, keys) - 0.5 * random.exponential(0.08, keys), -3, 1)
    made = []
    for number in range(runs):
        at = _FIRST + number * every
        made.append(_run(store, named, job, number, at, random, always, size, skill, workers, failing, allowed))
    return made


def _run(
    store: Store,
    named: list[str],
    job: str,
    number: int,
    at: datetime,
    random: np.random.Generator,
    always: np.ndarray,
    size: np.ndarray,
    skill: np.ndarray,
    workers: int,
    failing: float,
    allowed: float,
) -> str:
    keys, run = len(named), f"{at:%Y%m%dT%H%M%S}-{number:06x}"
    failed = always | (random.random(keys) < failing / 2)
    r2 = skill + random.normal(0, 0.02, keys) - (random.random(keys) < 0.03) * random.exponential(0.2, keys)
    rmse = 40 * np.sqrt(np.maximum(0.001, 1 - np.minimum(r2, 0.999))) * random.lognormal(0, 0.2, keys)
    seconds = (
        0.002
        + 2e-6 * size
        + random.exponential(0.004, keys)
        + (random.random(keys) < 0.002) * random.exponential(0.5, keys)
    )
    tasks = min(keys, max(workers, min(workers * 12, keys // 20)))
    task = np.arange(keys) % tasks
    worker, end = _schedule(task, seconds, tasks, workers, random)
    begin = at.timestamp() + 4.0
    total = float(end.max())
    which = random.integers(0, len(_REASONS), keys)
    reason = [_REASONS[which[at]][0] if bad else None for at, bad in enumerate(failed)]
    message = [_REASONS[which[at]][1] if bad else None for at, bad in enumerate(failed)]
    metrics = [
        None if bad else f'{{"r2": {a:.5f}, "rmse": {b:.4f}}}'
        for bad, a, b in zip(failed, r2.tolist(), rmse.tolist(), strict=True)
    ]
    digest = [None if bad else f"{number:08x}{at:056x}" for at, bad in enumerate(failed)]
    good = pa.array(~failed)
    columns = {
        "key": pa.array(named),
        "status": pa.array(["failed" if bad else "trained" for bad in failed]),
        "reason": pa.array(reason, pa.string()),
        "message": pa.array(message, pa.string()),
        "digest": pa.array(digest, pa.string()),
        "rows": pa.array(size),
        "metrics": pa.array(metrics, pa.string()),
        "seconds": pa.array(seconds),
        "bytes": pa.array(size * 37),
        "task": pa.array(task, pa.int32()),
        "attempt": pa.array(np.zeros(keys), pa.int32()),
        "worker": pa.array([f"manyfit-exec-{each // 4}:{40 + each % 4}" for each in worker.tolist()]),
        "finished_at": pa.array(begin + end),
        "adopted": pa.array(np.zeros(keys, bool)),
    }
    settled = pa.table(
        [columns.get(field.name, pa.nulls(keys, field.type)).cast(field.type) for field in SCHEMA], schema=SCHEMA
    )
    moment = pa.scalar(at, pa.timestamp("us", "UTC"))
    row = {
        **columns,
        "state": pa.array(["failed" if bad else "live" for bad in failed]),
        "size": pa.repeat(1800, keys),
        "data": pa.repeat(f"{number:064x}", keys),
        "run": pa.repeat(run, keys),
        "trained_at": pa.array(((begin + end) * 1e6).astype(np.int64)).cast(moment.type),
        "listed_at": pa.repeat(moment, keys),
        "action": pa.repeat(PUT, keys),
    }
    del row["attempt"]
    changes = pa.table(
        [row.get(field.name, pa.nulls(keys, field.type)).cast(field.type) for field in CHANGES], schema=CHANGES
    )
    changes = changes.set_column(
        CHANGES.get_field_index("seconds"), "seconds", pa.compute.if_else(good, columns["seconds"], None)
    )
    released = Index(store).release(changes, run=run, complete=True, metadata={"planned": str(keys)})
    count = Totals(planned=keys, trained=int((~failed).sum()), unchanged=0, skipped=0, failed=int(failed.sum()))
    done = RunReport(
        run=run,
        job=job,
        output=store.uri,
        exit_code=6 if count.failed > allowed * keys else 0,
        totals=count,
        version=released.version,
        published=True,
        started_at=at.isoformat(),
        finished_at=(at + timedelta(seconds=total + 9)).isoformat(),
        seconds=total + 9,
        phases={
            "prepare": 0.4,
            "plan": 1.6 + keys / 4e5,
            "train": total + 2,
            "settle": 0.1 + keys / 1e6,
            "publish": 0.6 + keys / 2e5,
        },
        failures=reasons(settled, "failed"),
        workers=workers,
        fit_seconds=float(seconds.sum()),
        peak=310_000_000,
    )
    folder = f"runs/{run}"
    sink = pa.BufferOutputStream()
    pq.write_table(
        settled, sink, compression="zstd", use_dictionary=list(REPEATED), store_schema=False, row_group_size=65_536
    )
    store.put(f"{folder}/outcomes.parquet", sink.getvalue().to_pybytes())
    for at_key in np.flatnonzero(failed)[:2000].tolist():
        store.put(f"{folder}/failures/{key_path(named[at_key])}.txt", b"what went wrong")
    store.put(f"{folder}/run.json", json.dumps({"run": run, "started_at": at.isoformat()}).encode())
    store.put("runs/latest.json", json.dumps({"run": run}).encode())
    store.put(f"{folder}/result.json", done.to_json().encode())
    return run


def _schedule(
    task: np.ndarray, seconds: np.ndarray, tasks: int, workers: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The worker of each key, and when its fit ended: a task goes to whichever worker is free first."""
    free = random.uniform(0, 1.5, workers)
    worker, end = np.zeros(len(task), np.int64), np.zeros(len(task))
    rank = np.argsort(task, kind="stable")
    limits = np.searchsorted(task[rank], np.arange(tasks + 1))
    for number in range(tasks):
        own = rank[limits[number] : limits[number + 1]]
        who = int(free.argmin())
        ends = free[who] + 0.05 + np.cumsum(seconds[own] * 1.25)
        worker[own], end[own] = who, ends
        free[who] = ends[-1]
    return worker, end
