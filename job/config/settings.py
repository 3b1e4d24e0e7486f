"""The settings of a job: names, types, defaults, and what each one means.

This module only describes (``job.config.load`` reads arguments, environment and files into it). The JSON schema of
`JobSettings` is the chart's ``job:`` value. The sentence under a setting is its documentation everywhere.
"""

from __future__ import annotations

import codecs
import re
import warnings
from collections.abc import Container, Iterator, Mapping
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from job import formats
from job.config.value_types import (
    Command,
    Duration,
    Endpoint,
    Gap,
    Length,
    Mistakes,
    Ratio,
    Sample,
    Share,
    Size,
    Strings,
    Uri,
    parse_duration,
    parse_size,
)

__all__ = ["JobSettings", "Mistakes", "parse_duration", "parse_size"]


class Section(BaseModel):
    """A group of settings: frozen, and an unknown name is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True)

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """Mistakes in combinations of settings that are valid by themselves: (name in this section, what is wrong)."""
        yield from ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        found = tuple(self.mistakes())
        if found:
            raise Mistakes(*found)
        return self

    def counted(self, first: Mapping[str, Any], harmless: Container[str] = ()) -> dict[str, Any]:
        """Plain data for a fingerprint: the settings that decide a result.

        Parameters
        ----------
        first
            Settings of version 0.1; a section maps to its own settings. They always count, so that keys which version
            0.1 published stay unchanged. A later setting counts only if it differs from its default.
        harmless
            Settings that do not count.
        """
        told, found = self.model_dump(mode="json"), {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if name in harmless:
                continue
            if isinstance(value, Section) and name in first:
                found[name] = value.counted(first[name])
            elif name in first or value != field.get_default(call_default_factory=True):
                found[name] = told[name]
        return found


DIRECT_FORMATS = ("auto", *formats.DIRECT)
"""What ``reader: direct`` can read."""


def _format_name(name: str) -> str:
    return formats.ALIASES.get(name, name)


class FormatSettings(Section):
    """How the bytes of an object become a table."""

    type: Annotated[str, AfterValidator(_format_name)] = "auto"
    """``csv``, ``tsv``, ``json`` (one object a line; also ``jsonl``, ``ndjson``), ``parquet``, ``arrow`` (also
    ``feather``); ``auto`` goes by the name; with ``reader: spark`` any format Spark knows"""
    delimiter: str = Field(",", min_length=1, max_length=1)
    """csv: the one character between fields"""
    quote: str = Field('"', min_length=1, max_length=1)
    """csv: the quoting character"""
    encoding: str = "utf-8"
    """csv and json: the text encoding; a UTF-8 byte order mark is accepted"""
    null_values: list[str] = [""]
    """csv: the texts that mean 'missing', and no others"""
    decimal: str = Field(".", min_length=1, max_length=1)
    """csv: the decimal point"""
    max_bytes: Size = 4_000_000_000
    """an object that unpacks to more than this fails as ``decompression_limit``"""
    max_ratio: float = Field(1000.0, gt=1)
    """an object that unpacks to more than this many times its size fails as ``decompression_limit``"""
    options: dict[str, str] = {}
    """``reader: spark`` with a format of Spark's: options passed to ``spark.read``"""

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """An encoding that Python does not know; one character in two roles."""
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            yield "encoding", "is not a text encoding that Python knows: utf-8, latin-1, cp1252, utf-16 ..."
        if self.delimiter in (self.quote, "\n", "\r"):
            yield "delimiter", "must differ from the quoting character and from a line end"
        elif self.decimal == self.delimiter:
            yield "decimal", "must differ from the delimiter"


