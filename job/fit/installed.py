"""The versions of installed distributions."""

from __future__ import annotations

import functools
import importlib.metadata


@functools.cache
def version(name: str) -> str:
    """The version of a distribution. Cached, because parsing the metadata takes a millisecond."""
    return importlib.metadata.version(name)
