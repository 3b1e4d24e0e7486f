"""Merges a release into the published table: rewrites the files that hold its keys and swaps them in one commit.

Only `index` calls it. It keeps one slice of rows in memory at a time; the MERGE of deltalake would hold the table and
the release several times.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job.arrow import whole
from job.registry.data_file import SLICE, Writer, data_files, opened, plain, removal, slices
from job.registry.derived import derived
from job.registry.row import CHANGES, PUT, REPEATED, ROW, applied

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from job.registry.delta_log import Table

_MOST_SMALL = 8
"""With more files than this that are smaller than a row group, they are merged into one."""


def merge(
    storage: Table,
    table: DeltaTable,
    rows: pa.Table,
    marks: Mapping[str, int],
    about: Mapping[str, str | int],
    credible: int | None = None,
) -> None:
    """Commit effective rows on top of ``table``'s version.

    Parameters
    ----------
    storage
        The table.
    table
        The version for which the rows were decided.
    rows
        The effective rows of `job.registry.row.decide`, with `CHANGES`. No key occurs twice.
    marks, about
        As in `Table.append`.
    credible
        As in the `job.registry.row.Fences` of the decision.

    Raises
    ------
    CommitFailedError
        Another commit was first. The written files then belong to no version, and ``gc`` removes them.
    OutputError
        The table cannot be read file by file.
    """
    storage.refuse_unknown(table)
    rows = rows.combine_chunks()
    keys = whole(rows.column("key"))
    matched = np.zeros(rows.num_rows, bool)
    writer = Writer(storage.files, ROW, REPEATED, derived)
    # A table of an older manyfit gets its new columns once: then all of its files are rewritten.
    evolved = storage.evolution(table)
    removed, before, after = [], 0, 0
    files = data_files(table)
    # Small files are merged, else each release of new keys would add one file.
    gather = sum(file["num_records"] < SLICE for file in files.values()) > _MOST_SMALL
    for path, file in files.items():
        parquet = opened(storage.files, path)
        at = pc.index_in(whole(parquet.read(["key"]).column("key")), value_set=keys)
        if at.null_count == len(at) and not evolved and not (gather and len(at) < SLICE):
            continue
        removed.append(removal(path, file["size_bytes"]))
        before += len(at)
        matched[at.drop_null().to_numpy()] = True
        begin = 0
        for published in slices(parquet, ROW):
            place = at.slice(begin, published.num_rows)
            begin += published.num_rows
            touched = place.null_count < len(place)
            left = applied(published, plain(rows.take(place), CHANGES), credible) if touched else published
            after += left.num_rows
            writer.add(left)
    fresh = np.flatnonzero(~matched & pc.equal(rows.column("action"), PUT).to_numpy())
    for begin in range(0, len(fresh), SLICE):
        writer.add(plain(rows.take(pa.array(fresh[begin : begin + SLICE])), ROW))
    writer.close()
    metrics = {
        "num_target_rows_inserted": len(fresh),
        "num_target_rows_updated": int(matched.sum()) - (before - after),
        "num_target_rows_deleted": before - after,
    }
    storage.append(table, "MERGE", marks, about, [*evolved, *removed, *writer.added], metrics)
