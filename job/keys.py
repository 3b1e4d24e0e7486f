"""A partition: its key, its objects, and the path of its model.

A partition has an explicit key of the plan; it is never Spark's partition number. Keys are exact text. Pure.
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
    """One object of a listing."""

    name: str
    """exact path below the store's URI"""
    size: int
    """size in bytes"""
    etag: str | None
    """the token for If-Match; for a file in a folder it is made from time and size"""
    modified: float
    """time of the last change in seconds since the epoch, by the store's clock"""


def suffix(suffixes: Iterable[str], end: str = "$") -> str:
    """A regular expression (for RE2) for one of the suffixes at the end, after at least one character of a name.

    Each letter is given in both cases, because RE2 and Python do not ignore case alike beyond ASCII. For Python, pass
    another ``end``, because its ``$`` also matches before a final newline.
    """

    def both(text: str) -> str:
        return "".join(f"[{char}{char.upper()}]" if char.isalpha() else re.escape(char) for char in text)

    return r"(?s)([^/])(?:" + "|".join(both(each) for each in suffixes) + r")" + end


def hive_columns(name: str) -> dict[str, str | None]:
    """The ``k=v`` levels of an object's directories. Values are unquoted once.

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
    """Make the key, such as ``store=1/item=2``, from the named columns. Values are quoted as in `key_of_columns`.

    Raises
    ------
    KeyError
        A named level is not in the path.
    """
    return key_of_columns({name: columns[name] for name in keys})


def key_of_columns(values: Mapping[str, str | None]) -> str:
    """Make the key from the values of key columns, for the layouts ``hive`` and ``columns``.

    Only characters that would change the structure of the key are quoted: ``%``, ``/``, ``=`` and control characters.
    """
    return "/".join(
        f"{quoted_value(name)}={HIVE_NULL if value is None else quoted_value(value)}" for name, value in values.items()
    )


def quoted_value(text: str) -> str:
    """Quote a name or value for a key."""
    return _STRUCTURE.sub(lambda match: quote(match[0], safe=""), text)


def key_path(key: str) -> str:
    """The folder of a key's models. Each segment is the text of the key if that is safe in a path, else ``~<sha256>``.

    Different keys have different folders: a readable segment never starts with ``~``, and a hash is that of the exact
    text.
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
    """The path of a model file below the output. It is computed from key and digest, and never read from the output."""
    return f"models/{key_path(key)}/{digest}.joblib"
