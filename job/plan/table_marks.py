"""Finds folders that are tables of a format with a log, because not all of their files are live. Pure.

A log (Delta, Iceberg, Hudi ...) says which files are live. The folder also holds other files: overwritten, deleted, or
written by a job that failed. A model that is fitted on all files is fitted on rows that the table does not have.
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
"""For each format an expression for names below the folder that only a table of this format has."""
_TRANSACTION = r"_(?:started|committed)_\d+"
"""Databricks: the marks of a write, which are named by the number of the write."""

_ANY = "(?s)^" + _AT + "(?:" + "|".join([*_FORMATS.values(), _TRANSACTION]) + ")$"
_EACH = {name: re.compile(f"({_AT}){form}", re.DOTALL) for name, form in _FORMATS.items()}
_WRITES = re.compile(f"({_AT})_(started|committed)_(\\d+)", re.DOTALL)


def tables(names: pa.ChunkedArray) -> dict[str, str]:
    """Find the folders that are tables with a log, and the format of each.

    Parameters
    ----------
    names
        All names of a listing, also hidden ones.

    Returns
    -------
    dict
        The format's name for each folder. Paths of folders end with a slash; the listed folder itself is "".
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
        # After a single committed write all files are live; after others some may be dead.
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
        The names of the files that would be read.
    uri
        The URI of the input, for the message.
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
    """The names of empty objects that stand for a folder, such as Azure makes them: other objects are below them."""
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
