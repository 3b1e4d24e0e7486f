"""The outcome of one partition in one attempt, as a row; its Arrow schema, and the reason codes."""

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
    "missing_column": "a column that the settings name is not there",
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
    "predict_error": "the model or the function raised, or did not give one prediction for each row",
    # the worker
    "timeout": "the work on the key took longer than run.timeout",
    "memory_limit": "the worker needed more memory than run.memory",
    "worker_died": "the worker process died while it worked on the key",
    "oom": "out of memory while a worker worked on the key",
}
"""Reason codes of failed and skipped partitions, with their meanings. `make docs` writes them into the documents."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of one partition in one attempt."""

    key: str
    """the partition's key"""
    status: str
    """``trained``, ``scored``, ``unchanged`` (equal bytes under a new ETag), ``skipped`` or ``failed``"""
    reason: str | None = None
    """for skipped and failed keys: one of the reason codes"""
    message: str | None = None
    """the reason in a sentence; holds no value of the user's data"""
    traceback: str | None = None
    """for failed keys: the traceback; kept below ``runs/`` only"""
    digest: str | None = None
    """for trained keys: SHA-256 of the model file, hex"""
    size: int | None = None
    """bytes of the model file"""
    rows: int | None = None
    """rows that the model was fitted on"""
    metrics: str | None = None
    """JSON object: name of the metric to its value"""
    warnings: str | None = None
    """JSON list of texts"""
    seconds: float | None = None
    """duration of the fit"""
    data: str = ""
    """fingerprint of the names, sizes and ETags of the key's objects"""
    content: str | None = None
    """SHA-256 of the bytes that were read"""
    recipe: str = ""
    """fingerprint of the recipe"""
    environment: str = ""
    """fingerprint of the library versions"""
    bytes: int | None = None
    """bytes of the key's objects"""
    source: str | None = None
    """the object or the folder that was read"""
    attempt: int = 0
    """number of the task's attempt, from 0"""
    task: int = 0
    """number of the task in the plan"""
    worker: str | None = None
    """host and process id of the worker"""
    peak: int | None = None
    """peak resident memory of the worker so far, bytes"""
    finished_at: float | None = None
    """when the key was finished: seconds since the epoch, by the worker's clock"""
    adopted: bool = False
    """true if the outcome was taken over from an unfinished run or an earlier attempt"""
    estimator: str | None = None
    """class of the fitted estimator"""
    skill: float | None = None
    """1 - error of the model / error of the baseline"""
    windows: str | None = None
    """JSON list: the windows of a backtest (`job.fit.fitted.Evaluation`)"""
    horizons: str | None = None
    """JSON object: the errors of a backtest by step into the future"""
    residuals: str | None = None
    """JSON object: half-widths of prediction intervals (`job.judge.intervals.describe`)"""
    until: str | None = None
    """the last time stamp of the fitted rows, if a column orders them"""
    against: str | None = None
    """the live model that the new one was compared with (`champion_token`); null without a gate"""
    gate: str | None = None
    """the gate's decision: ``first``, ``promoted``, ``kept`` or ``undecidable``"""
    gate_champion: float | None = None
    """score of the live model on the judging rows"""
    gate_challenger: float | None = None
    """score of the new model on the judging rows"""
    gate_gain: float | None = None
    """1 - error of the new model / error of the live model"""
    gate_rows: int | None = None
    """number of judging rows"""
    gate_p: float | None = None
    """p-value: the chance of such an advantage between two equally good models"""
    gate_note: str | None = None
    """why the two models could not be compared"""
    reading: int | None = None
    """version of the rules by which bytes became rows (`job.reader.spec.VERSION`); null in outcomes of version 0.1"""
    read: int | None = None
    """scoring: rows that were read; ``rows`` counts the rows that were written"""
    chunk: str | None = None
    """scoring: the chunk (planned list of keys) that the key belongs to (`job.worker.chunks`)"""
    part: str | None = None
    """scoring: the file of predictions that holds the key's rows"""
    columns: str | None = None
    """scoring: the columns of that file (`job.score.columns.described`)"""


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
"""Columns with few distinct texts in many rows. Dictionary-encoded, a million outcomes take half the memory."""

_NAMES = [field.name for field in dataclasses.fields(Outcome)]


def coded(schema: pa.Schema) -> pa.Schema:
    """A schema with columns of `SCHEMA`, of which those in `REPEATED` become dictionaries."""
    return pa.schema(
        [each.with_type(pa.dictionary(pa.int32(), each.type)) if each.name in REPEATED else each for each in schema]
    )


def champion_token(digest: str | None, judged_until: str | None) -> str:
    """Identifies a live model and the rows that have judged it; empty if there is no live model."""
    return "" if digest is None else f"{digest}@{judged_until or ''}"


def to_table(outcomes: Iterable[Outcome]) -> pa.Table:
    """Make an Arrow table with `SCHEMA` from outcomes."""
    rows = list(outcomes)
    arrays: list[Any] = [pa.array([getattr(row, name) for row in rows], SCHEMA.field(name).type) for name in _NAMES]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)
