"""Folders that are tables of a format with a log of its own: their files are not their rows. Pure.

A log (Delta, Iceberg, Hudi ...) says which files are live. The others still lie there: overwritten, deleted, or written
by a job that failed. A model that is fitted on the files as they lie is fitted on rows that nobody has any more.
"""

from __future__ import annotations

import re
from collections import defaultdict

import pyarrow as pa
import pyarrow.compute as pc

from job.errors import InputError

_AT = r"(?:^|.*/)"
_FORMATS = {
    "Delta": r"_delta_log/[^/]+",
    "Iceberg": r"metadata/[^/]*\.metadata\.json(?:\.gz)?",
    "Hudi": r"\.hoodie/.+",
    "Paimon": r"snapshot/snapshot-\d+",
    "Lance": r"_versions/[^/]+\.manifest",
    "Hive ACID": r"(?:base|delta|delete_delta)_\d{7}(?:_\d+)*(?:_v\d+)?/[^/]+",
    "Spark streaming": r"_spark_metadata/.+",
}
"""What lies in the folder of such a table and of no other, below the folder."""
_TRANSACTION = r"_(?:started|committed)_\d+"
"""Databricks: what a write left beside its files, named by the number of the write."""

_ANY = "(?s)^" + _AT + "(?:" + "|".join([*_FORMATS.values(), _TRANSACTION]) + ")$"
_EACH = {name: re.compile(f"({_AT}){form}", re.DOTALL) for name, form in _FORMATS.items()}
_WRITES = re.compile(f"({_AT})_(started|committed)_(\\d+)", re.DOTALL)


def tables(names: pa.ChunkedArray) -> dict[str, str]:
    """The folders that are tables, each with why: ``"Delta"``, or what the marks of several writes mean.

    Parameters
    ----------
    names
        All names of a listing, hidden ones too.

    Returns
    -------
    dict
        A folder's path with a slash at its end (empty for the listed folder itself) to the format's name.
    """
    marks = names.filter(pc.match_substring_regex(names, _ANY)).to_pylist()
    found: dict[str, str] = {}
    writes: dict[str, dict[str, set[str]]] = defaultdict(lambda: {"started": set(), "committed": set()})
    for mark in marks:
        for name, form in _EACH.items():
            if match := form.fullmatch(mark):
                found.setdefault(match[1], name)
        if match := _WRITES.fullmatch(mark):
            writes[match[1]][match[2]].add(match[3])
    for folder, seen in writes.items():
        # One write that was committed is all there is; of several, or of one that was not, some files may be dead.
        if len(seen["started"] | seen["committed"]) > 1 or not seen["committed"]:
            found.setdefault(folder, "Databricks")
    return found


def refuse(names: pa.ChunkedArray, chosen: pa.ChunkedArray, uri: str) -> None:
    """Raise `InputError` if one of the chosen names is a file of such a table.

    Parameters
    ----------
    names
        All names of a listing.
    chosen
        Those that would be read as they lie.
    uri
        Of the input, for the message.
    """
    for folder, name in sorted(tables(names).items()):
        if folder and not pc.any(pc.starts_with(chosen, folder)).as_py():
            continue
        where = f"{folder!r} in {uri}" if folder else uri
        what = {
            "Databricks": "holds files of several writes, or of one that was not committed",
            "Spark streaming": "is the output of a streaming job, which keeps a log of the files that count",
        }.get(name, f"is a table in the {name} format, which keeps a log of the files that count")
        ways = [f"read it as a table: input.layout: columns with input.format: {name.lower()} and input.key"]
        if name in ("Databricks", "Spark streaming", "Hive ACID"):
            ways = ["write the live rows to a folder of their own"]
        ways += ["leave it out with input.match", "take the files as they lie, dead ones too: input.table_files: read"]
        raise InputError(
            f"{where} {what}: other files in it may be dead",
            hint=f"Either {'; or '.join(ways)}.",
        )


def folder_marks(names: pa.ChunkedArray, sizes: pa.ChunkedArray) -> list[str]:
    """The names of empty objects that stand for a folder, since others lie below them: what Azure and others leave."""
    empty = set(names.filter(pc.equal(sizes, 0)).to_pylist())
    if not empty:
        return []
    above: set[str] = set()
    for name in pc.unique(pc.replace_substring_regex(names, r"(^|/)[^/]*$", "")).to_pylist():
        folder = name
        while folder and folder not in above:
            above.add(folder)
            folder = folder.rpartition("/")[0]
    return sorted(empty & above)
