"""What a fit raised or warned of, as texts for a person; an error's text holds none of the user's data."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from job.errors import PartitionError
from job.fit import frame
from job.fit.fitted import MAX_WARNINGS

_QUOTED = re.compile(r"'([^'\n]*)'|\"([^\"\n]*)\"")
_LENGTH = 300
_KINDS = (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()))
_TEXTUAL = {kind.id for kind in _KINDS}


@dataclass(frozen=True, kw_only=True)
class Words:
    """The texts of a table, which must not get into a message; the rest of the table may be forgotten."""

    names: frozenset[str]
    """of all columns: no secret"""
    texts: tuple[pa.ChunkedArray, ...]
    """the columns of texts"""

    @classmethod
    def of(cls, table: pa.Table) -> Words:
        """The texts of this table."""
        texts = tuple(table.column(n) for n, kind in enumerate(table.schema.types) if kind.id in _TEXTUAL)
        return cls(names=frozenset(table.column_names), texts=texts)

    def hold(self, token: str) -> bool:
        """Whether the data hold a text with this in it."""
        for column in self.texts:
            kind = column.type
            if frame.is_textual(kind):
                texts = column if pa.types.is_large_string(kind) else column.cast(pa.string())
                if pc.any(pc.match_substring(texts, token)).as_py():
                    return True
        return False


def fit_error(
    error: BaseException, words: Words, *, reason: str = "fit_error", what: str = "", names: Sequence[str] = ()
) -> PartitionError:
    """A `PartitionError` with the exception's type and first line.

    Parameters
    ----------
    error
        What was raised.
    words
        What the message must not hold.
    reason, what
        Of the error, and what stands before the exception's own text.
    names
        The features, of a library that may refuse their names without saying which.
    """
    text = describe(error, words)
    odd = [name for name in names if _ODD.search(name)] if re.search("(?i)feature.?names?", text) else []
    shown = ", ".join(map(repr, odd[:5])) + (" ..." if len(odd) > 5 else "")
    hint = f"Rename the columns with other characters than letters, digits and _: {shown}." if odd else ""
    return PartitionError(reason, f"{what}: {text}" if what else text, hint=hint)


_ODD = re.compile(r"\W")


def describe(error: BaseException, words: Words) -> str:
    """``ValueError: could not convert string to float: '...'``: what is quoted and occurs in the data is left out."""
    lines = str(error).strip().splitlines()
    first = lines[0] if lines else ""

    def masked(match: re.Match[str]) -> str:
        token = match[1] if match[1] is not None else match[2]
        return "'...'" if token and token not in words.names and words.hold(token) else match[0]

    text = _QUOTED.sub(masked, first)[:_LENGTH]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


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
