"""Types of settings that Python does not have: sizes, durations, shares, URIs. Pure.

Each is an annotated type. Its JSON schema says which values are accepted.
"""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from job.config.redaction import uri_secret

_BYTES = {
    "": 1,
    "b": 1,
    "k": 1000,
    "kb": 1000,
    "m": 1000**2,
    "mb": 1000**2,
    "g": 1000**3,
    "gb": 1000**3,
    "t": 1000**4,
    "tb": 1000**4,
}
_BYTES |= {
    "ki": 1024,
    "kib": 1024,
    "mi": 1024**2,
    "mib": 1024**2,
    "gi": 1024**3,
    "gib": 1024**3,
    "ti": 1024**4,
    "tib": 1024**4,
}
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")
SPAN = re.compile(r"\s*([0-9]+)\s*(y|mo|w|d|h|min|s)\s*")
"""A span of the calendar: a number, and years, months, weeks, days, hours, minutes or seconds."""
_PERCENT = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*")

SCHEMES = {
    "s3": "s3",
    "s3a": "s3",
    "s3n": "s3",
    "gs": "gs",
    "az": "az",
    "azure": "az",
    "abfs": "abfs",
    "abfss": "abfss",
}
SCHEMES |= {"adl": "adl", "file": "file", "memory": "memory"}
"""Accepted URI schemes, each with the scheme that it is treated as."""


class Mistakes(ValueError):
    """Several mistakes of one section. Each is (name of the setting in the section, what is wrong)."""

    def __init__(self, *found: tuple[str, str]) -> None:
        super().__init__("; ".join(text for _, text in found))
        self.found = found


def parse_size(value: Any) -> Any:
    """Convert ``"2GB"``, ``"512MiB"`` or a number of bytes to bytes."""
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if isinstance(value, bool) or (isinstance(value, str) and (not match or match[2].lower() not in _BYTES)):
        raise ValueError("is not a size: write a number of bytes, or a text such as 512MB or 2GiB")
    return int(float(match[1]) * _BYTES[match[2].lower()]) if match else value


def parse_duration(value: Any) -> Any:
    """Convert ``"90s"``, ``"15m"``, ``"1h"`` or a number of seconds to seconds."""
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if isinstance(value, bool) or (isinstance(value, str) and (not match or match[2].lower() not in _SECONDS)):
        raise ValueError("is not a duration: write a number of seconds, or a text such as 90s, 15m or 1h")
    return float(match[1]) * _SECONDS[match[2].lower()] if match else value


def parse_share(value: Any) -> Any:
    """A number of partitions, or a percentage of them (kept as text: ``"5%"``)."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        return int(value)
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if match and float(match[1]) <= 100:
        return value
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("is neither a number of partitions nor a percentage such as 5%")
    return value


def parse_ratio(value: Any) -> Any:
    """Convert a fraction of 1, or a percentage such as ``"1%"``, to a fraction."""
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if match:
        value = float(match[1]) / 100
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ValueError("is neither a fraction from 0 to below 1 nor a percentage such as 1%")
    return float(value)


def parse_sample(value: Any) -> Any:
    """A fraction below 1, or a whole number of keys."""
    if isinstance(value, bool) or (isinstance(value, float) and value >= 1 and not value.is_integer()):
        raise ValueError("is neither a fraction below 1 nor a whole number of keys")
    return int(value) if isinstance(value, float) and value >= 1 else value


def parse_length(value: Any) -> Any:
    """A number of rows, or a span of the calendar (kept as text: ``"28d"``)."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        value = int(value)
    if isinstance(value, str):
        match = SPAN.fullmatch(value)
        if match and int(match[1]):
            return f"{int(match[1])}{match[2]}"
    elif isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise ValueError("is neither a number of rows nor a span of time: 28, or 28d, 4w, 3mo, 1y, 12h, 30min, 90s")


def parse_gap(value: Any) -> Any:
    """A length as in `parse_length`, or None for no gap: ``0``, ``"0d"``."""
    match = SPAN.fullmatch(value) if isinstance(value, str) else None
    nothing = value is None or (value == 0 and value is not False) or value == "0" or (match and not int(match[1]))
    return None if nothing else parse_length(value)


