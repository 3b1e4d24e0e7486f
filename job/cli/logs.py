"""The set-up of logging: text on a terminal, one JSON object on each line elsewhere; always on standard error.

Commands print their results on standard output. Events on the way are log records, with their data as ``extra``::

    log.info("trained %d of %d", done, planned, extra={"event": "progress", "run": run_id})

Text that looks like a credential is masked, and a JSON record is always one line. Callers must not put values of users'
data into a record.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import warnings
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from job.config.redaction import is_secret_name, redact

Format = Literal["auto", "text", "json"]

_QUIET = {
    "asyncio": logging.WARNING,
    "boto3": logging.WARNING,
    "botocore": logging.WARNING,
    "deltalake": logging.WARNING,
    "matplotlib": logging.WARNING,
    "obstore": logging.WARNING,
    "py4j": logging.ERROR,
    # On Ctrl-C the JVM ends first, and py4j reports each broken connection with a traceback.
    "py4j.clientserver": logging.CRITICAL,
    "py4j.java_gateway": logging.CRITICAL,
    "pyspark": logging.ERROR,
    "s3transfer": logging.WARNING,
    "urllib3": logging.WARNING,
    "werkzeug": logging.ERROR,
}
"""Libraries that log too much, each with the lowest level that is still logged."""
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
_BREAKS = re.compile(r"[\x7f-\x9f\u2028\u2029]")
_COLOURS = {"WARNING": "yellow", "ERROR": "bold red", "CRITICAL": "bold red"}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: ``ts, level, logger, message``, the extras, ``exception``."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        line |= {name: _clean(name, item) for name, item in extras(record).items() if name not in line}
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info))
        text = json.dumps(line, ensure_ascii=False, default=str)
        return _BREAKS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


class TextFormatter(logging.Formatter):
    """A record for a person: time, level, text."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text; it has several lines if its message or traceback has."""
        return f"{_clock(record)} {record.levelname:<7} {said(record)}"


def said(record: logging.LogRecord) -> str:
    """The message and traceback of a record. Credentials are masked, and control characters are escaped."""
    text = record.getMessage()
    if record.exc_info:
        text = f"{text}\n{logging.Formatter().formatException(record.exc_info)}"
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), redact(text))


def _clock(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created).strftime("%H:%M:%S")


class TerminalHandler(logging.Handler):
    """Prints records on a terminal: the time dim, and the level in colour unless it is INFO."""

    def __init__(self, out: TextIO) -> None:
        super().__init__()
        from rich.console import Console

        # Not the object sys.stderr itself: a progress bar replaces it, and records must be printed above the bar.
        self.console = Console(stderr=True) if out is sys.stderr else Console(file=out)

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record, unwrapped, so that paths and commands can be copied."""
        from rich.text import Text

        try:
            line = Text.assemble((f"{_clock(record)} ", "dim"))
            if record.levelno != logging.INFO:
                line.append(f"{record.levelname.lower()}: ", style=_COLOURS.get(record.levelname, "dim"))
            self.console.print(line.append(said(record)), soft_wrap=True, highlight=False)
        except OSError:
            self.handleError(record)


def extras(record: logging.LogRecord) -> dict[str, Any]:
    """The fields that were passed as ``extra``."""
    return {name: item for name, item in vars(record).items() if name not in _STANDARD}


def setup(log_format: Format = "auto", *, verbose: bool = False, stream: TextIO | None = None) -> None:
    """Send all log records to standard error; called once by each program, and harmless to call again.

    Parameters
    ----------
    log_format
        ``text``, ``json``, or ``auto``: text on a terminal, JSON lines elsewhere.
    verbose
        Whether to log debug records of manyfit, too; libraries stay quiet.
    stream
        A stream to write to instead of standard error.
    """
    out = stream or sys.stderr
    as_json = log_format == "json" or (log_format == "auto" and not out.isatty())
    root = logging.getLogger()
    for handler in list(root.handlers):
        if getattr(handler, "manyfit", False):
            root.removeHandler(handler)
    made = _handler(out, as_json)
    made.manyfit = True  # type: ignore[attr-defined]
    root.addHandler(made)
    root.setLevel(logging.WARNING)
    for name in ("job", "manyfit"):
        logging.getLogger(name).setLevel(logging.DEBUG if verbose else logging.INFO)
    for name, level in _QUIET.items():
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(True)
    warnings.filterwarnings("default", category=UserWarning, module=r"job(\.|$)")


def _handler(out: TextIO, as_json: bool) -> logging.Handler:
    if as_json or not out.isatty():
        handler: logging.Handler = logging.StreamHandler(out)
        handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
        return handler
    return TerminalHandler(out)


def _clean(name: str, item: Any) -> Any:
    if is_secret_name(name):
        return "***"
    if isinstance(item, str):
        return redact(item)
    if isinstance(item, dict):
        return {str(each): _clean(str(each), inner) for each, inner in item.items()}
    return [_clean("", each) for each in item] if isinstance(item, list | tuple | set) else item
