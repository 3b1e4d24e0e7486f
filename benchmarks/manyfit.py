"""This job, with the session kept up: each round is a whole run, from planning to release, to an output of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from benchmarks.doubled import doubled
from benchmarks.workload import Workload
from job import engine as engines
from job.config.settings import JobSettings
from job.engine import EngineReport
from job.run.assembly import assemble
from job.run.run import run
from job.worker.direct import Work


class Kept:
    """An engine that a run may stop as often as it likes.

    Parameters
    ----------
    engine
        The engine that does the work.
    twice
        Do the work of each key twice (`benchmarks.doubled`).
    """

    def __init__(self, engine: engines.Engine, *, twice: bool = False) -> None:
        self._engine, self._twice = engine, twice

    def cores(self) -> int:
        return self._engine.cores()

    def number_of_tasks(self, costs: Any) -> int:
        return self._engine.number_of_tasks(costs)

    def run(self, work: Work, tasks: int, tick: Callable[[], None]) -> EngineReport:
        return self._engine.run(doubled(work) if self._twice else work, tasks, tick)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def stop(self) -> None:
        pass


def document(work: Workload, output: str) -> dict[str, Any]:
    """The job's document for one output."""
    reader = work.options.get("reader", "direct")
    # Spark's readers get the server's files, as those of the peers do: no S3 jars are fetched for a benchmark.
    local = reader == "spark" or work.options.get("store") == "folder"
    source = work.folder if local else f"s3://{work.bucket}/{work.prefix}"
    root = work.options.get("target", f"s3://{work.bucket}")
    return {
        "name": "bench",
        "input": {"uri": source, "reader": reader},
        "recipe": {
            "features": work.columns,
            "target": "y",
            "estimator": work.estimator,
            **work.options.get("recipe", {}),
        },
        "output": {"uri": f"{root}/{output}", **work.options.get("output", {})},
        "storage": {"endpoint": os.environ.get("AWS_ENDPOINT_URL"), "path_style": True},
        "spark": {
            "master": work.options.get("master", f"local[{work.cores},4]"),
            "conf": work.options.get("conf", {}),
        },
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
        kept = Kept(self._engine, twice=self._work.options.get("twice", False))
        done = run(assemble(JobSettings.model_validate(plain)), plain, make_engine=lambda assembly: kept)
        self.detail = {"phases": done.phases, "fit_seconds": done.fit_seconds, "exit_code": done.exit_code}
        return done.totals.trained

    def close(self) -> None:
        """Stop the session."""
        self._engine.stop()
