"""A run that trains: its plan, what its tasks do, its release (`job.run.purpose`)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from job.config.settings import JobSettings, PromoteSettings
from job.engine import Borrowed
from job.outcome import TRAINED
from job.plan.plan import Plan
from job.registry.index import Release
from job.run import index_rows, promotion, report
from job.run.assembly import Assembly
from job.run.champions import Champions
from job.run.planning import finished_outcomes, make_plan
from job.run.run_files import Started
from job.words import TRAINING
from job.worker.operation import Operation
from job.worker.training import Training


class TrainingRun:
    """Fits a model for each key and publishes the set."""

    done = TRAINED
    wording = TRAINING
    models = None

    def __init__(self) -> None:
        self._live: Champions | None = None

    def plan(self, assembly: Assembly, started: Started, engine: Borrowed) -> tuple[Plan, pa.Table]:
        """Compare the input with the published table, and with the outcomes of unfinished runs."""
        finished = finished_outcomes(assembly, started.at)
        if _promote(assembly).metric is not None:
            self._live = Champions.now(assembly.index)
            finished = self._live.still(finished)
        return make_plan(assembly, finished, engine), finished

    def together(self, plan: Plan) -> None:
        """None: each model is an object of its own."""

    def beside(self, plan: Plan, task: int, rows: np.ndarray) -> dict[str, list[str]]:
        """No further columns."""
        return {}

    def operation(self, assembly: Assembly, started: Started) -> Operation:
        """The operation of a task: to fit."""
        prints = assembly.fingerprints
        return Training(fitting=assembly.fitting, recipe=prints.recipe, environment=prints.environment)

    def counted(self, started: Started, outcomes: pa.Table) -> pa.Table:
        """All outcomes, except those that were compared with a model that is no longer live."""
        return outcomes if self._live is None else self._live.still(outcomes)

    def champions(self, keys: pa.Array) -> pa.Table | None:
        """The live models of these keys, if the job has a gate; else None."""
        return None if self._live is None else self._live.of(keys)

    def decided(self, assembly: Assembly, settled: pa.Table) -> pa.Table:
        """Decide by the gate which new models become live."""
        return settled if self._live is None else promotion.decided(settled, _promote(assembly))

    def publish(
        self, assembly: Assembly, started: Started, plan: Plan, settled: pa.Table, count: report.Totals
    ) -> Release:
        """Publish the set in one commit of the index."""
        rows = index_rows.changed(assembly, started, plan, settled, promote=_promote(assembly))
        said = {name: str(getattr(count, name)) for name in ("planned", "trained", "unchanged", "skipped", "failed")}
        return assembly.index.release(rows, run=started.id, complete=plan.complete, metadata=said)


def _promote(assembly: Assembly) -> PromoteSettings:
    assert isinstance(assembly.settings, JobSettings)
    return assembly.settings.promote