def parse_uri(value: str) -> str:
    """A URI of a store, its scheme checked and normalised: ``s3a://`` is ``s3://``. A path alone is a folder."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):(/*)", value)
    secret = uri_secret(value)
    if secret:
        raise ValueError(
            f"holds {secret}: credentials come from the environment, a profile or the machine, never from a URI"
        )
    if not value.strip() or value != value.strip():
        raise ValueError("is empty" if not value.strip() else "starts or ends with a space")
    if not match or not (match[2] or match[1].lower() in SCHEMES):
        return value
    scheme, rest = match[1].lower(), value[match.end() :]
    if scheme in ("http", "https"):
        raise ValueError(
            "is the address of a server: write s3://bucket/prefix/ here, and the address as storage.endpoint"
        )
    if scheme not in SCHEMES:
        near = difflib.get_close_matches(scheme, SCHEMES, n=1, cutoff=0.5)
        also = f"; did you mean {near[0]}://?" if near else ""
        raise ValueError(
            f"has the unknown scheme {scheme}://: known are s3://, gs://, az://, abfss://, file:// and a folder{also}"
        )
    if scheme == "file":
        if match[2] not in ("///", "/"):
            raise ValueError("is not a file URI: write file:///absolute/folder, or the folder without file://")
        return f"file:///{rest}"
    if match[2] != "//" or (scheme != "memory" and not rest.strip("/")):
        raise ValueError(f"has no bucket: write {scheme}://bucket/prefix/")
    return f"{SCHEMES[scheme]}://{rest}"


def parse_endpoint(value: str) -> str:
    """The address of a server, with its scheme and without a bucket or credentials."""
    if uri_secret(value):
        raise ValueError(
            "holds credentials: they come from the environment, a profile or the machine, never from an address"
        )
    if not re.fullmatch(r"(?i)https?://[^/?#\s]+(/[^?#\s]*)?", value):
        raise ValueError("is not an address: write http://host:port or https://host:port")
    return value.rstrip("/")


def parse_command(value: list[str]) -> list[str]:
    """A program and its arguments. Raises ValueError if there is no program."""
    if not value or not value[0].strip():
        raise ValueError("is no program with its arguments, such as [python, tell.py]")
    return value


def as_list(value: Any) -> Any:
    """A list with one text instead of the text; any other value unchanged."""
    return [value] if isinstance(value, str) else value


_Positive = Annotated[int, Field(gt=0)]
_Text = Annotated[str, Field(pattern=r"^\s*\d+(\.\d+)?\s*[A-Za-z]*\s*$")]

Size = Annotated[int, Field(gt=0), BeforeValidator(parse_size, json_schema_input_type=_Positive | _Text)]
Duration = Annotated[
    float, Field(gt=0), BeforeValidator(parse_duration, json_schema_input_type=Annotated[float, Field(gt=0)] | _Text)
]
Share = Annotated[
    int | str,
    BeforeValidator(
        parse_share,
        json_schema_input_type=Annotated[int, Field(ge=0)] | Annotated[str, Field(pattern=r"^\s*\d+(\.\d+)?\s*%?\s*$")],
    ),
]
Ratio = Annotated[
    float,
    BeforeValidator(
        parse_ratio,
        json_schema_input_type=Annotated[float, Field(ge=0, lt=1)]
        | Annotated[str, Field(pattern=r"^\s*\d+(\.\d+)?\s*%?\s*$")],
    ),
]
Length = Annotated[
    int | str,
    BeforeValidator(
        parse_length,
        json_schema_input_type=_Positive | Annotated[str, Field(pattern=r"^\s*\d+\s*(y|mo|w|d|h|min|s)?\s*$")],
    ),
]
Gap = Annotated[
    int | str | None,
    BeforeValidator(
        parse_gap,
        json_schema_input_type=Annotated[int, Field(ge=0)]
        | Annotated[str, Field(pattern=r"^\s*\d+\s*(y|mo|w|d|h|min|s)?\s*$")]
        | None,
    ),
]
Sample = Annotated[
    int | float, Field(gt=0), BeforeValidator(parse_sample, json_schema_input_type=Annotated[float, Field(gt=0)])
]
Command = Annotated[list[str], AfterValidator(parse_command)]
Strings = Annotated[list[str], BeforeValidator(as_list, json_schema_input_type=str | list[str])]
Uri = Annotated[str, AfterValidator(parse_uri)]
Endpoint = Annotated[str, AfterValidator(parse_endpoint)]
