"""The settings of the reader, as small plain data for the executors: how bytes become a table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa

from job.config.settings import InputSettings
from job.reader.schema import arrow_type

VERSION = 2
"""Of the rules of reading, a part of the fingerprint: raised when equal bytes and settings become another table.

2: csv has the types of ``pandas.read_csv``, texts of JSON stay texts, decimals are the nearest floats, and times are in
nanoseconds.
"""


@dataclass(frozen=True, kw_only=True)
class ReadSpec:
    """How bytes become a table: `InputSettings`' part of it, small, hashable and picklable."""

    type: str = "auto"
    """csv, tsv, json, parquet, arrow, or auto: by the object's name"""
    delimiter: str = ","
    """csv"""
    quote: str = '"'
    """csv"""
    encoding: str = "utf-8"
    """csv and json"""
    null_values: tuple[str, ...] = ("",)
    """csv: texts that mean 'missing'"""
    decimal: str = "."
    """csv"""
    max_bytes: int = 4_000_000_000
    """cap on what an object unpacks to"""
    max_ratio: float = 1000.0
    """the same, as a multiple of its size"""
    schema: tuple[tuple[str, str], ...] = ()
    """declared columns and their types, as written"""
    optional: tuple[str, ...] = ()
    """declared columns that a file may lack"""
    needed: tuple[str, ...] | None = None
    """decode only these columns where that saves work; all headers are checked as a whole nevertheless"""
    texts: tuple[str, ...] = ()
    """csv: columns that are texts even where all of them look like numbers"""
    times: tuple[tuple[str, str], ...] = ()
    """columns whose texts are times, and how they are written"""
    order_by: tuple[str, ...] = ()
    """columns that order the rows"""
    hive: bool = False
    """directories are columns"""
    unordered: bool = False
    """the rows of a partition come in no order of the user's"""

    @property
    def whole_schema(self) -> bool:
        """All columns are declared: a file must have these and no others. Optional ones may be declared alone."""
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
            What the recipe needs: see the fields.

        Raises
        ------
        ConfigurationError
            A type of the schema does not exist.
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


@lru_cache(maxsize=64)
def declared_types(schema: tuple[tuple[str, str], ...]) -> dict[str, pa.DataType]:
    """The declared columns with their Arrow types.

    Raises
    ------
    ConfigurationError
        A type does not exist.
    """
    return {column: arrow_type(column, name) for column, name in schema}
