"""The table of file formats and compressions: names, suffixes and readers. A new format is added here first. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Format:
    """A file format."""

    name: str
    """name of the format in ``input.format.type``"""
    suffixes: tuple[str, ...]
    """suffixes of file names, in lower case"""
    aliases: tuple[str, ...] = ()
    """other names that ``input.format.type`` accepts for it"""
    direct: bool = True
    """whether ``job.reader`` reads it; False: only Spark does"""


FORMATS = (
    Format(name="csv", suffixes=(".csv", ".txt")),
    Format(name="tsv", suffixes=(".tsv",)),
    Format(name="json", suffixes=(".jsonl", ".ndjson", ".json"), aliases=("jsonl", "ndjson")),
    Format(name="parquet", suffixes=(".parquet", ".pq"), aliases=("pq",)),
    Format(name="arrow", suffixes=(".arrow", ".feather", ".ipc"), aliases=("feather", "ipc")),
    Format(name="orc", suffixes=(".orc",), direct=False),
    Format(name="avro", suffixes=(".avro",), direct=False),
)
"""All formats that a suffix can name."""

COMPRESSIONS = {
    ".gz": "gzip",
    ".gzip": "gzip",
    ".zst": "zstd",
    ".zstd": "zstd",
    ".bz2": "bz2",
    ".lz4": "lz4",
    ".xz": "xz",
    ".snappy": "snappy",
}
"""The compression for each suffix."""

SUFFIXES = {suffix: each.name for each in FORMATS for suffix in each.suffixes}
"""The format for each suffix."""
DIRECT = tuple(each.name for each in FORMATS if each.direct)
"""Names of the formats that ``job.reader`` reads."""
ALIASES = {alias: each.name for each in FORMATS for alias in each.aliases}
"""The format for each alias."""


def compression(name: str) -> tuple[str | None, str]:
    """The compression that the suffix of a file name indicates (None if none), and the name without this suffix.

    >>> compression("sales.csv.gz")
    ('gzip', 'sales.csv')
    """
    lower = name.lower()
    for suffix, codec in COMPRESSIONS.items():
        if lower.endswith(suffix):
            return codec, name[: -len(suffix)]
    return None, name


def format_of(name: str) -> str | None:
    """The format that the suffix of a file name indicates, without that of a compression; None if it is unknown.

    >>> format_of("sales.CSV.gz")
    'csv'
    """
    stem = compression(name)[1].lower()
    return next((kind for suffix, kind in SUFFIXES.items() if stem.endswith(suffix)), None)
