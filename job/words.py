"""Formats numbers and texts for a person: counts with a noun, rates, sizes, times, invisible characters; and the words
for messages about a run, which differ between training and scoring. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
"""Control characters, marks that change the direction of text, and characters that XML does not allow."""


def legible(text: str) -> str:
    """A text of the user, with invisible characters as escapes: ``a\\x07b``, ``a\\nb``."""
    return text if text.isprintable() else _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def pace(rate: float) -> str:
    """Format a rate. Slow rates have a digit after the point, because 0/s would mean that nothing happens."""
    return f"{rate:,.0f}" if rate >= 9.5 else f"{rate:.2g}"


def counted(number: int, noun: str) -> str:
    """Format a count with its noun: ``1 row``, ``2,000 rows``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(number: float) -> str:
    """Format a number of bytes."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(number) < 1000 or unit == "TB":
            return f"{number:,.0f} {unit}" if unit == "B" else f"{number:,.1f} {unit}"
        number /= 1000
    raise AssertionError


def clock(seconds: float | None) -> str:
    """Format a duration: ``1h 02m``, ``3m 05s``, ``12s``; an en dash if it is unknown."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 60}m {whole % 60:02d}s" if whole >= 60 else f"{whole}s"


def first_line(said: BaseException | str) -> str:
    """The first line of a text, or of an error's message, cut after 300 characters; without one, the error's class."""
    return str(said).splitlines()[0][:300] if str(said) else type(said).__name__


@dataclass(frozen=True, kw_only=True)
class Wording:
    """The words for one kind of run; the examples are those of a training."""

    verb: str
    """the verb: train"""
    going: str
    """its present participle: training"""
    done: str
    """the status of a key for which the run succeeded: trained"""
    things: str
    """what the rate counts: models"""
    result: str
    """what a key has afterwards, without an article: model"""
    piece: str
    """the work on one key, as a noun that is counted: fit"""
    effort: str
    """the work on all keys: fits"""
    files: str
    """the files that a release names: models"""
    removal: str
    """the command that takes keys out: retire"""

    def phase(self, name: str) -> str:
        """The name of a phase for a reader. Inside, that of the work is ``train`` for every kind of run."""
        return self.verb if name == "train" else name


TRAINING = Wording(
    verb="train",
    going="training",
    done="trained",
    things="models",
    result="model",
    piece="fit",
    effort="fits",
    files="models",
    removal="retire",
)
SCORING = Wording(
    verb="score",
    going="scoring",
    done="scored",
    things="keys",
    result="predictions",
    piece="key",
    effort="scoring",
    files="predictions",
    removal="forget",
)


def wording(kind: str) -> Wording:
    """The words of a run by its ``kind``, ``train`` or ``score``."""
    return SCORING if kind == SCORING.verb else TRAINING
