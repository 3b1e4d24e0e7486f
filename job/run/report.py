"""The report of a run: totals, exit code, and the summary for a person. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from job.config.settings import RunSettings
from job.errors import AccountingError, TooManyFailedError
from job.outcome import REASONS
from job.plan.plan import SKIP, UNCHANGED, Plan
from job.words import counted, pace, wording

ADVICE = {
    "corrupt_compression": "Upload the object again.",
    "bad_row": "Correct the row, or set input.format (delimiter, quote) to what the file has.",
    "schema_mismatch": "Compare the header with input.schema and recipe.features; is the delimiter right?",
    "missing_column": "Compare the header with recipe.features and recipe.target; is the delimiter right?",
    "non_numeric": "Encode the column in the recipe, or name what means 'missing' in input.format.null_values.",
    "missing_values": "Impute in the recipe, or set recipe.missing to allow or drop.",
    "null_target": "Set recipe.drop_null_target: true, or correct the data.",
    "input_changed": "The input changes while it is read: run again.",
    "input_missing": "The input changes while it is read: run again.",
    "timeout": "Raise run.timeout, or give this key less data or a simpler model.",
    "memory_limit": (
        "Raise run.memory and the executor's memory (in the chart executor.workerMemory sets both), "
        "or give this key less data or a smaller model."
    ),
    "worker_died": (
        "Give executors more memory (in the chart executor.workerMemory), or look at the recipe: "
        "native code may have ended the process."
    ),
    "oom": (
        "Give executors more memory (in the chart executor.workerMemory), "
        "or give this key less data or a smaller model."
    ),
    "fit_error": "Read the traceback below runs/<run id>/failures/.",
}
"""A hint for each reason for which one sentence helps."""
_OF_SCORING = {
    "schema_mismatch": (
        "Compare the header with input.schema. A kept column whose values do not fit: declare it there, "
        "or leave it out of score.keep."
    ),
    "missing_column": "Compare the header with score.keep and score.actual; is the delimiter right?",
    "missing_feature": "Compare the header with recipe.features of the training; is the delimiter right?",
    "missing_values": "Set score.missing to drop or null, or impute in the recipe of the training.",
    "non_numeric": "Read it as the training did (input.schema, input.format), or correct the data.",
    "predict_error": "Read the traceback below runs/<run id>/failures/.",
    "model_damaged": "`manyfit verify` of the models' output lists what is damaged; train the key again.",
    "no_model": "score.missing_model decides.",
    "timeout": "Raise run.timeout, or give this key fewer rows.",
    "memory_limit": (
        "Raise run.memory and the executor's memory (in the chart executor.workerMemory sets both), "
        "or give this key fewer rows."
    ),
    "worker_died": (
        "Give executors more memory (in the chart executor.workerMemory), or look at the model: "
        "native code may have ended the process."
    ),
    "oom": "Give executors more memory (in the chart executor.workerMemory), or give this key fewer rows.",
}
"""Hints that a scoring has instead of those of `ADVICE`, or besides."""
_LONG = ("superseded", "after_release", "examples", "spark", "coverage", "failures", "skips", "phases")
"""Fields that `RunReport.short` leaves out, in this order."""


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Numbers of keys of a run, and for a scoring of rows.

    Always planned = trained + scored + unchanged + skipped + failed.
    """

    planned: int
    trained: int
    unchanged: int
    skipped: int
    failed: int
    adopted: int = 0
    """those of the trained (or scored) that were adopted from a run that did not finish"""
    touched: int = 0
    """those of the unchanged that were read, because the ETag was new, and had the same bytes as before"""
    gone: int = 0
    """published keys that the input no longer has"""
    superseded: int = 0
    """keys that were not published because a newer run was first"""
    ignored: int = 0
    """objects of the input that are not data: markers and hidden files"""
    scored: int = 0
    """scoring only: keys whose predictions are written"""
    rows_read: int = 0
    """scoring only: rows of the scored keys; 0 for a function, whose rows need not match those of the input"""
    rows_written: int = 0
    """scoring only: rows of predictions"""
    rows_refused: int = 0
    """scoring only: rows that score.missing left out"""

    def check(self) -> None:
        """Raise AccountingError if the numbers do not add up."""
        parts = self.trained + self.scored + self.unchanged + self.skipped + self.failed
        # The rows that a function returns need not match the rows of the input; then rows_read is 0.
        if self.rows_refused < 0 or (self.rows_read and self.rows_read != self.rows_written + self.rows_refused):
            raise AccountingError(
                f"the rows do not add up: {self.rows_read:,} read, but {self.rows_written:,} written + "
                f"{self.rows_refused:,} refused",
                hint="Nothing was published. Report this: it is a bug of manyfit.",
            )
        if parts != self.planned:
            raise AccountingError(
                f"the numbers do not add up: {self.planned} planned, but {self.trained + self.scored} done + "
                f"{self.unchanged} unchanged + {self.skipped} skipped + {self.failed} failed = {parts}",
                hint="Nothing was published. Report this: it is a bug of manyfit.",
            )


