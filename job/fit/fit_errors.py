"""Errors and warnings of a fit as texts for a person. The text of an error holds none of the user's data."""

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
from job.reader.times import parse

_QUOTED = re.compile(r"'([^'\n]*)'|\"([^\"\n]*)\"")
_LENGTH = 300
_KINDS = (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()))
_TEXTUAL = {kind.id for kind in _KINDS}


@dataclass(frozen=True, kw_only=True)
class Words:
    """The texts of a table, which must not appear in a message. Only the text columns are kept in memory."""

    names: frozenset[str]
    """names of all columns; they may appear in a message"""
    texts: tuple[pa.ChunkedArray, ...]
    """the columns of texts"""
    textual: tuple[str, ...] = ()
    """names of the columns of texts"""

    @classmethod
    def of(cls, table: pa.Table) -> Words:
        """The texts of this table."""
        at = [n for n, kind in enumerate(table.schema.types) if kind.id in _TEXTUAL]
        names = table.column_names
        texts, textual = tuple(table.column(n) for n in at), tuple(names[n] for n in at)
        return cls(names=frozenset(names), texts=texts, textual=textual)

    def timed(self) -> list[str]:
        """The columns whose first few texts are ISO dates or times."""
        few = (column.drop_null()[:8] for column in self.texts)
        return [name for name, part in zip(self.textual, few, strict=True) if len(part) and parse(part) is not None]

    def hold(self, token: str) -> bool:
        """Whether a text of the data contains ``token``."""
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
        The exception that was raised.
    words
        The texts of the data, which the message must not hold.
    reason, what
        The reason of the new error, and a text to put before the exception's own text.
    names
        Names of the features, for a hint if a library refuses some of them without saying which.
    """
    text = describe(error, words)
    odd = [name for name in names if _ODD.search(name)] if re.search("(?i)feature.?names?", text) else []
    shown = ", ".join(map(repr, odd[:5])) + (" ..." if len(odd) > 5 else "")
    hint = f"Rename the columns with other characters than letters, digits and _: {shown}." if odd else ""
    if not hint and _ABOUT_TIMES.search(text) and (timed := words.timed()):
        form = ", ".join(f"{name}: iso" for name in timed[:3])
        hint = f"Dates and times of csv and json are text: input.times: {{{form}}} makes time stamps of them."
    return PartitionError(reason, f"{what}: {text}" if what else text, hint=hint)


_ODD = re.compile(r"\W")
_ABOUT_TIMES = re.compile(
    r"(?i)datetime|timedelta|timestamp|\bdt\b|invalid literal|could not convert|operand|not supported"
)
"""matches messages of exceptions that are raised if code gets texts instead of times"""


def describe(error: BaseException, words: Words) -> str:
    """A text such as ``ValueError: could not convert string to float: '...'``, without quoted texts of the data."""
    lines = str(error).strip().splitlines()
    first = lines[0] if lines else ""

    def masked(match: re.Match[str]) -> str:
        token = match[1] if match[1] is not None else match[2]
        return "'...'" if token and token not in words.names and words.hold(token) else match[0]

    text = _QUOTED.sub(masked, first)[:_LENGTH]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def caught(texts: list[str]) -> Iterator[None]:
    """Collect warnings of scikit-learn and of the user's code in ``texts``, each once, instead of the log."""

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
