"""Files of a run below ``runs/<id>/``: its settings at the start, its result at the end."""

from __future__ import annotations

import json
import logging
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from job import run_paths
from job.config.settings import JobSettings, OutputSettings
from job.engine import EngineReport
from job.errors import NotFoundError
from job.judge import intervals
from job.outcome import REPEATED
from job.page import build, facts, render
from job.plan import fingerprint
from job.plan.plan import Plan
from job.plan.table_keys import state
from job.registry.index import Release
from job.run import promotion, report, report_page
from job.run.assembly import Assembly
from job.run.report import RunReport
from job.store import Store
from job.store.side import storage
from job.words import wording

log = logging.getLogger(__name__)

_MOST_ROWS = 100_000
"""For a set with more keys the run's page leaves out the published table, which would take a gigabyte of memory at a
million keys. ``manyfit report`` reads it."""


@dataclass(frozen=True, kw_only=True)
class Started:
    """A run that has started."""

    id: str
    plan: str
    """id of the plan, unique to this driver: a retried driver of the same run makes its own plan"""
    at: datetime


def run_id(assembly: Assembly, document: dict[str, object], now: datetime) -> str:
    """The id of the run: on Kubernetes the application with a digest of document and image; else ``run.id``, or new."""
    settings = assembly.settings.run
    if settings.application:
        return fingerprint.run_id(settings.application, document, settings.image)
    return settings.id or f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"


def recorded(assembly: Assembly, run: str) -> RunReport | None:
    """The result of a run that has ended already; None if it has not."""
    with storage("output", f"the run {run} could not be looked up"):
        if assembly.output.head(run_paths.result(run)) is None:
            return None
        return RunReport.from_json(bytes(assembly.output.get(run_paths.result(run))))


def kept_versions(output: Store) -> int:
    """``output.keep`` in the recorded settings of the run that began last; the default if there is no such run."""
    default = int(OutputSettings.model_fields["keep"].default)
    try:
        run = json.loads(bytes(output.get(run_paths.LATEST)))["run"]
        said = json.loads(bytes(output.get(run_paths.settings(run))))["settings"]
    except NotFoundError:
        return default
    return int(said.get("output", {}).get("keep", default))


def write_run(assembly: Assembly, started: Started, document: dict[str, object], plan: Plan) -> None:
    """Put ``run.json``, after which other runs can adopt the outcomes of this run, and ``runs/latest.json``."""
    record: dict[str, object] = {
        "run": started.id,
        "started_at": started.at.isoformat(),
        "settings": document,
        "versions": assembly.versions,
        "fingerprints": {"recipe": assembly.fingerprints.recipe, "environment": assembly.fingerprints.environment},
    }
    if plan.files is not None:
        # gc keeps the counted keys of this state of the table.
        record["table"] = plan.table.state if plan.table is not None else state(plan.files, assembly.settings.input)
    if plan.table is not None and plan.table.version is not None:
        record["input_version"] = plan.table.version
    with storage("output", "the run could not be recorded"):
        # A retried driver finds the record of the driver before it, and leaves it.
        assembly.output.create(run_paths.settings(started.id), json.dumps(record, indent=1).encode())
        assembly.output.put(run_paths.LATEST, json.dumps({"run": started.id}).encode())


def make_report(
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
    """Make the report of a run from its settled outcomes; ``outcome`` holds the engine's hints."""
    failed = settled.filter(pc.equal(settled["status"], "failed")).slice(0, 20)
    skilled, unskilled = report.skills(settled)
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
        gate=promotion.counts(settled),
        skilled=skilled,
        unskilled=unskilled,
        kind="train" if isinstance(assembly.settings, JobSettings) else "score",
        coverage=intervals.coverage(settled["residuals"].drop_null().to_pylist()),
    )


def write_result(
    assembly: Assembly, started: Started, settled: pa.Table, result: RunReport, *, metrics: bytes | None = None
) -> None:
    """Write the derived files, and the result last: a run without a result did not finish."""
    output = assembly.output
    with storage("output", f"the result could not be written (the {wording(result.kind).files} are published)"):
        failed = settled.filter(pc.equal(settled["status"], "failed"))
        with ThreadPoolExecutor(8) as pool:
            derived = []
            if settled.num_rows:
                sink = pa.BufferOutputStream()
                # Without Arrow's own schema: with it, other readers would get dictionary-encoded columns.
                pq.write_table(
                    settled,
                    sink,
                    compression="zstd",
                    use_dictionary=list(REPEATED),
                    store_schema=False,
                    row_group_size=65_536,
                )
                outcomes = sink.getvalue().to_pybytes()
                derived.append(pool.submit(output.put, run_paths.outcomes(started.id), outcomes))
            derived += [pool.submit(_write_failure, assembly, started, row) for row in failed.to_pylist()]
            text = _page(assembly, settled, result).encode("utf-8", "replace")
            derived.append(pool.submit(output.put, run_paths.report(started.id), text))
            if metrics is not None:
                derived.append(pool.submit(output.put, run_paths.metrics(started.id), metrics))
            for each in derived:
                each.result()
        output.create(run_paths.result(started.id), result.to_json().encode())


def _page(assembly: Assembly, settled: pa.Table, result: RunReport) -> str:
    """The HTML page of the run: with charts, or without them if they cannot be drawn."""
    if assembly.settings.output.report == "pictures" and render.available():
        try:
            found = facts.gather(assembly.output, json.loads(result.to_json()), outcomes=settled, most_rows=_MOST_ROWS)
            return render.page(found, build.sections(found))
        except Exception:
            log.warning("the page of the run has no pictures: they could not be drawn", exc_info=True)
    return report_page.page(result, settled)


def _write_failure(assembly: Assembly, started: Started, row: dict[str, object]) -> None:
    text = f"{row['key']}\n{row['source']}\n{row['reason']}: {row['message']}\n\n{row['traceback'] or ''}"
    assembly.output.put(run_paths.failure(started.id, str(row["key"])), text.encode("utf-8", "replace"))
