"""A table, seen from the driver: its files, its state, and the keys it holds.

Spark counts the keys of a table once for each state of the table, and the counts are stored below ``keys/``. A state is
the digest of the listing and of the settings that decide how the table is read. Nothing here imports Spark.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job.arrow import decode, encode
from job.config.score_settings import Settings
from job.config.settings import DIRECT_FORMATS, InputSettings
from job.errors import InputError, NotFoundError
from job.plan.fingerprint import data_fingerprint, digest
from job.plan.selection import Selected, choose, matching
from job.store import Store
from job.words import counted

COUNTS = pa.schema([("key", pa.string()), ("rows", pa.int64())])
"""Schema of the numbers of rows of each key, sorted by key."""


def files(listing: pa.Table, settings: InputSettings) -> tuple[pa.Table, int, int]:
    """The table's files, sorted by name, and the numbers of ignored and of unmatched objects.

    Files of 0 bytes have no rows, whatever their format is; they are ignored, as Spark does it. A format with a log
    (Delta) keeps the log in hidden files, and the log says which files have rows; for such a format no object is
    ignored.

    Raises
    ------
    InputError
        There is no file, or all files have 0 bytes.
    """
    foreign = settings.format.type not in DIRECT_FORMATS
    matched, ignored, unmatched = matching(listing, settings, hidden=foreign)
    if not foreign:
        every, matched = matched, matched.filter(pc.greater(matched["size"], 0))
        ignored += every.num_rows - matched.num_rows
        if not matched.num_rows:
            raise InputError(
                f"the table {settings.uri} has no row: its {counted(every.num_rows, 'file')} have 0 bytes",
                hint="Check input.uri and input.match.",
            )
    return matched.take(pc.sort_indices(matched, sort_keys=[("name", "ascending")])), ignored, unmatched


def has_empty(listing: pa.Table, settings: InputSettings) -> bool:
    """Whether `files` ignores a file because it has 0 bytes. Spark 4.1 fails at such a file of parquet."""
    if settings.format.type not in DIRECT_FORMATS:
        return False
    return bool(pc.any(pc.equal(matching(listing, settings)[0]["size"], 0)).as_py())


def state(found: pa.Table, settings: InputSettings) -> str:
    """Digest of a table's files and of the settings that decide its keys."""
    rows = zip(found["name"].to_pylist(), found["size"].to_pylist(), found["etag"].to_pylist(), strict=True)
    read = settings.model_dump(mode="json", include={"key", "format", "schema_"})
    return digest({"files": data_fingerprint(rows), "read": read})


def select(
    found: pa.Table,
    settings: Settings,
    output: Store,
    *,
    ignored: int,
    unmatched: int,
    count: Callable[[], pa.Table],
    still: Callable[[], str] | None,
) -> Selected:
    """Select keys of a table. Each key is represented by one object, whose ETag is the table's state.

    Parameters
    ----------
    found
        The table's files (`files`).
    ignored, unmatched
        Numbers of other objects.
    output
        The store for the counted keys.
    count
        Counts the rows of each key (`COUNTS`) with Spark; called only if no run has counted this state.
    still
        Returns the current state of the table. The counts are stored if it has not changed. None, for a plan alone:
        they are not stored.

    Raises
    ------
    InputError
        The table has no row, or the filters leave no key.
    """
    now = state(found, settings.input)
    name = f"keys/{now}.arrow"
    try:
        counts = decode(output.get(name))
    except NotFoundError:
        counts = count()
        if not counts.num_rows:
            raise InputError(
                f"the table {settings.input.uri} has no row", hint="Check input.uri and input.match."
            ) from None
        if still is not None and still() == now:
            output.ensure(name, encode(counts))
    keys = counts["key"].combine_chunks()
    wanted = choose(keys, settings.input, settings.run.seed)
    total, size = int(pc.sum(counts["rows"]).as_py()), int(pc.sum(found["size"]).as_py())
    chosen = counts if wanted is None else counts.filter(pc.is_in(counts["key"], value_set=wanted))
    if not chosen.num_rows:
        raise InputError(
            "no key is left after input.include, exclude, only, sample and limit",
            hint=f"There were {len(keys)} keys before; loosen the filters.",
        )
    rows = chosen["rows"].to_numpy()
    objects = pa.table(
        {
            "key": chosen["key"],
            "name": chosen["key"],
            "size": pa.array((rows * (size / total)).astype(np.int64)),
            "etag": pc.binary_join_element_wise(now, pc.cast(chosen["rows"], pa.string()), ":"),
            "modified": pa.repeat(pc.max(found["modified"]), chosen.num_rows),
        }
    )
    complete = wanted is None and not unmatched
    return Selected(objects=objects.combine_chunks(), ignored=ignored, unmatched=unmatched, complete=complete)


def rows_of(etag: str) -> int:
    """The number of rows of a key when the table was counted, from the end of its ETag."""
    return int(etag.rpartition(":")[2])


def replaced(before: pa.Table, now: pa.Table) -> list[str]:
    """Names of files that were replaced or removed. New files do not matter, because Spark has not read them."""
    at = pc.index_in(before["name"], value_set=now["name"].combine_chunks())
    later = now.take(at.combine_chunks() if isinstance(at, pa.ChunkedArray) else at)
    same = pc.and_kleene(pc.equal(before["size"], later["size"]), pc.equal(before["etag"], later["etag"]))
    return [str(name) for name in before.filter(pc.invert(pc.fill_null(same, False)))["name"].to_pylist()]


def nearest(name: str, columns: Sequence[str]) -> str:
    """A sentence for a hint that names the existing columns, or those with similar names."""
    near = difflib.get_close_matches(name, columns, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(columns[:20])}."
