"""A rule of the protocol, broken on purpose by replacing one function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Mutation:
    """A rule, how it is broken, and what finds that."""

    rule: str
    breaks: Callable[[Patch], None]
    plays: Callable[[Any], list[str]]
    """what is wrong after something was done in a place"""
    place: Callable[[Path, str], Any]
    """makes the place in an empty folder; the address of an S3 server, which not all need"""
