"""What one object's name means: the rules of selection, written for one name at a time."""

from __future__ import annotations

import re

from job import formats
from job.keys import suffix

_COMPRESSION = re.compile(suffix(formats.COMPRESSIONS, r"\Z"))
_FORMAT = re.compile(suffix(formats.SUFFIXES, r"\Z"))


def is_hidden(name: str) -> bool:
    """Directory markers (EMR's, too), ``_SUCCESS`` and its kin, and hidden files: ignored, and counted.

    A segment that starts with ``_`` but holds ``=`` is a hive level of a column so named, and data.
    """
    if name.endswith(("/", "_$folder$")) or not name:
        return True
    return any(part.startswith(".") or (part.startswith("_") and "=" not in part) for part in name.split("/") if part)


def object_key(name: str) -> str:
    """The key of an object: its path less one known compression suffix and then one known format suffix.

    >>> object_key("Congo, Dem. Rep..csv.gz")
    'Congo, Dem. Rep.'
    """
    return _FORMAT.sub(r"\1", _COMPRESSION.sub(r"\1", name))
