"""A table, seen from the driver: its files, its state, and the keys it holds.

The keys of a table are counted by Spark once for each state of the table and kept below ``keys/``; a state is the
digest of the listing and of what decides how it is read. Nothing here imports Spark.
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

COUNTS = pa.schema([("key", pa.string()), ("rows", pa.int64())])
"""Rows for each key, sorted by key."""


def files(listing: pa.Table, settings: InputSettings) -> tuple[pa.Table, int, int]:
    """The table's files, sorted by name, with the numbers of ignored and of unmatched objects.

    A format with a log of its own (Delta) keeps it in hidden files: there nothing is ignored.

    Raises
    ------
    InputError
        No file.
    """
    foreign = settings.format.type not in DIRECT_FORMATS
    matched, ignored, unmatched = matching(listing, settings, hidden=foreign)
    return matched.take(pc.sort_indices(matched, sort_keys=[("name", "ascending")])), ignored, unmatched


def state(found: pa.Table, settings: InputSettings) -> str:
    """Digest of a table's files and of what decides its keys."""
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
    """The keys of a table and their rows, as if each key were one object whose ETag is the table's state.

    Parameters
    ----------
    found
        The table's files (`files`).
    ignored, unmatched
        Objects that are none of them.
    output
        Where counted keys are kept.
    count
        Counts the rows for each key (`COUNTS`), through Spark; called only if no run has counted this state.
    still
        The table's state now; given by a run, which keeps what was counted if the state is still the same.

    Raises
    ------
    InputError
        No row, or no key that the filters leave.
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
    """How many rows a key had when the table was counted (the end of its ETag)."""
    return int(etag.rpartition(":")[2])


def replaced(before: pa.Table, now: pa.Table) -> list[str]:
    """Files that were changed or removed since; new ones do not matter, because Spark has not read them."""
    at = pc.index_in(before["name"], value_set=now["name"].combine_chunks())
    later = now.take(at.combine_chunks() if isinstance(at, pa.ChunkedArray) else at)
    same = pc.and_kleene(pc.equal(before["size"], later["size"]), pc.equal(before["etag"], later["etag"]))
    return [str(name) for name in before.filter(pc.invert(pc.fill_null(same, False)))["name"].to_pylist()]


def nearest(name: str, columns: Sequence[str]) -> str:
    """A sentence that names the existing columns, or those with similar names."""
    near = difflib.get_close_matches(name, columns, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(columns[:20])}."
