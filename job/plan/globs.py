"""Globs on paths and keys: ``*`` and ``?`` stay within a segment, only ``**`` crosses ``/``. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable


def pattern(globs: Iterable[str]) -> str:
    """Make one regular expression, for RE2 and Python, that matches a whole path if any of the globs does.

    >>> import re; bool(re.fullmatch(pattern(["*.csv"]), "a/b.csv"))
    False
    """
    return "(?s:" + "|".join(_translate(each) for each in globs) + ")"


def _translate(glob: str) -> str:
    out, at = [], 0
    while at < len(glob):
        char = glob[at]
        if glob.startswith("**/", at):
            out.append("(?:.*/)?")
            at += 3
            continue
        if glob.startswith("**", at):
            out.append(".*")
            at += 2
            continue
        if char == "*":
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "[" and (end := glob.find("]", at + 2)) > 0:
            out.append(_characters(glob[at + 1 : end]))
            at = end
        else:
            out.append(re.escape(char))
        at += 1
    return "".join(out)


def _characters(inside: str) -> str:
    """A character class, which never matches a slash: only ``**`` does."""
    negated = inside.startswith("!")
    spans, rest = [], inside[negated:]
    while rest:
        if len(rest) > 2 and rest[1] == "-":
            spans.append((ord(rest[0]), ord(rest[2])))
            rest = rest[3:]
        else:
            spans.append((ord(rest[0]), ord(rest[0])))
            rest = rest[1:]
    if negated:
        spans.append((ord("/"), ord("/")))
    else:
        slash = ord("/")
        parts = [((low, min(high, slash - 1)), (max(low, slash + 1), high)) for low, high in spans]
        spans = [span for pair in parts for span in pair]
    told = [(re.escape(chr(low)), re.escape(chr(high))) for low, high in spans if low <= high]
    if not told:
        return r"[^\s\S]"
    return "[" + "^" * negated + "".join(low if low == high else f"{low}-{high}" for low, high in told) + "]"
