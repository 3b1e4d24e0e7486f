"""An outcome: what became of one partition in one attempt. One row, its Arrow schema, and the reason codes."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

TRAINED, SCORED, UNCHANGED, SKIPPED, FAILED = "trained", "scored", "unchanged", "skipped", "failed"

REASONS: dict[str, str] = {
    # read
    "corrupt_compression": "the compressed data is damaged or cut short",
    "corrupt_parquet": "the parquet or arrow file is damaged or cut short",
    "corrupt_csv": "the csv text is damaged: an unclosed quote",
    "bad_row": "a row has another number of fields than the header, or is not JSON",
    "schema_mismatch": "columns are missing, unexpected, or differ between the files of one key",
    "duplicate_column": "a column name occurs twice",
    "encoding": "the text is not in the declared encoding",
    "decompression_limit": "the data unpacks to more than input.format allows",
    "unsupported_format": "the format cannot be read by this reader",
    "input_changed": "the object was replaced between planning and reading",
    "input_missing": "the object was deleted between planning and reading",
    "input_denied": "the store refused to hand out this object",
    "split_object": "Spark split this object over several tasks",
    "unsupported_key": "the object's name cannot be addressed through this store",
    # rows
    "empty": "no row",
    "too_few_rows": "fewer rows than recipe.min_rows",
    "missing_column": "a column that the recipe names is not there",
    "non_numeric": "a feature that must be a number is not one",
    "unsupported_type": "a feature or target is of a type that no estimator takes, such as bytes",
    "inexact_number": "a whole number that float64 cannot hold, where it would become one",
    "missing_values": "missing values in the features",
    "infinite_values": "infinite values in the features or the target",
    "null_target": "missing values in the target",
    "constant_target": "the target has one value only",
    "bad_time": "a text that orders the rows, or that input.times names, is no such date or time",
    "bad_weight": "row weights are missing, negative or not numbers",
    # fit
    "fit_error": "the estimator or function raised",
    "not_an_estimator": "the function did not return a fitted estimator",
    "metric_error": "a metric could not be computed",
    "artifact_error": "the model cannot be serialised and loaded back",
    "model_too_large": "the model is larger than artifact.max_bytes",
    # scoring
    "no_model": "the set has no model for the key",
    "model_too_old": "the key's model is older than score.max_age",
    "model_stale": "the last retraining of the key failed, and score.stale_model is skip",
    "model_damaged": "the model's bytes are not those that were published, or cannot be loaded here",
    "missing_feature": "a column that the model was trained on is not there",
    "predict_error": "the model raised, or gave no row for each row",
    # the worker
    "timeout": "the fit took longer than run.timeout",
    "memory_limit": "the worker needed more memory than run.memory",
    "worker_died": "the worker process died during the fit",
    "oom": "out of memory during the fit",
}
"""Reason codes of failed and skipped partitions, each with what it means. README lists them; a test compares."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one partition in one attempt."""

    key: str
    """the partition's key"""
    status: str
    """trained, scored, unchanged (equal bytes under a new ETag), skipped, failed"""
    reason: str | None = None
    """one of REASONS, for skipped and failed"""
    message: str | None = None
    """for a person; no values of the user's data"""
    traceback: str | None = None
    """for failed: kept below runs/ only"""
    digest: str | None = None
    """SHA-256 of the model's bytes, hex, for trained"""
    size: int | None = None
    """bytes of the model"""
    rows: int | None = None
    """rows fitted"""
    metrics: str | None = None
    """JSON object, metric name to number"""
    warnings: str | None = None
    """JSON list of texts"""
    seconds: float | None = None
    """of the fit"""
    data: str = ""
    """fingerprint of names, sizes and ETags"""
    content: str | None = None
    """SHA-256 of the bytes read"""
    recipe: str = ""
    """fingerprint of the recipe"""
    environment: str = ""
    """fingerprint of the environment"""
    bytes: int | None = None
    """bytes of the objects"""
    source: str | None = None
    """the object, or the folder, that was read"""
    attempt: int = 0
    """Spark's attempt number of the task"""
    task: int = 0
    """number of the task in the plan"""
    worker: str | None = None
    """host and process id"""
    peak: int | None = None
    """peak resident memory of the worker so far, bytes"""
    finished_at: float | None = None
    """seconds since the epoch, by the worker's clock"""
    adopted: bool = False
    """taken over from an unfinished run or an earlier attempt"""
    estimator: str | None = None
    """class of the fitted estimator"""
    skill: float | None = None
    """1 - error / error of the baseline"""
    windows: str | None = None
    """JSON of a backtest's windows (`job.fit.fitted.Evaluation`)"""
    horizons: str | None = None
    """JSON of a backtest's errors by step"""
    residuals: str | None = None
    """JSON of what intervals are made of (`job.judge.intervals.describe`)"""
    until: str | None = None
    """the last time stamp of the rows fitted, where a column orders them"""
    against: str | None = None
    """the live model that it was compared with (`champion_token`); null without a gate"""
    gate: str | None = None
    """with a gate: first, promoted, kept or undecidable; the barrier decides"""
    gate_champion: float | None = None
    """score of the live model on the rows that judge"""
    gate_challenger: float | None = None
    """score of the new one"""
    gate_gain: float | None = None
    """1 - error of the new one / error of the live one"""
    gate_rows: int | None = None
    """rows that judge"""
    gate_p: float | None = None
    """the chance of such an advantage between equal models"""
    gate_note: str | None = None
    """why the two could not be compared"""
    reading: int | None = None
    """version of the rules by which bytes became rows (`job.reader.spec.VERSION`); null in outcomes of version 0.1"""
    read: int | None = None
    """scoring: rows read; ``rows`` counts those written"""
    chunk: str | None = None
    """scoring: the planned list of keys that the key belongs to (`job.worker.chunks`)"""
    part: str | None = None
    """scoring: the attempt at the chunk"""
    columns: str | None = None
    """scoring: the columns of the part (`job.score.columns.described`)"""


_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
_NARROW = {"attempt": pa.int32(), "task": pa.int32()}


def _arrow_type(name: str, hint: Any) -> pa.DataType:
    kinds = [each for each in (typing.get_args(hint) or (hint,)) if each is not type(None)]
    return _NARROW.get(name) or _TYPES[kinds[0]]


SCHEMA = pa.schema([(name, _arrow_type(name, hint)) for name, hint in typing.get_type_hints(Outcome).items()])
"""One column for each field of `Outcome`, in their order."""

REPEATED = (
    *("status", "reason", "message", "traceback", "warnings", "recipe", "environment", "worker"),
    *("estimator", "until", "gate", "gate_note"),
    *("chunk", "part", "columns"),
)
"""Columns with few texts in many rows: as dictionaries, a million outcomes are half as large."""

_NAMES = [field.name for field in dataclasses.fields(Outcome)]


def coded(schema: pa.Schema) -> pa.Schema:
    """Some columns of `SCHEMA`, the repeated ones as dictionaries."""
    return pa.schema(
        [each.with_type(pa.dictionary(pa.int32(), each.type)) if each.name in REPEATED else each for each in schema]
    )


def champion_token(digest: str | None, judged_until: str | None) -> str:
    """What identifies a live model and what has judged it: empty where there is none."""
    return "" if digest is None else f"{digest}@{judged_until or ''}"


def to_table(outcomes: Iterable[Outcome]) -> pa.Table:
    """Outcomes as one Arrow table with `SCHEMA`."""
    rows = list(outcomes)
    arrays: list[Any] = [pa.array([getattr(row, name) for row in rows], SCHEMA.field(name).type) for name in _NAMES]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)
