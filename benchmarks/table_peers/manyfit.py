"""This job, with its engine kept up: each round is a whole run, from planning to release, to an output of its own."""

from __future__ import annotations

from typing import Any

from benchmarks.manyfit import Kept
from benchmarks.workload import Workload
from job import engine as engines
from job.config.settings import JobSettings
from job.run.assembly import assemble
from job.run.run import run


def document(work: Workload, output: str) -> dict[str, Any]:
    """The job's document for one output."""
    return {
        "name": "bench",
        "input": {"uri": work.folder, "layout": "columns", "key": ["store", "item"]},
        "recipe": {"features": work.columns, "target": "y", "estimator": work.estimator},
        "output": {"uri": output},
        **work.options.get("settings", {}),
    }


class Peer:
    """Whole runs in one process."""

    def __init__(self, work: Workload) -> None:
        self._work = work
        self._engine = engines.make(JobSettings.model_validate(document(work, "none/")))
        self.detail: dict[str, Any] = {}

    def round(self, output: str) -> int:
        """Plan, train, upload, publish, report."""
        plain = document(self._work, output)
        done = run(assemble(JobSettings.model_validate(plain)), plain, make_engine=lambda assembly: Kept(self._engine))
        self.detail = {"phases": done.phases, "fit_seconds": done.fit_seconds, "spark": done.spark}
        return done.totals.trained

    def close(self) -> None:
        """Stop the engine."""
        self._engine.stop()
