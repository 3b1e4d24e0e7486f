"""The commit that puts one generation of each key in the place of all that runs have appended to the predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from job.registry import marks
from job.registry.data_file import data_files, removal
from job.registry.delta_log import Table
from job.registry.predictions import PartFile, refuse_another
from job.score import columns, part

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from job.store import Store


def compact(store: Store, parts: Sequence[PartFile], *, base: int, plan: str, index: int) -> int:
    """Commit a version with other parts in place of all parts of ``base``; returns its number.

    From then on no run may append (`Predictions.replaces`).

    Parameters
    ----------
    store
        The output.
    parts
        Ranges with one generation of each key. The store must have acknowledged each of them.
    base
        The version whose parts leave.
    plan
        Id of the plan of the run. A second call for it does nothing.
    index
        The version of the index that belongs to ``base``, to which a rollback to the new version returns.

    Raises
    ------
    OutputError
        Another run has released since ``base``; nothing is committed.
    """
    name = f"manyfit/compact/{plan}"
    delta = Table(store, part.FOLDER, columns.OURS, spanned=["_key"])

    def attempt(table: DeltaTable) -> int:
        if (done := table.transaction_version(name)) is not None:
            return int(done)
        refuse_another(store, table, base)
        old = data_files(table)
        added = {part.path(each.digest) for each in parts}
        # A part that is there already is added once more, with its lowest and highest key.
        actions = [removal(path, file["size_bytes"]) for path, file in old.items() if path not in added]
        actions += [each.addition() for each in parts]
        gone = sum(file["num_records"] for file in old.values()) - sum(each.rows for each in parts)
        version = int(table.version()) + 1
        moved = {name: version, marks.REPLACES: version}
        about: dict[str, str | int] = {"operation": "compact", "index": index}
        delta.append(table, "OPTIMIZE", moved, about, actions, {"num_target_rows_deleted": gone})
        return version

    return delta.retried(attempt)
