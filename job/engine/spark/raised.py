"""Turns errors of Spark and Java into errors of ours, on the driver.

Of an error that a task has raised in Python, Spark returns only the text. Errors of Java, and of the start of Spark,
become one line.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from job import errors
from job.errors import ManyfitError, PartitionError
from job.store import proxy

log = logging.getLogger(__name__)

_RAISED = re.compile(r"^job\.errors\.(\w+): (.*)(?:\n  (\S.*))?$", re.MULTILINE)


def translated(error: BaseException) -> BaseException:
    """The error of `job.errors` that the task raised, with its hint; else the given error, unchanged."""
    found = _RAISED.findall(str(error))
    if found:
        name, message, hint = found[-1]
        cls = getattr(errors, name, None)
        if isinstance(cls, type) and issubclass(cls, ManyfitError) and not issubclass(cls, PartitionError):
            return cls(message, hint=hint.rstrip())
    return error


def lasting(error: BaseException) -> BaseException:
    """An error of Java as one that holds its text: py4j and pyspark ask the JVM for it, which may end before that."""
    if type(error).__module__.partition(".")[0] not in ("py4j", "pyspark"):
        return error
    from py4j.protocol import Py4JError

    try:
        text = str(error)
    except (Py4JError, OSError, AssertionError):  # the JVM has ended before it could be asked
        text = "its text is lost, because the JVM has ended"
    log.debug("%s: %s", type(error).__name__, text)
    told = errors.SetupError(
        f"Spark ended the job: {in_one_line(text) or type(error).__name__}",
        hint="`--verbose` shows all that it said. Run again: finished partitions are taken over.",
    )
    return told.with_traceback(error.__traceback__)


def in_one_line(text: str) -> str:
    """The message of a Spark or Java error in one line, without its stack and without values of the user's data.

    For an error with a name (``[PARQUET_TYPE_ILLEGAL]``) it is the sentence after the name, else the innermost cause.
    """
    named = _NAMED.search(text)
    causes = _CAUSE.findall(text)
    if named:
        line = named[0]
    elif causes:
        line = _CLASS.sub("", causes[-1])
    else:
        lines = [each.strip() for each in text.splitlines() if each.strip()]
        line = next((each for each in lines if not each.startswith(("at ", "An error occurred while calling"))), "")
    line = _STATE.sub("", line).strip()
    # Spark writes names in `...`, types in "...", and values of the data in '...'.
    line = re.sub(r"'[^']*'", "'...'", line)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


_LONGEST = 400
_NAMED = re.compile(r"\[[A-Z][A-Z0-9_]+(?:\.[A-Z0-9_]+)*\] \S[^\n]*")
_CLASS = re.compile(r"^(?:[a-z]\w*\.)+")
_STATE = re.compile(r" SQLSTATE: \w+.*$")
_CAUSE = re.compile(r"^(?:Caused by)?: (\S.*)$", re.MULTILINE)
_JARS = re.compile(r"org\.apache\.hadoop\.fs\.s3a\.\S+ not found|No FileSystem for scheme \"?s3a")


_NETWORK = re.compile(r"(NoRouteToHost|Connect|UnknownHost|Socket)\w*Exception|[Pp]roxy|Failed to connect")
_API_SERVER = "https://kubernetes.default.svc"


def not_started(error: BaseException, environ: Mapping[str, str] | None = None) -> errors.SetupError:
    """The error that says why Spark did not start: one line with Java's innermost cause, and a hint.

    Parameters
    ----------
    error
        The exception that pyspark raised.
    environ
        Environment variables, which may name a proxy; default: those of this process.
    """
    text = str(error).strip()
    causes = _CAUSE.findall(text)
    line = causes[-1] if causes else text.partition("\n")[0] or type(error).__name__
    if _JARS.search(line):
        hint = (
            "Use the image whose tag ends with -s3a: the others have no Java modules for s3a:// "
            "(docs/explanation/readers.md)."
        )
    elif "stopped while waiting for backend" in line:
        hint = (
            "Executors were refused (quota, admission) or ended at their start, more often than "
            "spark.executor.maxNumFailures allows: look at the lines above, and at kubectl get events."
        )
    elif _NETWORK.search(line) and (through := proxy.used_for(_API_SERVER, environ)):
        hint = (
            f"Java's Kubernetes client goes through the proxy of {through}: except the API server and the cluster's "
            "own names by NO_PROXY (in the chart the value proxy does so)."
        )
    else:
        hint = "Look at spark.master and spark.conf, and at the lines above."
    return errors.SetupError(f"Spark did not start: {line.strip()}", hint=hint)
