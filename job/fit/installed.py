"""The versions of installed distributions."""

from __future__ import annotations

import functools
import importlib.metadata


@functools.cache
def version(name: str) -> str:
    """A distribution's version; read once, as its metadata is parsed whole for it, which takes a millisecond."""
    return importlib.metadata.version(name)
