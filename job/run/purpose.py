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
from job.store import Store
from job.words import Wording
from job.worker.operation import Operation


class Purpose(Protocol):
    """Training (`job.run.training_run`) or scoring (`job.run.scoring_run`)."""

    @property
    def done(self) -> str:
        """The status of a key for which the run succeeded: trained or scored."""

    @property
    def wording(self) -> Wording:
        """The words for messages about the run."""

    @property
    def models(self) -> Store | None:
        """The store that models are read from; None if none are read."""

    def plan(self, assembly: Assembly, started: Started, engine: Borrowed) -> tuple[Plan, pa.Table]:
        """Make the plan. Returns it with the outcomes that it adopts, and those that are known without a task."""

    def together(self, plan: Plan) -> np.ndarray | None:
        """A group number for each due key: one task gets all keys of a group. None: the keys are independent."""

    def beside(self, plan: Plan, task: int, rows: np.ndarray) -> dict[str, list[str]]:
        """Further columns of a task's list. ``rows`` are rows of ``plan.keys``, in the order of the list."""

    def champions(self, keys: pa.Array) -> pa.Table | None:
        """The live models that the new models of these keys are compared with; None without a gate."""

    def operation(self, assembly: Assembly, started: Started) -> Operation:
        """The operation that tasks apply to each key."""

    def counted(self, started: Started, outcomes: pa.Table) -> pa.Table:
        """The outcomes that the barrier may choose from, out of those of all attempts."""

    def decided(self, assembly: Assembly, settled: pa.Table) -> pa.Table:
        """The settled outcomes, with the decisions that need all of them, such as those of the gate."""

    def publish(
        self, assembly: Assembly, started: Started, plan: Plan, settled: pa.Table, count: report.Totals
    ) -> Release:
        """Make the settled outcomes visible to readers."""
