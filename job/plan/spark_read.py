"""Describes how Spark reads the input of a job: address, format, options. Nothing here imports Spark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from job.config.score_settings import Settings
from job.config.settings import DIRECT_FORMATS, InputSettings
from job.errors import ConfigurationError
from job.formats import COMPRESSIONS, compression, format_of
from job.keys import hive_columns
from job.reader.spec import ReadSpec
from job.store import Store

_FILES = ("orc", "avro", "xml")
"""Spark's formats that are files in folders, and not tables with a log."""
_UNPACKED = (".gz", ".gzip", ".bz2")
"""Suffixes of the compressions that Spark reads without native libraries."""


@dataclass(frozen=True, kw_only=True)
class TableRead:
    """The parameters for ``spark.read``, as plain data."""

    layout: str
    """objects, hive or columns"""
    root: str
    """``input.uri`` in Hadoop's form, without a slash at its end"""
    format: str
    """Spark's name of the format; with ``binaryFile`` Spark delivers whole objects, and `job.reader` parses them"""
    options: dict[str, str] = field(default_factory=dict)
    """options of ``spark.read``"""
    paths: tuple[str, ...] = ()
    """layout ``columns``: only these files; default all below the root"""
    schema: tuple[tuple[str, str], ...] = ()
    """layout ``columns``: declared columns and their types"""
    key: tuple[str, ...] = ()
    """layout ``columns``: the key columns"""
    partitioned: tuple[str, ...] = ()
    """layout ``columns``: columns whose values are in the names of directories"""
    needed: tuple[str, ...] | None = None
    """the columns that the recipe needs; None: all"""

    @property
    def shuffled(self) -> bool:
        """Whether the rows of one key come from several Spark partitions."""
        return self.layout != "objects"

    @property
    def local(self) -> bool:
        """Whether the input is a folder of this machine."""
        return self.root.startswith("file:")

    @property
    def inferred(self) -> bool:
        """Whether Spark infers the types from texts."""
        return not self.schema and self.format in ("csv", "json")

    @property
    def whole(self) -> bool:
        """Whether each row is a whole object."""
        return self.format == BINARY


BINARY = "binaryFile"


def of_objects(settings: Settings, store: Store) -> TableRead | None:
    """How Spark reads the layouts ``objects`` and ``hive``; None if the tasks themselves read them.

    Raises
    ------
    ConfigurationError
        Spark cannot reach this kind of store.
    """
    chosen = settings.input
    if chosen.layout == "columns" or chosen.reader == "direct":
        return None
    ours = chosen.format.type in DIRECT_FORMATS
    return TableRead(
        layout=chosen.layout,
        root=hadoop_root(store.uri, chosen.uri),
        format=BINARY if ours else chosen.format.type,
        options={} if ours else dict(chosen.format.options),
    )


def hadoop_root(uri: str, written: str) -> str:
    """Convert the URI of a store to Hadoop's form.

    >>> hadoop_root("s3://bucket/data", "s3://bucket/data/")
    's3a://bucket/data'

    Parameters
    ----------
    uri
        The URI of the store.
    written
        The URI as the user wrote it: only this one names the account of an Azure container.
    """
    if uri.startswith("/"):
        return f"file:{uri}"
    scheme, _, rest = uri.partition("://")
    if scheme == "s3":
        return f"s3a://{rest}"
    if scheme == "gs":
        return uri
    if written.startswith(("abfs://", "abfss://")) and "@" in written:
        return written.rstrip("/")
    hint = "Use input.reader: direct."
    if scheme == "az":
        hint = "Write abfss://container@account.dfs.core.windows.net/path, or use input.reader: direct."
    raise ConfigurationError(f"input.uri {written!r} cannot be read by Spark", hint=hint)


