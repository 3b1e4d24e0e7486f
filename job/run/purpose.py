"""The purpose of a run: the steps in which training and scoring differ. `job.run.run` does all others."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pyarrow as pa

from job.engine import Borrowed
from job.plan.plan import Plan
from job.registry.index import Release
from job.run import report
from job.run.assembly import Assembly
from job.run.run_files import Started
from job.run.wording import Wording
from job.store import Store
from job.worker.operation import Operation


class Purpose(Protocol):
    """Training (`job.run.training_run`) or scoring (`job.run.scoring_run`)."""

    @property
    def done(self) -> str:
        """The status of a key for which it succeeded."""

    @property
    def wording(self) -> Wording:
        """How it is spoken of."""

    @property
    def models(self) -> Store | None:
        """Where models are read."""

    def plan(self, assembly: Assembly, started: Started, engine: Borrowed) -> tuple[Plan, pa.Table]:
        """The plan, and the outcomes that it takes over or that are known already."""

    def together(self, plan: Plan) -> np.ndarray | None:
        """A number for each due key, the same for those that one task should have; None: no two need be together."""

    def beside(self, plan: Plan, task: int, rows: np.ndarray) -> dict[str, list[str]]:
        """Further columns of a task's list, for rows of ``plan.keys`` in the order of the list."""

    def champions(self, keys: pa.Array) -> pa.Table | None:
        """The live models that new ones of these keys are compared with, if they are."""

    def operation(self, assembly: Assembly, started: Started) -> Operation:
        """What the tasks do with each key."""

    def counted(self, started: Started, outcomes: pa.Table) -> pa.Table:
        """The outcomes of all attempts that may be settled on."""

    def decided(self, assembly: Assembly, settled: pa.Table) -> pa.Table:
        """The settled outcomes, after what only all of them together can tell."""

    def publish(
        self, assembly: Assembly, started: Started, plan: Plan, settled: pa.Table, count: report.Totals
    ) -> Release:
        """Make the settled outcomes visible to readers."""
