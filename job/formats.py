"""File formats and compressions: names, suffixes, and their readers. One table; a new format begins here. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Format:
    """A file format."""

    name: str
    """as in ``input.format.type``"""
    suffixes: tuple[str, ...]
    """of file names, in lower case"""
    aliases: tuple[str, ...] = ()
    """other names that ``input.format.type`` takes for it"""
    direct: bool = True
    """``job.reader`` reads it; else only Spark does"""


FORMATS = (
    Format(name="csv", suffixes=(".csv", ".txt")),
    Format(name="tsv", suffixes=(".tsv",)),
    Format(name="json", suffixes=(".jsonl", ".ndjson", ".json"), aliases=("jsonl", "ndjson")),
    Format(name="parquet", suffixes=(".parquet", ".pq"), aliases=("pq",)),
    Format(name="arrow", suffixes=(".arrow", ".feather", ".ipc"), aliases=("feather", "ipc")),
    Format(name="orc", suffixes=(".orc",), direct=False),
    Format(name="avro", suffixes=(".avro",), direct=False),
)
"""Every format that a file name can promise."""

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
"""The compression that a suffix promises."""

SUFFIXES = {suffix: each.name for each in FORMATS for suffix in each.suffixes}
"""The format that a suffix promises."""
DIRECT = tuple(each.name for each in FORMATS if each.direct)
"""Names of the formats that ``job.reader`` reads."""
ALIASES = {alias: each.name for each in FORMATS for alias in each.aliases}
"""Other names of formats."""


def compression(name: str) -> tuple[str | None, str]:
    """The compression that a file name promises, and the name without its suffix.

    >>> compression("sales.csv.gz")
    ('gzip', 'sales.csv')
    """
    lower = name.lower()
    for suffix, codec in COMPRESSIONS.items():
        if lower.endswith(suffix):
            return codec, name[: -len(suffix)]
    return None, name


def format_of(name: str) -> str | None:
    """The format that a file name promises, its compression aside; None where the suffix is unknown.

    >>> format_of("sales.CSV.gz")
    'csv'
    """
    stem = compression(name)[1].lower()
    return next((kind for suffix, kind in SUFFIXES.items() if stem.endswith(suffix)), None)
