"""This job: each round is a whole run of ``manyfit score``, from planning to release, to an output of its own."""

from __future__ import annotations

import os
from typing import Any

from benchmarks.manyfit import Kept
from benchmarks.workload import Workload
from job import engine as engines
from job.config.score_settings import ScoringSettings
from job.run.run import run
from job.run.score_assembly import assemble_scoring
from job.run.scoring_run import ScoringRun


class Peer:
    """Whole runs, with workers that stay up."""

    def __init__(self, work: Workload) -> None:
        self._work = work
        self._engine = engines.make(ScoringSettings.model_validate(self._document("none")))
        self.detail: dict[str, Any] = {}

    def _document(self, output: str) -> dict[str, Any]:
        work = self._work
        root = f"s3://{work.bucket}" if work.options["store"] == "s3" else work.folder
        document: dict[str, Any] = {
            "models": {"uri": f"{root}/models"},
            "input": {"uri": f"{root}/new"},
            "output": {"uri": f"{root}/{output}"},
            "run": work.options["run"],
        }
        if work.options["layout"] == "columns":
            document["input"] |= {"layout": "columns", "key": ["key"]}
        if work.options["store"] == "s3":
            document["storage"] = {"endpoint": os.environ["AWS_ENDPOINT_URL"], "path_style": True}
        return document

    def round(self, output: str) -> int:
        """Plan, score, release, report."""
        if self._work.options["store"] == "folder":
            os.makedirs(f"{self._work.folder}/{output}")
        plain = self._document(output)
        made = assemble_scoring(ScoringSettings.model_validate(plain))
        done = run(made, plain, purpose=ScoringRun(made), make_engine=lambda _: Kept(self._engine))
        self.detail = {"phases": done.phases}
        return int(done.totals.rows_written)

    def close(self) -> None:
        """Stop the workers."""
        self._engine.stop()
