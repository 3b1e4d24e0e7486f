"""The live models that a run's new ones are compared with, as the published table describes them at one version.

The champions are fixed when the run is planned. An outcome that was compared with another model does not count.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from job.registry.index import Index
from job.registry.row import ROW
from job.run import promotion
from job.run.promotion import CHAMPION
from job.store.side import storage


@dataclass(frozen=True)
class Champions:
    """The live models of one version of the published table.

    Parameters
    ----------
    index
        The published table.
    version
        The version; None while nothing has been published.
    """

    index: Index
    version: int | None

    @classmethod
    def now(cls, index: Index) -> Champions:
        """The live models of the current version."""
        with storage("output", "the published table cannot be read"):
            return cls(index, index.version())

    def of(self, keys: pa.ChunkedArray | pa.Array) -> pa.Table:
        """The live models of ``keys``: the `CHAMPION` columns, one row for each key that has a live model."""
        wanted = pc.unique(keys).to_pylist()
        if self.version is None or not wanted:
            return pa.schema([ROW.field(name) for name in CHAMPION]).empty_table()
        with storage("output", "the published table cannot be read"):
            rows = self.index.read(columns=list(CHAMPION), at=self.version, keys=wanted)
        return rows.filter(pc.is_valid(rows["digest"])).combine_chunks()

    def still(self, outcomes: pa.Table) -> pa.Table:
        """The outcomes, without those that were compared with a model that is not the live one."""
        return promotion.current(outcomes, self.of(outcomes["key"])) if outcomes.num_rows else outcomes