def _as_format(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


class ColumnSettings(Section):
    """A declared column."""

    type: str
    """Arrow type of its values"""
    optional: bool = False
    """files may lack it: its values are missing there; optional columns may be declared without declaring all others"""


class InputSettings(Section):
    """The input: where the data lies, and what one partition is."""

    uri: Uri
    """``s3://bucket/prefix/``, ``gs://``, ``az://`` or a folder, relative to where the command runs"""
    layout: Literal["objects", "hive", "columns"] = "objects"
    """``objects``: one object is one partition; ``hive``: ``k=v`` directories; ``columns``: rows of a table by
    key columns"""
    match: Strings = ["**"]
    """globs on the path below ``uri``: which objects are read; only ``**`` crosses ``/``"""
    keys: list[str] | None = None
    """``hive``: the directory levels that form the key; default all levels"""
    key: str | list[str] | None = None
    """``objects``: a regular expression on the path whose group ``key`` (or first group) is the key; ``columns``:
    the key columns"""
    format: Annotated[FormatSettings, BeforeValidator(_as_format, json_schema_input_type=str | FormatSettings)] = (
        FormatSettings()
    )
    """a name (``csv``) or a mapping with ``type`` and its options"""
    schema_: dict[str, str | ColumnSettings] | None = Field(None, alias="schema")
    """column name to Arrow type (``int64``, ``float64``, ``string``, ``bool``, ``date32``, ``timestamp``), or a mapping
    with ``type`` and ``optional``; the header must match"""
    times: dict[str, str] = {}
    """columns of text that are dates or times: each with its strptime format (``{day: "%d/%m/%Y"}``), or ``iso``; they
    become time stamps"""
    order_by: Strings = []
    """columns that order the rows of each partition, by value and ascending: numbers, dates, times, or texts that are
    ISO dates or times; rows that are equal in them keep their order; default the order of the files"""
    include: Strings | None = None
    """globs on the key: train only keys that match"""
    exclude: Strings | None = None
    """globs on the key: leave out keys that match"""
    only: list[str] | None = None
    """train only the keys of this list; a key that does not exist is an error"""
    sample: Sample | None = None
    """a fraction below 1, or a number of keys: a random subset, the same for the same ``run.seed``"""
    limit: int | None = Field(None, gt=0)
    """at most this many keys, in the order of keys"""
    reader: Literal["direct", "spark"] = "direct"
    """``direct``: the tasks read the input; ``spark``: Spark reads it, for formats and places that only Spark knows"""
    on_empty: Literal["skip", "fail"] = "skip"
    """a partition without rows: ``skip`` lists it as skipped, ``fail`` counts it as failed"""
    on_gone: Literal["keep", "retire"] = "keep"
    """a published key that the input no longer has: ``keep`` leaves it live and marks it, ``retire`` takes it out of
    the set (refused above 10 % of the keys); a run with a filter on keys does neither"""
    version: int | str | None = None
    """format ``delta``: the version of the table, or a time stamp (``2024-05-01T00:00:00Z``) for the one that was there
    then; default the newest when the run is planned"""
    table_files: Literal["refuse", "read"] = "refuse"
    """a folder of a table format (Delta, Iceberg ...), whose log says which files are live: ``refuse`` it, or ``read``
    all files in it, dead ones too"""

    def optional_columns(self) -> tuple[str, ...]:
        """Declared columns that files of a table may lack."""
        columns = (self.schema_ or {}).items()
        return tuple(name for name, column in columns if isinstance(column, ColumnSettings) and column.optional)

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """Settings that the layout or the reader needs or excludes."""
        if self.layout == "columns" and not self.key:
            yield "key", "is required with layout 'columns': name the key columns, for example key: [store, item]"
        if self.layout == "hive" and self.key is not None:
            yield "key", "is not for layout 'hive': the key comes from the directories, named by input.keys"
        if self.layout != "hive" and self.keys is not None:
            yield "keys", f"is for layout 'hive'; this one is {self.layout!r}"
        if self.layout == "objects" and isinstance(self.key, list):
            yield "key", "is a list, and with layout 'objects' it is one regular expression on the path"
        elif self.layout == "objects" and self.key is not None:
            yield from _expression_mistakes(str(self.key))
        if self.reader == "spark":
            for name in self.optional_columns():
                yield f"schema.{name}", "is declared optional, which is for reader 'direct'"
        table = self.layout == "columns" and self.format.type == "delta"
        if self.version is not None and not table:
            yield "version", "is for layout 'columns' with format 'delta'"
        if table and self.reader == "direct" and self.match != ["**"]:
            yield "match", "is not for format 'delta', whose log says which files count"
        if self.reader == "direct" and not table and self.format.type not in DIRECT_FORMATS:
            yield "format.type", f"is not one of {', '.join(DIRECT_FORMATS)}; other formats need input.reader: spark"
        for name in ("match", "keys", "include", "only"):
            if getattr(self, name) == []:
                yield name, "is an empty list and selects nothing: leave it out to select everything"


def _expression_mistakes(expression: str) -> Iterator[tuple[str, str]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            groups = re.compile(expression).groups
        if groups < 1:
            yield "key", "has no group: put the part of the path that is the key into parentheses"
    except re.error as error:
        yield "key", f"is not a regular expression: {error}"


Method = Literal["none", "holdout", "kfold", "time", "backtest"]


class ValidationSettings(Section):
    """How a fit is scored on rows it has not seen."""

    FIRST: ClassVar = dict.fromkeys(("method", "test_size", "folds", "column"))
    """What version 0.1 had: see `Section.counted`."""

    method: Method = "none"
    """``none`` scores the training rows; ``time`` holds out the last rows by ``column``; ``backtest`` fits before, and
    predicts, several windows of time"""
    test_size: float = Field(0.2, gt=0, lt=1)
    """``holdout`` and ``time``: the share of rows held out"""
    folds: int = Field(5, ge=2)
    """``kfold``: the number of folds; rows are shuffled by the seed"""
    column: str | None = None
    """``time`` and ``backtest``: the column that orders the rows"""
    windows: int = Field(4, ge=1, le=1000)
    """``backtest``: the number of windows; the newest ends with the newest row"""
    horizon: Length | None = None
    """``backtest``: what a window predicts, as a number of rows, or a span of time in the column's own time zone:
    ``28d``, ``4w``, ``3mo``, ``1y``, ``12h``, ``30min``"""
    step: Length | None = None
    """``backtest``: the distance between two windows, in rows or as a span of time; default the horizon"""
    gap: Gap = None
    """``backtest``: the gap before each window, in rows or as a span of time: its rows are neither fitted on nor
    predicted; default none"""
    scheme: Literal["expanding", "sliding"] = "expanding"
    """``backtest``: a window fits on everything before it, or on as much as the oldest window does"""
    refit: bool = True
    """``backtest``: fit again for each window; else one fit, before the oldest window, predicts all of them"""
    groups: str | None = None
    """``kfold`` and ``holdout``: a column; rows with one value of it are never both fitted on and held out"""
    stratified: bool | None = None
    """``kfold`` and ``holdout``: each part has its share of each class; default where the estimator is a classifier
    and the rows allow it"""
    intervals: list[Annotated[float, Field(gt=0, lt=100)]] = []
    """levels of prediction intervals in percent, for example ``[80, 95]``, from the residuals of held-out rows"""

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """A split by time without a column for the order; options of another method."""
        if self.method in ("time", "backtest") and not self.column:
            yield "column", f"is required with method {self.method!r}: name the column that orders the rows"
        if self.method == "backtest" and self.horizon is None:
            yield "horizon", "is required with method 'backtest': a number of rows, or a span such as 28d"
        for name, methods in _OPTIONS.items():
            changed = getattr(self, name) != type(self).model_fields[name].default
            if changed and self.method not in methods:
                wanted = " and ".join(map(repr, methods))
                yield name, f"is for method {wanted}; recipe.validation.method is {self.method!r}"
        for name in ("step", "gap"):
            value = getattr(self, name)
            if None not in (value, self.horizon) and isinstance(value, str) != isinstance(self.horizon, str):
                kind = "a span of time" if isinstance(self.horizon, str) else "a number of rows"
                yield name, f"must be {kind}, as recipe.validation.horizon is"
        if len(set(self.intervals)) < len(self.intervals):
            yield "intervals", "names a percentage twice"


_OPTIONS: dict[str, tuple[str, ...]] = {
    "test_size": ("holdout", "time"),
    "folds": ("kfold",),
    "column": ("time", "backtest"),
    **dict.fromkeys(("windows", "horizon", "step", "gap", "scheme", "refit"), ("backtest",)),
    **dict.fromkeys(("groups", "stratified"), ("kfold", "holdout")),
    "intervals": ("holdout", "kfold", "time", "backtest"),
}
"""Settings of some methods only."""


def _as_validation(value: Any) -> Any:
    return {"method": value} if isinstance(value, str) else value


class RecipeSettings(Section):
    """What is fitted on each partition."""

    features: str | list[str] | None = None
    """column names; default all others; one bare name gives the estimator a 1-D column (text vectorisers)"""
    target: str | list[str] | None = None
    """the column to predict; none for unsupervised estimators; several for multi-output ones"""
    estimator: dict[str, Any] | None = None
    """``{_target_: sklearn.linear_model.LinearRegression, ...}``, nested at will"""
    function: str | None = None
    """``module:function`` or ``path/file.py:function``: called with the frame and the key, returns a fitted
    estimator, or it and metrics"""
    code: list[str] | None = None
    """files and folders that belong to ``function``, relative to the job file: a change of them trains again"""
    version: str | None = None
    """any text; a new text trains every partition again"""
    sample_weight: str | None = None
    """the column of row weights"""
    validation: Annotated[
        ValidationSettings, BeforeValidator(_as_validation, json_schema_input_type=Method | ValidationSettings)
    ] = ValidationSettings()
    """``none``, ``holdout``, ``kfold``, ``time``, or a mapping with ``method`` and its options"""
    baseline: dict[str, Any] | None = None
    """what each model is compared with on the same rows: an estimator
    (``{_target_: sklearn.dummy.DummyRegressor}``), or ``{seasonal_naive: 7}`` with ``time`` or ``backtest``: the row
    a season of so many rows before"""
    metrics: Strings | None = None
    """scikit-learn scorer names; default ``r2`` or ``accuracy`` by the kind of estimator; ``[]`` for none"""
    min_rows: int | None = Field(None, ge=1)
    """fewer rows are skipped as ``too_few_rows``; default max(2, features + 1)"""
    fallback: dict[str, Any] | None = None
    """an estimator for partitions with fewer than ``min_rows`` rows"""
    missing: Literal["auto", "fail", "allow", "drop"] = "auto"
    """missing values in features: ``auto`` allows them where the estimator imputes or is made for them, else fails;
    ``drop`` drops the rows"""
    drop_null_target: bool = False
    """drop rows without a target instead of failing"""
    constant_target: Literal["warn", "fail"] = "warn"
    """a target with one value only: a warning in the table, or a failure"""
    allow: Strings = []
    """further importable packages for ``_target_`` and ``function``"""

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """Not exactly one of estimator and function; a target among the features; malformed values."""
        if self.estimator is None and self.function is None:
            yield (
                "",
                "has nothing to fit: give recipe.estimator ({_target_: sklearn.linear_model.Ridge}) or recipe.function",
            )
        if self.estimator is not None and self.function is not None:
            yield "function", "is given beside recipe.estimator: give one of the two"
        if self.baseline is not None and "seasonal_naive" in self.baseline:
            yield from self._seasonal_mistakes(self.baseline)
        for name in ("estimator", "fallback", "baseline"):
            value = getattr(self, name)
            if name == "baseline" and value is not None and "seasonal_naive" in value:
                continue
            if value is not None and not isinstance(value.get("_target_"), str):
                yield (
                    name,
                    "has no _target_: name the class, for example _target_: sklearn.linear_model.LinearRegression",
                )
        if self.function is not None and not re.fullmatch(r".+:[^\W\d]\w*", self.function):
            yield "function", "is not of the form module:function or path/file.py:function"
        if self.features == [] or self.target == []:
            yield "features" if self.features == [] else "target", "is an empty list: leave it out, or name columns"
        features, target = (
            set([each] if isinstance(each, str) else each or []) for each in (self.features, self.target)
        )
        if features & target:
            yield "features", f"holds the target {', '.join(sorted(features & target))}: the model would see the answer"
        if isinstance(self.features, list) and len(features) < len(self.features):
            yield "features", "names a column twice"

    def _seasonal_mistakes(self, baseline: dict[str, Any]) -> Iterator[tuple[str, str]]:
        length = baseline["seasonal_naive"]
        if len(baseline) > 1 or isinstance(length, bool) or not isinstance(length, int) or length < 1:
            yield "baseline", "is not of the form {seasonal_naive: 7}, with the number of rows of a season"
        elif self.validation.method not in ("time", "backtest"):
            yield "baseline", "of {seasonal_naive: ...} needs recipe.validation.method time or backtest"
        elif isinstance(self.target, list) and len(self.target) > 1:
            yield "baseline", "of {seasonal_naive: ...} is for one target"


class PromoteSettings(Section):
    """When a new model replaces the live one: the gate, key by key."""

    metric: (
        Literal[
            "neg_root_mean_squared_error",
            "neg_mean_squared_error",
            "neg_mean_absolute_error",
            "neg_log_loss",
            "accuracy",
        ]
        | None
    ) = None
    """the score by which a new model must be better, on rows that neither has seen, to replace the live one; without
    it there is no gate: every new model replaces the live one"""
    min_gain: Ratio = 0.01
    """how much smaller the new model's error must be: ``1%`` or ``0.01``"""
    min_rows: int = Field(30, ge=3)
    """a key with fewer judging rows is undecidable"""
    on_undecidable: Literal["promote", "keep"] = "promote"
    """if the two models cannot be compared: publish the new one (``promote``) or keep the live one (``keep``)"""
    test: Literal["paired", "none"] = "paired"
    """``paired``: the advantage must also be more than chance, by a Diebold-Mariano test on the rows; ``none``: the
    gain alone decides"""
    alpha: float = Field(0.05, gt=0, lt=1)
    """the share of false promotions among all promotions of a run that the test allows"""

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """Options of a gate without the metric that turns the gate on."""
        if self.metric is None and self != PromoteSettings.model_construct():
            yield "metric", "is required for a gate: name the score, for example neg_mean_absolute_error"


class RunSettings(Section):
    """How a run behaves."""

    engine: Literal["auto", "local", "spark", "inline"] = "auto"
    """``local``: worker processes on this machine, no Java; ``spark``: a cluster, or a local session; ``inline``: one
    process, for debugging; ``auto``: Spark under spark-submit, on Kubernetes, and where ``spark.master``,
    ``spark.conf``, ``spark-defaults.conf`` or ``input.reader: spark`` ask for it, else ``local``"""
    workers: int | None = Field(None, ge=1)
    """``local``: the number of worker processes; default the number of cores that this process may use"""
    scratch: str | None = None
    """``local``: the folder for temporary files of the workers; default the system's folder"""
    retrain: list[str] = []
    """keys that are trained again though nothing changed; one that does not exist is an error"""
    id: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")
    """the run's name; default new for each run, and on Kubernetes made from the application and the job document"""
    application: str | None = None
    """the SparkApplication's name; the chart sets it"""
    image: str | None = None
    """the container image; the chart sets it"""
    seed: int = Field(0, ge=0, lt=2**32)
    """the seed of a fit is computed from this number and the key"""
    environment: Literal["compatible", "exact", "ignore"] = "compatible"
    """which library versions must agree for a model to count as unchanged"""
    max_failed: Share = 0
    """failed partitions that still count as success: a number, or a percentage such as ``"5%"``"""
    publish: Literal["healthy", "all_or_nothing"] = "healthy"
    """if more partitions failed than ``max_failed``: publish the trained models (``healthy``), or nothing"""
    timeout: Duration | None = 3600.0
    """per fit, as seconds or ``15m``, ``2h``; a longer one is recorded as ``timeout``; ``null`` for no limit"""
    memory: Size | None = None
    """resident memory of a worker process during a fit, as bytes or ``2GiB``; more is recorded as ``memory_limit``"""

    def allowed_failures(self, planned: int) -> int:
        """The number of failed partitions, out of ``planned``, that still counts as success."""
        if isinstance(self.max_failed, str):
            # A fraction is exact: 29 % of 100 is 29, not 28.999...
            return int(planned * Fraction(self.max_failed.strip().rstrip("%").strip()) / 100)
        return self.max_failed


class StorageSide(Section):
    """How an object store is reached. Credentials come from the environment, a profile or a role, never from here."""

    endpoint: Endpoint | None = None
    """address of an S3-compatible server, for example ``http://minio:9000``"""
    region: str | None = None
    """S3 region; default from the environment, else us-east-1"""
    path_style: bool | None = None
    """bucket in the path instead of the host name; default true with an ``endpoint``"""
    profile: str | None = None
    """profile in the AWS configuration files"""
    ca: str | None = None
    """file with the certificate authority of the endpoint"""
    anonymous: bool | None = None
    """do not sign requests: public data"""
    checksums: Literal["when_required", "when_supported"] | None = None
    """when requests carry checksums; default ``when_required`` with an ``endpoint``"""
    retries: int | None = Field(None, ge=0)
    """retries of one request; default 10"""
    timeout: Duration | None = None
    """seconds one request may take; default 60"""
    single_writer: bool | None = None
    """declares that no other run writes to this store; allows a store without conditional writes"""


class StorageSettings(StorageSide):
    """For input and output alike, each overridable by side."""

    input: StorageSide = StorageSide()
    output: StorageSide = StorageSide()

    def side(self, which: str) -> StorageSide:
        """The settings in force for one side."""
        base = {name: getattr(self, name) for name in StorageSide.model_fields}
        override = getattr(self, which).model_dump(exclude_none=True)
        return StorageSide(**{**base, **override})


class ArtifactSettings(Section):
    """The model files."""

    check: Literal["load", "predict", "none"] = "load"
    """the check before an upload: ``load`` loads the model back, ``predict`` compares its predictions, too, ``none``
    does nothing"""
    compress: int = Field(0, ge=0, le=9)
    """joblib's compression level"""
    max_bytes: Size = 2_000_000_000
    """a larger model fails as ``model_too_large``"""


class MetricsSettings(Section):
    """Metrics of a run for Prometheus."""

    enabled: bool = False
    """the driver serves ``manyfit_*`` series while it runs, and keeps their text as ``runs/<id>/metrics.prom``"""
    port: int = Field(8090, ge=0, le=65535)
    """the port; 0 takes any free one"""
    linger: Duration | None = 35.0
    """how long a run that has ended waits for one more scrape, as seconds or ``1m``; ``null`` not to wait"""


class SparkSettings(Section):
    """The Spark session."""

    master: str | None = None
    """default what spark-submit or ``spark-defaults.conf`` gave, else ``local[*,4]``; ``inline`` is
    ``run.engine: inline``"""
    conf: dict[str, str | int | float | bool] = {}
    """any ``spark.*`` settings; they win over manyfit's own"""

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """Names that Spark would ignore without a message."""
        for name in self.conf:
            if not name.startswith("spark."):
                yield (
                    f"conf.{name}",
                    f"is ignored by Spark, whose settings start with 'spark.'; did you mean spark.{name}?",
                )


class OutputSettings(Section):
    """The output: where the models are published."""

    uri: Uri
    """``s3://bucket/prefix/``, ``gs://``, ``az://`` or a folder, relative to where the command runs"""
    keep: int = Field(30, ge=1)
    """the number of versions that ``manyfit gc`` keeps by default"""
    signing_key: str | None = None
    """PEM file with an ECDSA private key, which signs each release"""
    unsigned: bool = False
    """publish without a signature though the set is signed: a publisher signs it later (``manyfit sign``)"""
    report: Literal["pictures", "short"] = "pictures"
    """a run's ``report.html``: with pictures, where the extra ``report`` is installed, or short"""
    after_release: Command | None = None
    """a program and its arguments, such as ``[python, tell.py]``, that the driver calls once the output has another
    version; no shell reads them. ``RELEASE_OUTPUT``, ``RELEASE_VERSION``, ``RELEASE_RUN``, ``RELEASE_JOB``,
    ``RELEASE_KIND`` and ``RELEASE_OPERATION`` are in its environment. If it fails, the version stays, and the next run
    calls it again"""
    after_release_timeout: Duration | None = 600.0
    """the time limit of one call, as seconds or ``15m``; ``null`` for no limit"""


class JobSettings(Section):
    """One job: the document that is written as YAML, or as the chart's ``job:`` value."""

    name: str = Field("manyfit", min_length=1, max_length=200)
    """the job's name; with the input it identifies the output, which refuses other jobs"""
    input: InputSettings
    recipe: RecipeSettings
    output: OutputSettings
    promote: PromoteSettings = PromoteSettings()
    run: RunSettings = RunSettings()
    storage: StorageSettings = StorageSettings()
    artifact: ArtifactSettings = ArtifactSettings()
    metrics: MetricsSettings = MetricsSettings()
    spark: SparkSettings = SparkSettings()

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """An output inside the input; an engine that contradicts other settings; a gate without unseen rows."""
        if self.promote.metric is not None and self.recipe.validation.method not in ("time", "backtest"):
            yield (
                "promote.metric",
                "needs recipe.validation.method time or backtest: only time tells which rows the live model has not "
                "seen",
            )
        source, target = (uri.rstrip("/") + "/" for uri in (self.input.uri, self.output.uri))
        crosses = any("**" in glob for glob in self.input.match)
        if source == target or (target.startswith(source) and crosses and self.input.layout == "objects"):
            yield (
                "output.uri",
                "lies inside input.uri, so models would be read as data: choose another, or a narrower input.match",
            )
        if self.spark.master == "inline" and self.run.engine not in ("auto", "inline"):
            yield "run.engine", f"is {self.run.engine!r} and spark.master is 'inline': leave spark.master out"
        if self.run.engine in ("local", "inline") and self.input.reader == "spark":
            yield "run.engine", f"is {self.run.engine!r} and input.reader is 'spark', which needs Spark: leave one out"
