"""Numbers and texts as a person reads them: counts with their noun, rates, sizes, times, what cannot be seen. Pure."""

from __future__ import annotations

import re

_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
"""Control characters, marks that turn the direction of what follows, and what no XML can hold."""


def legible(text: str) -> str:
    """A text of the user's with what cannot be seen as escapes: ``a\\x07b``, ``a\\nb``."""
    return text if text.isprintable() else _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def pace(rate: float) -> str:
    """A rate for a person: slow ones with a digit after the point, for 0/s would say that nothing moves."""
    return f"{rate:,.0f}" if rate >= 9.5 else f"{rate:.2g}"


def counted(number: int, noun: str) -> str:
    """``1 row``, ``2,000 rows``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(number: float) -> str:
    """Bytes for a person."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(number) < 1000 or unit == "TB":
            return f"{number:,.0f} {unit}" if unit == "B" else f"{number:,.1f} {unit}"
        number /= 1000
    raise AssertionError


def clock(seconds: float | None) -> str:
    """``1h 02m``, ``3m 05s``, ``12s``; an en dash where it is not known."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 60}m {whole % 60:02d}s" if whole >= 60 else f"{whole}s"


def first_line(said: BaseException | str) -> str:
    """The first line of a text or of an error's, cut after 300 characters; the error's class where it has none."""
    return str(said).splitlines()[0][:300] if str(said) else type(said).__name__
