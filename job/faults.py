"""What a fit raised or warned of, as texts for a person; an error's text holds none of the user's data."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from job import frame
from job.errors import PartitionError
from job.fitted import MAX_WARNINGS

_QUOTED = re.compile(r"'([^'\n]*)'|\"([^\"\n]*)\"")
_LENGTH = 300


def fit_error(error: BaseException, table: pa.Table, *, reason: str = "fit_error", what: str = "") -> PartitionError:
    """A `PartitionError` with the exception's type and first line."""
    text = describe(error, table)
    return PartitionError(reason, f"{what}: {text}" if what else text)


def describe(error: BaseException, table: pa.Table) -> str:
    """``ValueError: could not convert string to float: '...'``: what is quoted and occurs in the data is left out."""
    lines = str(error).strip().splitlines()
    first = lines[0] if lines else ""
    masked = _QUOTED.sub(lambda match: _masked(match, table), first)[:_LENGTH]
    return f"{type(error).__name__}: {masked}" if masked else type(error).__name__


def _masked(match: re.Match[str], table: pa.Table) -> str:
    token = match[1] if match[1] is not None else match[2]
    if token in table.column_names or not _in_data(token, table):
        return match[0]
    return "'...'"


def _in_data(token: str, table: pa.Table) -> bool:
    if not token:
        return False
    for column in table.columns:
        if frame.is_textual(column.type):
            texts: Any = column.cast(pa.string()) if not pa.types.is_large_string(column.type) else column
            if pc.any(pc.match_substring(texts, token)).as_py():
                return True
    return False


@contextmanager
def caught(texts: list[str]) -> Iterator[None]:
    """Warnings of scikit-learn and of the user's code go to ``texts``, each once, not to the log."""

    def keep(message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, DeprecationWarning | PendingDeprecationWarning | ResourceWarning):
            return
        lines = str(message).strip().splitlines()
        text = f"{category.__name__}: {lines[0][:200] if lines else ''}"
        if text not in texts and len(texts) < MAX_WARNINGS:
            texts.append(text)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = keep
        yield
