"""Globs on paths and keys: ``*`` and ``?`` stay within a segment, only ``**`` crosses ``/``. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable


def pattern(globs: Iterable[str]) -> str:
    """One regular expression (RE2 and Python alike) that matches a whole path if any glob does.

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
            inside = glob[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            out.append("[" + ("^" + inside[1:] if inside.startswith("!") else inside) + "]")
            at = end
        else:
            out.append(re.escape(char))
        at += 1
    return "".join(out)
