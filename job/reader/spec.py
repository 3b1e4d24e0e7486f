"""The settings of the reader as small plain data, which is sent to executors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa

from job.config.settings import InputSettings
from job.reader.schema import arrow_type

VERSION = 2
"""Version of the rules of reading, a part of the fingerprint. Raise it if equal bytes and settings give other tables.

Version 2: csv has the types of ``pandas.read_csv``, texts in JSON stay texts, decimals become the nearest floats, and
times are in nanoseconds.
"""


@dataclass(frozen=True, kw_only=True)
class ReadSpec:
    """How bytes become a table: the part of `InputSettings` that reading needs. Hashable and picklable."""

    type: str = "auto"
    """csv, tsv, json, parquet, arrow, or auto: by the object's name"""
    delimiter: str = ","
    """csv: the character between fields"""
    quote: str = '"'
    """csv: the quoting character"""
    encoding: str = "utf-8"
    """csv and json: the encoding of the text"""
    null_values: tuple[str, ...] = ("",)
    """csv: texts that mean 'missing'"""
    decimal: str = "."
    """csv: the decimal point"""
    max_bytes: int = 4_000_000_000
    """limit of the decompressed size of an object, in bytes"""
    max_ratio: float = 1000.0
    """limit of the decompressed size as a multiple of the stored size"""
    schema: tuple[tuple[str, str], ...] = ()
    """declared columns and the names of their types, as in the settings"""
    optional: tuple[str, ...] = ()
    """declared columns that a file may lack"""
    needed: tuple[str, ...] | None = None
    """the only columns to decode, None for all; headers are checked as a whole nevertheless"""
    texts: tuple[str, ...] = ()
    """csv: columns that stay texts even if all values look like numbers"""
    beside: tuple[str, ...] = ()
    """csv: columns whose texts are kept beside their values, under the name that `as_text` gives"""
    times: tuple[tuple[str, str], ...] = ()
    """columns whose texts are times, each with its format (``iso``, or one of strptime)"""
    order_by: tuple[str, ...] = ()
    """columns to sort the rows by"""
    hive: bool = False
    """whether directories (``name=value``) become columns"""
    unordered: bool = False
    """whether the order of a partition's rows has no meaning: Spark reads a table without ``order_by``"""

    @property
    def whole_schema(self) -> bool:
        """Whether a file must have exactly the declared columns. False if only optional columns are declared."""
        return any(name not in self.optional for name, _ in self.schema)

    @classmethod
    def from_settings(
        cls, settings: InputSettings, *, needed: tuple[str, ...] | None = None, texts: tuple[str, ...] = ()
    ) -> ReadSpec:
        """The reading part of the settings.

        Parameters
        ----------
        settings
            The ``input`` section.
        needed, texts
            The columns that the recipe needs, and those that it takes as texts; see the fields.

        Raises
        ------
        ConfigurationError
            ``input.schema`` names a type that does not exist.
        """
        form = settings.format
        spec = cls(
            type=form.type.lower(),
            delimiter=form.delimiter,
            quote=form.quote,
            encoding=form.encoding,
            null_values=tuple(form.null_values),
            decimal=form.decimal,
            max_bytes=form.max_bytes,
            max_ratio=form.max_ratio,
            schema=tuple(
                (name, each if isinstance(each, str) else each.type) for name, each in (settings.schema_ or {}).items()
            ),
            optional=settings.optional_columns(),
            needed=None if needed is None else tuple(dict.fromkeys((*needed, *settings.times, *settings.order_by))),
            texts=tuple(dict.fromkeys((*texts, *settings.times))),
            times=tuple(settings.times.items()),
            order_by=tuple(settings.order_by),
            hive=settings.layout == "hive",
            unordered=settings.layout == "columns" and settings.reader == "spark" and not settings.order_by,
        )
        declared_types(spec.schema)
        return spec


_AS_TEXT = "\x00text"


def as_text(name: str) -> str:
    """The name of the column with the texts of a csv column, as the file has them."""
    return f"{name}{_AS_TEXT}"


def is_text_of_another(name: str) -> bool:
    """Whether `as_text` has given this name."""
    return name.endswith(_AS_TEXT)


@lru_cache(maxsize=64)
def declared_types(schema: tuple[tuple[str, str], ...]) -> dict[str, pa.DataType]:
    """The declared columns with their Arrow types.

    Raises
    ------
    ConfigurationError
        ``input.schema`` names a type that does not exist.
    """
    return {column: arrow_type(column, name) for column, name in schema}
