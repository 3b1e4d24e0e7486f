"""A partition: its key, its objects, and the path of its model.

A partition is an explicit key that *we* plan, never Spark's partition number. Pure: paths and keys in, paths and keys
out. Keys are exact text and round-trip through the path.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"

_MAX_SEGMENT = 200
_STRUCTURE = re.compile(r"[%/=\x00-\x1f\x7f]")
_UNSAFE = re.compile(r"[^A-Za-z0-9 ._=,+@()-]")


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectInfo:
    """One object as it was listed."""

    name: str
    """path below the store's URI, exact"""
    size: int
    """bytes"""
    etag: str | None
    """the token for If-Match; in a folder made from time and size"""
    modified: float
    """seconds since the epoch, by the store's clock"""


def suffix(suffixes: Iterable[str], end: str = "$") -> str:
    """One expression (for RE2) for a known suffix at the end, after at least one character of a name.

    Spelt out in both cases, and Python is given its own ``end``: the two engines do not fold the same letters beyond
    ASCII, and Python's ``$`` lets a newline follow.
    """

    def both(text: str) -> str:
        return "".join(f"[{char}{char.upper()}]" if char.isalpha() else re.escape(char) for char in text)

    return r"(?s)([^/])(?:" + "|".join(both(each) for each in suffixes) + r")" + end


def hive_columns(name: str) -> dict[str, str | None]:
    """The ``k=v`` levels of an object's directories, values unquoted once.

    >>> hive_columns("store=1/item=a%2Fb/part-0.parquet")
    {'store': '1', 'item': 'a/b'}
    """
    columns: dict[str, str | None] = {}
    for part in name.split("/")[:-1]:
        column, equals, value = part.partition("=")
        if equals and column:
            columns[unquote(column)] = None if value == HIVE_NULL else unquote(value)
    return columns


def hive_key(columns: Mapping[str, str | None], keys: Sequence[str]) -> str:
    """``store=1/item=2`` from the named columns, values quoted as hive does it.

    Raises
    ------
    KeyError
        A named level is not in the path.
    """
    return key_of_columns({name: columns[name] for name in keys})


def key_of_columns(values: Mapping[str, str | None]) -> str:
    """The key of a combination of key columns, for ``hive`` and ``columns`` alike.

    Only what would change the key's structure is quoted: ``%``, ``/``, ``=`` and control characters.
    """
    return "/".join(
        f"{quoted_value(name)}={HIVE_NULL if value is None else quoted_value(value)}" for name, value in values.items()
    )


def quoted_value(text: str) -> str:
    """A name or value as it stands in a key."""
    return _STRUCTURE.sub(lambda match: quote(match[0], safe=""), text)


def key_path(key: str) -> str:
    """The folder of a key's models: readable where that is safe, else ``~<sha256>``, segment by segment.

    Injective: a readable segment never starts with ``~``, and a hashed one is the digest of the exact text.
    """
    return "/".join(_segment(part) for part in key.split("/"))


def _segment(part: str) -> str:
    raw = part.encode("utf-8", "surrogatepass")
    if (
        not part
        or part.startswith((".", "~", " "))
        or part.endswith((" ", "."))
        or len(raw) > _MAX_SEGMENT
        or _UNSAFE.search(part)
    ):
        return "~" + hashlib.sha256(raw).hexdigest()
    return part


def model_name(key: str, digest: str) -> str:
    """The path of a model file below the output. It is computed from key and digest, and never read from anywhere."""
    return f"models/{key_path(key)}/{digest}.joblib"