def _sum(column: pa.ChunkedArray) -> int:
    return int(pc.sum(column).as_py() or 0)


def totals(plan: Plan, settled: pa.Table) -> Totals:
    """Count the outcomes, and check that the numbers add up."""
    count = {each["values"]: each["counts"] for each in pc.value_counts(settled["status"]).to_pylist()}
    result = Totals(
        planned=plan.planned,
        trained=count.get("trained", 0),
        unchanged=plan.count(UNCHANGED) + count.get("unchanged", 0),
        skipped=plan.count(SKIP) + count.get("skipped", 0),
        failed=count.get("failed", 0),
        adopted=int(pc.sum(settled["adopted"]).as_py() or 0),
        touched=count.get("unchanged", 0),
        gone=len(plan.gone),
        ignored=plan.ignored,
        scored=(scored := settled.filter(pc.equal(settled["status"], "scored"))).num_rows,
        rows_read=(read := _sum(scored["read"])),
        rows_written=(written := _sum(scored["rows"])),
        rows_refused=read - written if read else 0,
    )
    result.check()
    return result


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """The result of a run. `result.json` holds it as JSON; docs/reference/schemas/result.v1.json is its schema."""

    run: str
    job: str
    output: str
    exit_code: int
    totals: Totals
    version: int | None
    """the published version that holds the run; None if nothing was ever published"""
    published: bool
    """whether this run made a new version"""
    started_at: str
    finished_at: str
    seconds: float
    phases: Mapping[str, float] = field(default_factory=dict)
    """seconds for each phase; ``train`` is the time of the tasks, of a scoring, too"""
    failures: Mapping[str, int] = field(default_factory=dict)
    """number of failed keys for each reason"""
    skips: Mapping[str, int] = field(default_factory=dict)
    """number of skipped keys for each reason"""
    examples: tuple[Mapping[str, Any], ...] = ()
    """key, reason and message of the first failures"""
    superseded: tuple[str, ...] = ()
    """keys that were not published because a newer run was first; at most 1,000"""
    warnings: int = 0
    """number of models, or of scored keys, with warnings"""
    spark: Mapping[str, int] = field(default_factory=dict)
    """Spark's own stage metrics"""
    workers: int = 0
    """number of processes that trained or scored"""
    fit_seconds: float = 0.0
    """sum of the seconds of all fits, or of the scoring of all keys"""
    peak: int = 0
    """highest resident memory of a worker, in bytes"""
    gate: Mapping[str, int] = field(default_factory=dict)
    """with a gate: number of keys that are first, promoted, kept and undecidable, which add up to trained"""
    skilled: int = 0
    """number of models that were compared with a baseline"""
    unskilled: int = 0
    """those of the compared models that are no better than the baseline"""
    kind: str = "train"
    """``train`` or ``score``"""
    coverage: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """for each interval (in percent): the number of rows whose truth lies within it, and the number of all such rows.
    For a training these are the held-out rows of the newest windows, for a scoring the rows that hold the truth"""
    after_release: Mapping[str, Any] = field(default_factory=dict)
    """the call of ``output.after_release``: version, exit_code, seconds, output, timed_out; empty: no call"""
    format: int = 1
    """version of the format of this document; within one version fields are only added"""

    def short(self, most: int) -> str:
        """JSON of at most ``most`` bytes of UTF-8. If needed, long optional fields are left out, one after the other.

        Raises
        ------
        ValueError
            Even without those fields the document is too long.
        """
        state = asdict(self)
        for name in ("", *_LONG):
            state.pop(name, None)
            text = json.dumps(state, ensure_ascii=False, separators=(",", ":"))
            if len(text.encode("utf-8", "replace")) <= most:
                return text
        raise ValueError(f"the result does not fit into {most} bytes")

    def to_json(self) -> str:
        """JSON for `from_json`."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> RunReport:
        """Read a recorded report. Fields that only a newer version knows are ignored."""
        state = json.loads(text)
        known = {each.name for each in fields(cls)}
        state = {name: value for name, value in state.items() if name in known}  # a newer version may have written more
        counted_here = {each.name for each in fields(Totals)}
        state["totals"] = Totals(**{name: value for name, value in state["totals"].items() if name in counted_here})
        state["examples"] = tuple(state.get("examples", ()))
        state["superseded"] = tuple(state.get("superseded", ()))
        return cls(**state)


def verdict(count: Totals, settings: RunSettings) -> int:
    """The exit code: 0, or 6 if more keys failed than ``run.max_failed`` allows."""
    return TooManyFailedError.exit_code if count.failed > settings.allowed_failures(count.planned) else 0


def skills(settled: pa.Table) -> tuple[int, int]:
    """The number of trained models that have a skill, and how many of them are no better than their baseline."""
    skill = settled["skill"].filter(pc.equal(settled["status"], "trained")).drop_null()
    return len(skill), int(pc.sum(pc.less_equal(skill, 0.0)).as_py() or 0)


def reasons(settled: pa.Table, status: str) -> dict[str, int]:
    """The number of keys for each reason, among the outcomes of one status; the most frequent reason first."""
    chosen = settled.filter(pc.equal(settled["status"], status))
    counts = pc.value_counts(chosen["reason"]).to_pylist()
    return {each["values"]: each["counts"] for each in sorted(counts, key=lambda each: -each["counts"])}


def advice(reason: str, kind: str) -> str:
    """A hint for the reason of a failed or skipped key of a run of this kind; empty if there is none."""
    return (_OF_SCORING if kind == "score" else {}).get(reason) or ADVICE.get(reason, "")


def lines(report: RunReport) -> list[str]:
    """The summary that a person reads at the end."""
    count = report.totals
    said, succeeded = wording(report.kind), count.trained + count.scored
    seconds = report.phases.get("train")
    rate = f", {pace(succeeded / seconds)} {said.things}/s" if seconds and succeeded else ""
    done = f"{succeeded:,} {said.done}"
    out = [
        f"{count.planned:,} planned = {done} + {count.unchanged:,} unchanged + "
        f"{count.skipped:,} skipped + {count.failed:,} failed   ({report.seconds:.1f} s{rate})"
    ]
    if count.adopted:
        out.append(f"{count.adopted:,} of the {said.done} were taken over from a run that did not finish")
    if count.touched:
        out.append(f"{count.touched:,} of the unchanged had a new ETag over the same bytes")
    for title, table in (("failed", report.failures), ("skipped", report.skips)):
        for reason, number in table.items():
            hint = advice(reason, report.kind)
            out.append(f"{title}: {number:,} × {reason}: {REASONS.get(reason, '')}. {hint}".rstrip())
    for each in report.examples[:5]:
        out.append(f"  {each['key']}: {each['message']}")
    if len(report.examples) > 5 or count.failed > 5:
        out.append(f"  … all {count.failed:,} with their tracebacks below runs/{report.run}/failures/")
    if report.warnings:
        named = "key" if report.kind == "score" else "model"
        out.append(f"{counted(report.warnings, named)} with warnings: `manyfit models {report.output} --warnings`")
    if report.gate:
        told = " + ".join(f"{number:,} {state}" for state, number in report.gate.items())
        out.append(f"gate: {count.trained:,} trained = {told}")
    if report.skilled:
        out.append(
            f"{report.unskilled:,} of {counted(report.skilled, 'model')} do no better than the baseline: "
            f"`manyfit models {report.output} --where 'skill<=0'`"
        )
    where = "that hold the truth" if report.kind == "score" else "in the newest windows"
    for level, (inside, rows) in report.coverage.items():
        out.append(f"intervals of {level} % held {inside / rows:.1%} of {counted(rows, 'row')} {where}")
    if count.gone:
        out.append(f"no longer in the input: {counted(count.gone, 'published key')} (input.on_gone decides)")
    if report.after_release.get("exit_code"):
        out.append("output.after_release failed, see above; the version stays, and the next run calls it again")
    if count.superseded:
        out.append(f"{count.superseded:,} outcomes were superseded by a run that listed the input later")
    if report.published:
        out.append(f"published as version {report.version} of {report.output}")
    elif report.exit_code:
        out.append(
            f"nothing was published; version {report.version} stays" if report.version else "nothing was published"
        )
    else:
        out.append(
            f"nothing changed; version {report.version} of {report.output} stays"
            if report.version
            else "nothing to publish"
        )
    return out
