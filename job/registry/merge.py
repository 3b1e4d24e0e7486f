"""A release merged into the published table: the files that hold its keys are written anew, and one commit swaps them.

Only `index` calls it. Rows go through memory in slices, whatever the size of the table and of the release, which
deltalake's own MERGE holds several times over.
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
"""Files of less than a row group that may stand before they are gathered into one."""


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
        Where the table lies.
    table
        The version that they were decided on.
    rows
        `CHANGES` rows that `job.registry.row.decide` calls effective; a key occurs once.
    marks, about
        As `Table.append` takes them.
    credible
        As in the `job.registry.row.Fences` that they were decided with.

    Raises
    ------
    CommitFailedError
        Another commit was first. The files that were written belong to no version, and ``gc`` removes them.
    OutputError
        The table cannot be read file by file.
    """
    storage.refuse_unknown(table)
    rows = rows.combine_chunks()
    keys = whole(rows.column("key"))
    matched = np.zeros(rows.num_rows, bool)
    writer = Writer(storage.files, ROW, REPEATED, derived)
    # Once: a table of an older version gets its new columns, in all of its files.
    evolved = storage.evolution(table)
    removed, before, after = [], 0, 0
    files = data_files(table)
    # Else every release of new keys would leave one file more, for ever.
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