def of_table(settings: Settings, store: Store, names: Sequence[str], *, some: bool, spec: ReadSpec) -> TableRead:
    """How Spark reads a table.

    Parameters
    ----------
    names
        Names of the table's files.
    some
        Whether other files are left out, by ``input.match`` or because they have 0 bytes.
    spec
        Has the columns that the recipe needs.

    Raises
    ------
    ConfigurationError
        Spark cannot read the format with the settings of this job.
    """
    chosen = settings.input
    assert chosen.key is not None
    key = (chosen.key,) if isinstance(chosen.key, str) else tuple(chosen.key)
    root = hadoop_root(store.uri, chosen.uri)
    kind = _kind(names) if chosen.format.type == "auto" else chosen.format.type
    needed = None if spec.needed is None else tuple(dict.fromkeys((*spec.needed, *key)))
    read = TableRead(layout="columns", root=root, format=kind, key=key, needed=needed, schema=spec.schema)
    if kind == "arrow":
        raise ConfigurationError(
            "input.format.type: Spark does not read arrow files, and layout 'columns' goes through Spark",
            hint="Write the table as parquet.",
        )
    paths = tuple(f"{root}/{name}" for name in names) if some else ()
    if kind not in (*DIRECT_FORMATS, *_FILES):
        return replace(read, options=dict(chosen.format.options), paths=paths)
    levels = levels_of(names)
    # If there are no k=v levels, Spark silently ignores files in subfolders.
    options = {} if levels else {"recursiveFileLookup": "true"}
    if kind not in _FILES:
        _check_compressions(names, kind)
        options |= _options(chosen, kind)
    return replace(
        read,
        format="csv" if kind == "tsv" else kind,
        options={**options, **chosen.format.options},
        paths=paths,
        partitioned=levels,
    )


def levels_of(names: Sequence[str]) -> tuple[str, ...]:
    """The names of the k=v levels in the directories, which must be the same for all files."""
    first = tuple(hive_columns(names[0]))
    odd = next((name for name in names if tuple(hive_columns(name)) != first), None)
    if odd is None:
        return first
    raise ConfigurationError(
        f"the files of the table lie in different k=v directories: {names[0]!r} and {odd!r}",
        hint="Narrow input.uri or input.match to one of them.",
    )


def _kind(names: Sequence[str]) -> str:
    kinds = {format_of(name) or _suffix(name) for name in names}
    if len(kinds) != 1 or not kinds <= {*DIRECT_FORMATS, "orc"}:
        found = ", ".join(sorted(kinds)[:5])
        raise ConfigurationError(
            f"input.format: the format of the table cannot be told from its files' names (found: {found})",
            hint="Name it: input.format.type: csv, json, parquet or any that Spark knows; or narrow input.match.",
        )
    return str(kinds.pop())


def _suffix(name: str) -> str:
    stem = compression(name)[1].lower()
    return stem[stem.rfind(".") :] if "." in stem else "no suffix"


def _check_compressions(names: Sequence[str], kind: str) -> None:
    unread = tuple(suffix for suffix in COMPRESSIONS if suffix not in _UNPACKED)
    odd = next((name for name in names if name.lower().endswith(unread)), None)
    if odd is not None and kind != "parquet":
        raise ConfigurationError(
            f"Spark cannot unpack {odd!r}: of compressed text it reads .gz and .bz2",
            hint="Layout 'columns' goes through Spark: write the table as parquet, or compress it with gzip.",
        )


def _options(chosen: InputSettings, kind: str) -> dict[str, str]:
    form = chosen.format
    options = {"mode": "FAILFAST"}
    if kind == "parquet":
        # Else Spark takes the columns of one file, and silently ignores further columns of others.
        return {**options, "mergeSchema": "true"}
    if kind == "json":
        return {**options, "encoding": form.encoding}
    if len(form.null_values) != 1:
        raise ConfigurationError(
            f"input.format.null_values has {len(form.null_values)} texts, and Spark knows exactly one for 'missing'",
            hint="Layout 'columns' goes through Spark: write missing values in one way, or use parquet.",
        )
    if form.decimal != ".":
        raise ConfigurationError(
            f"input.format.decimal is {form.decimal!r}, and Spark reads numbers with a decimal point only",
            hint="Layout 'columns' goes through Spark: write the table as parquet, or with decimal points.",
        )
    delimiter = "\t" if kind == "tsv" and form.delimiter == "," else form.delimiter
    return {
        **options,
        "header": "true",
        "inferSchema": "false" if chosen.schema_ else "true",
        "enforceSchema": "false",
        "sep": delimiter,
        "quote": form.quote,
        "escape": form.quote,
        "encoding": form.encoding,
        "nullValue": form.null_values[0],
    }
