"""The errors of predictions at ``<output>/errors``: a Delta table to which each scoring appends a row for each key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from job.registry.data_file import Writer
from job.registry.delta_log import Table
from job.score import columns

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from job.store import Store

ERRORS = pa.schema(
    [
        ("key", pa.string()),
        ("run", pa.string()),
        ("scored_at", columns.TIME),
        ("n", pa.int64()),
        ("mae", pa.float64()),
        ("rmse", pa.float64()),
        ("accuracy", pa.float64()),
        ("log_loss", pa.float64()),
        ("within", pa.string()),
    ]
)
"""The errors of the predictions of a key in one run. ``within`` is JSON: for each interval (in percent) the number of
rows whose truth lies within it, and the number of rows that have such an interval."""


def add_errors(store: Store, rows: pa.Table, run: str) -> None:
    """Append the errors of a run (`ERRORS`). A second call for the same run does nothing."""
    table = Table(store, "errors", ERRORS)

    def attempt(current: DeltaTable) -> None:
        if current.transaction_version(run) is not None:
            return
        writer = Writer(table.files, ERRORS, ["run"])
        writer.add(rows)
        writer.close()
        about = {"operation": "release", "run": run}
        inserted = {"num_target_rows_inserted": rows.num_rows}
        actions = [*table.evolution(current), *writer.added]
        table.append(current, "WRITE", {run: current.version() + 1}, about, actions, inserted)

    table.retried(attempt)
