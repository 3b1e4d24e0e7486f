"""Mistakes in the settings, one line each: path, value, place, what is wrong, and what would be right. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from job.config.document import branches
from job.config.redaction import HIDDEN, is_secret_text, redact
from job.config.schema import choices, describe, job_schema, section
from job.config.settings import Section
from job.config.value_types import Mistakes

_LONGEST = 80


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One mistake, ready to print."""

    path: str
    """the setting, the variable, the argument or the file"""
    what: str
    """what is wrong with it and what would be right"""
    value: str | None = None
    """the value, as `show` returns it; None if there is none"""
    where: str = ""
    """file and line, environment or command line"""
    found_by: str = ""
    """pydantic's name of the kind of mistake, else empty"""

    def __str__(self) -> str:
        value = "" if self.value is None else f" = {self.value}"
        where = f" ({self.where})" if self.where else ""
        return f"{redact(self.path)}{value}{where}: {self.what}"


def show(value: Any) -> str | None:
    """A value as text for a message: short, on one line, never a credential. None for a mapping or no value."""
    if isinstance(value, dict) or value is None:
        return None
    text = repr(value) if isinstance(value, str) else str(value)
    if is_secret_text(text):
        return HIDDEN
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def nearest(name: str, known: Iterable[str], *, siblings: Iterable[str] = ()) -> str | None:
    """The path that is most likely meant by an unknown name; None if no path is similar.

    A sibling with a similar name comes first, then the same name in another section, then a path spelt similarly.

    Parameters
    ----------
    name
        A dotted path.
    known
        Paths of all settings.
    siblings
        Names of the settings in the section that ``name`` points into.
    """
    above, _, last = name.rpartition(".")
    plain = last.lower().replace("-", "_")
    beside = difflib.get_close_matches(plain, list(siblings), n=1, cutoff=0.6)
    if beside:
        return f"{above}.{beside[0]}" if above else beside[0]
    everywhere = [path for path in known if not name.startswith(f"{path}.")]
    same = [path for path in everywhere if path.rpartition(".")[2] == plain]
    if same:
        return min(same, key=len)
    alike = difflib.get_close_matches(name.lower().replace("-", "_"), everywhere, n=1, cutoff=0.7)
    if alike:
        return alike[0]
    ends = {path.rpartition(".")[2]: path for path in sorted(everywhere, key=len, reverse=True)}
    close = difflib.get_close_matches(plain, list(ends), n=1, cutoff=0.75)
    return ends[close[0]] if close else None


def from_validation(error: ValidationError, kind: type[Section]) -> Iterator[tuple[str, str, Any, str]]:
    """Mistakes found by pydantic: (path, what is wrong, value, pydantic's type). One for all branches of a union."""
    grouped: dict[str, list[Any]] = {}
    schemas: dict[str, dict[str, Any]] = {}
    for each in error.errors(include_url=False):
        path, schema = _path(each["loc"], kind)
        grouped.setdefault(path, []).append(each)
        schemas[path] = schema
    for path, found in grouped.items():
        if any(other.startswith(f"{path}[") for other in grouped):
            continue  # the mistake is in an item of the list, and is reported there
        first = found[0]
        inner = first.get("ctx", {}).get("error")
        if isinstance(inner, Mistakes):
            for name, what in inner.found:
                full = ".".join(filter(None, (path, name)))
                yield full, what, _below(first["input"], name), "inconsistent"
            continue
        given = next((each for each in found if each["type"] == "value_error"), first)
        yield path, _wording(schemas[path], given, len(found) > 1), given["input"], str(given["type"])


def _path(loc: tuple[int | str, ...], kind: type[Section]) -> tuple[str, dict[str, Any]]:
    """The path of a pydantic location, without the names of union branches, and the schema of this path."""
    schema: dict[str, Any] = job_schema(kind)
    path = ""
    for part in loc:
        inner = section(schema)
        free = next(
            (each["additionalProperties"] for each in branches(schema) if each.get("additionalProperties")), None
        )
        if isinstance(part, int):
            path += f"[{part}]"
            schema = next((each["items"] for each in branches(schema) if "items" in each), {})
        elif inner and part in inner["properties"]:
            path += f".{part}" if path else part
            schema = inner["properties"][part]
        elif isinstance(free, dict):
            path += f".{part}"
            schema = free
    return path, schema


def _below(value: Any, name: str) -> Any:
    for part in name.split(".") if name else ():
        value = value.get(part) if isinstance(value, dict) else getattr(value, part, None)
    return value if name else None


def _wording(schema: dict[str, Any], error: Any, union: bool) -> str:
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    if kind == "missing":
        return f"is required: {plain(schema.get('description', 'it has no default'))}"
    if kind == "value_error":
        return str(context.get("error", error["msg"]))
    if value is None:
        return "is empty"
    if choices(schema) and kind in ("literal_error", "enum"):
        near = difflib.get_close_matches(str(value).lower(), choices(schema), n=1, cutoff=0.5)
        also = f"; did you mean {near[0]}?" if near else ""
        return f"is not one of {', '.join(choices(schema))}{also}"
    if kind in _BOUNDS and not union:
        return f"must be {_BOUNDS[kind][0]} {context[_BOUNDS[kind][1]]:g}"
    if kind == "string_too_short" and not value:
        return "is empty"
    if kind in ("string_too_short", "string_too_long"):
        most = context.get("max_length")
        return "must be one character" if most == 1 else f"is longer than {most} characters"
    if kind == "string_pattern_mismatch":
        return "may hold letters, digits, '.', '_' and '-', at most 128 of them, and starts with a letter or digit"
    wanted = describe(schema)
    return "is neither true nor false" if wanted == "true or false" else f"is not {wanted}"


def plain(markup: str) -> str:
    """A description without its markup."""
    return markup.replace("``", "")


_BOUNDS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
