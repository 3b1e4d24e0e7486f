"""The settings of scoring: the document that applies a published set of models to data (``manyfit score``).

The sections that a job has too (input, run, storage, spark, metrics) are in `job.config.settings`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from job.config.settings import (
    InputSettings,
    JobSettings,
    MetricsSettings,
    RunSettings,
    Section,
    SparkSettings,
    StorageSettings,
    StorageSide,
)
from job.config.value_types import Command, Duration, Strings, Uri

RowMethod = Literal["predict", "predict_proba", "decision_function", "transform", "score_samples"]


class ModelsSettings(Section):
    """Which published models are applied."""

    uri: Uri
    """the ``output.uri`` of the job that trains them"""
    at: int | None = Field(None, ge=1)
    """a version of ``manyfit history``; default the current one when the run is planned"""
    public_key: str | None = None
    """PEM file: the version must be signed with its private key"""
    min_version: int | None = Field(None, ge=1)
    """refuse an older version than this"""
    allow_version_skew: bool = False
    """load models that were made with other library versions"""


class MissingModelSettings(Section):
    """The treatment of keys without a model."""

    policy: Literal["fail", "skip", "fallback"] = "skip"
    """``fail``: the key fails; ``skip``: it is skipped; ``fallback``: the model of another key predicts its rows"""
    fallback: str | None = None
    """``fallback``: the key whose model is used instead"""

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """The policy ``fallback`` without the key of a model."""
        if self.policy == "fallback" and self.fallback is None:
            yield "fallback", "is required with policy 'fallback': name the key whose model stands in"


def _as_missing_model(value: Any) -> Any:
    if isinstance(value, str):
        return {"policy": value}
    if isinstance(value, dict) and "fallback" in value:
        return {"policy": "fallback", **value}
    return value


class ScoreSettings(Section):
    """How the rows of a key are predicted."""

    method: RowMethod = "predict"
    """the method of the model that is called with the features of each row"""
    function: str | None = None
    """``module:function`` or ``path/file.py:function`` instead of a method: called with the model, the frame of the
    key's rows (None without ``input``) and the key; it returns an array, a Series or a frame with any number of rows"""
    code: list[str] | None = None
    """files and folders that belong to ``function``, relative to the document: a change of them scores again"""
    keep: Strings | None = None
    """columns of the rows that go into the predictions; default all"""
    missing_model: Annotated[
        MissingModelSettings,
        BeforeValidator(_as_missing_model, json_schema_input_type=Literal["fail", "skip"] | MissingModelSettings),
    ] = MissingModelSettings()
    """a key without a model: ``skip`` (the default), ``fail``, or ``{fallback: KEY}``"""
    stale_model: Literal["use", "skip"] = "use"
    """a key whose last training failed, so that its model is an older one: ``use`` that model, or ``skip`` the key"""
    max_age: Duration | None = None
    """an age such as ``30d``: a key with an older model is treated as ``missing_model`` says; the age counts from the
    last run that made or confirmed the model"""
    missing: Literal["fail", "drop", "null"] = "fail"
    """missing values in features that the model does not take: the key fails, the rows are left out, or their
    predictions are null"""
    actual: str | None = None
    """the column with the true values: the errors of each key are written to the table ``errors``"""
    again: bool = False
    """score keys again whose input, model and settings were scored before"""

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """Settings that are for a method, next to a function."""
        if self.function is None:
            if self.code:
                yield "code", "belongs to score.function, and there is none"
            return
        for name in ("method", "keep", "missing", "actual"):
            if getattr(self, name) != type(self).model_fields[name].default:
                yield name, "is for a method of the model: with score.function the function decides what is written"


NO_ROWS = "memory://no-rows"
"""``input.uri`` of a scoring that has no input."""


class ScoreInputSettings(InputSettings):
    """The rows that are scored; left out, each model forecasts without rows (``score.function``)."""

    uri: Uri = NO_ROWS
    """``s3://bucket/prefix/``, ``gs://``, ``az://`` or a folder, relative to where the command runs; left out, the keys
    are those of the set"""


class ScoreStorageSettings(StorageSettings):
    """For input, models and output alike, each overridable by side."""

    models: StorageSide = StorageSide()


class PredictionsSettings(Section):
    """The output of the predictions."""

    uri: Uri
    """``s3://bucket/prefix/``, ``gs://``, ``az://`` or a folder, relative to where the command runs"""
    mode: Literal["append", "replace"] = "append"
    """``append``: each run adds the rows of the keys that it scores; ``replace``: the table holds one generation
    of each key, and ``input.on_gone: retire`` takes the rows of gone keys out. An output may go from ``append`` to
    ``replace``, and not back: the first run that replaces keeps the newest generation of each key"""
    keep: int = Field(30, ge=1)
    """the number of versions that ``manyfit gc`` keeps by default"""
    report: Literal["pictures", "short"] = "short"
    """a run's ``report.html``: with pictures, where the extra ``report`` is installed, or short"""
    after_release: Command | None = None
    """a program and its arguments, called once the predictions have another version; see ``output.after_release`` of a
    job"""
    after_release_timeout: Duration | None = 600.0
    """the time limit of one call, as seconds or ``15m``; ``null`` for no limit"""


class ScoringSettings(Section):
    """One scoring: the document of ``manyfit score``."""

    name: str = Field("manyfit", min_length=1, max_length=200)
    """part of the identity of the output"""
    models: ModelsSettings
    input: ScoreInputSettings = ScoreInputSettings()
    output: PredictionsSettings
    score: ScoreSettings = ScoreSettings()
    run: RunSettings = RunSettings()
    storage: ScoreStorageSettings = ScoreStorageSettings()
    metrics: MetricsSettings = MetricsSettings()
    spark: SparkSettings = SparkSettings()

    @property
    def has_rows(self) -> bool:
        """Whether there is an input."""
        return self.input.uri != NO_ROWS

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """Settings that contradict each other: an output inside the input, a method without an input, and others."""
        if not self.has_rows and self.score.function is None:
            yield "input.uri", f"is required: {self.score.method} needs rows, only a score.function can do without"
        if not self.has_rows and (self.input.layout != "objects" or self.input.reader != "direct"):
            yield "input.uri", "is required with another input.layout or input.reader than the default"
        source, models, target = (re.sub("/*$", "/", each.uri) for each in (self.input, self.models, self.output))
        crosses = any("**" in glob for glob in self.input.match)
        if source == target or (target.startswith(source) and crosses and self.input.layout == "objects"):
            yield "output.uri", "lies inside input.uri, so predictions would be read as data: choose another"
        if models == target:
            yield "output.uri", "is the output of the job that trains the models: predictions need one of their own"
        if self.run.engine in ("local", "inline") and self.input.reader == "spark":
            yield "run.engine", f"is {self.run.engine!r} and input.reader is 'spark', which needs Spark: leave one out"
        if self.run.retrain:
            yield "run.retrain", "is for training: score.again scores keys again"
        if self.run.publish != "healthy":
            yield "run.publish", "is for training: predictions of the keys that did not fail are always published"


Settings = JobSettings | ScoringSettings
"""The settings of either document: a job or a scoring."""
