"""Turns Spark's errors about unreadable data into errors of ours, with a message of one line."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, unquote

from job.engine.spark.raised import in_one_line
from job.errors import ConfigurationError, InputError, ManyfitError
from job.plan.spark_read import TableRead


class readable:  # noqa: N801 - reads as a statement
    """Context that turns Spark's errors about unreadable data into errors of ours, without any value of the data."""

    def __init__(self, read: TableRead) -> None:
        self._read = read

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        # Errors of ours, and errors that a task raised in Python, are clear by themselves.
        if (
            not isinstance(error, Exception)
            or isinstance(error, ManyfitError)
            or type(error).__name__ == "PythonException"
        ):
            return
        text = _text(error)
        for pattern, cls, message, hint in _SAID:
            if re.search(pattern, text):
                where = _where(self._read, text)
                why = f": {in_one_line(text)}" if message.endswith(_FILES) else ""
                raise cls(message.format(where=where, format=self._read.format) + why, hint=hint) from None
        if _OF_DATA.search(text):
            raise InputError(
                f"Spark could not read {_where(self._read, text)}: {in_one_line(text)}",
                hint="Look at that file and that column; `--verbose` shows all that Spark said.",
            ) from None


_OF_DATA = re.compile(r"\[(?!INTERNAL_ERROR|TASK_|JOB_)[A-Z][A-Z0-9_]+(?:\.[A-Z0-9_]+)*\] ")
"""Matches an error of Spark with a name, unless it is about Spark's own work: then it is about the data."""


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except (OSError, AssertionError):  # str() asks the JVM for the text, and the JVM has ended
        return ""


def _where(read: TableRead, text: str) -> str:
    """The file that a message of Spark names, else the root. Spark quotes some paths as URIs and others not."""
    path = read.root.partition(":")[2]
    found = re.search(rf"(?:{re.escape(path)}|{re.escape(quote(path))})/[^\s,\]]+", text)
    return unquote(found[0].rstrip(".:;'\"")) if found else read.root


_FILES = ": it is damaged, or its columns differ from those of the other files"

_SAID: tuple[tuple[str, type[ConfigurationError | InputError], str, str], ...] = (
    (
        r"DATA_SOURCE_NOT_FOUND|INCOMPATIBLE_DATASOURCE",
        ConfigurationError,
        "input.format.type: Spark knows no format {format!r}",
        "Check the name; formats outside Spark need their package: spark.conf: {spark.jars.packages: ...}.",
    ),
    (
        r"MALFORMED_RECORD_IN_PARSING|MALFORMED_CSV_RECORD|MALFORMED_JSON",
        InputError,
        "the table has a row that is damaged or has another number of fields than the header: {where}",
        "Check input.format (delimiter, quote); quoted line breaks need input.format.options: {multiLine: 'true'}.",
    ),
    (
        r"CSV header does not conform|csvHeaderDoesNotConform",
        InputError,
        "the header of {where} is not that of input.schema, or of the table's other files",
        "All files must have the same columns in the same order; declare them in that order.",
    ),
    (
        r"AccessDenied|AccessControlException|status code: 403|Status Code: 403|NoAuthWithAWS|CredentialInitialization",
        InputError,
        "Spark may not read {where}",
        "Check the credentials: Spark finds them by itself, in the environment, the profile or the machine's role.",
    ),
    (
        r"Class org\.apache\.hadoop\.fs\.s3a\.S3AFileSystem not found|No FileSystem for scheme"
        # hadoop-aws is there, but a module that it needs is missing
        r"|NoClassDefFoundError: software/amazon/",
        ConfigurationError,
        "Spark has no file system for {where}",
        "See 'Spark on S3' in docs/explanation/readers.md, or use input.reader: direct.",
    ),
    (
        r"PARQUET_TYPE_ILLEGAL.*NANOS",
        InputError,
        "Spark cannot read {where}: it has time stamps in nanoseconds, as pandas writes them",
        "Set spark.conf: {spark.sql.legacy.parquet.nanosAsLong: 'true'}, or write them in microseconds "
        "(DataFrame.to_parquet(coerce_timestamps='us')).",
    ),
    (
        r"UNABLE_TO_INFER_SCHEMA|PATH_NOT_FOUND",
        InputError,
        "Spark found no data in {where}",
        "Check input.uri and input.match.",
    ),
    (
        r"FAILED_READ_FILE|FAILED_MERGE_SCHEMA|CANNOT_MERGE_SCHEMAS|CANNOT_READ_FILE_FOOTER|is not a Parquet file",
        InputError,
        "Spark could not read {where}" + _FILES,
        "Look at that file: write it anew, or give the column one type in all files.",
    ),
    (
        r"Conflicting (directory structures|partition column names)",
        InputError,
        "some files of the table lie in k=v directories and others do not, below {where}",
        "Narrow input.uri or input.match to one of the kinds.",
    ),
)
