"""A trained folder job and a scoring of its models, run in one process: what the tests of scoring start from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from job.config.score_settings import ScoringSettings
from job.engine import Engine
from job.engine.inline import InlineEngine
from job.registry.predictions import Predictions
from job.run.assembly import Assembly
from job.run.report import RunReport
from job.run.run import run
from job.run.score_assembly import ScoreAssembly, assemble_scoring
from job.run.scoring_run import ScoringRun
from tests.support.folder_job import Job, line


def rows(slope: float, count: int = 6, columns: str = "id,x,y") -> bytes:
    """A csv whose ``y`` is ``slope`` times ``x``."""
    given = [{"id": at, "x": at / 2, "y": slope * at / 2} for at in range(count)]
    names = columns.split(",")
    return "\n".join([columns, *(",".join(str(each[name]) for name in names) for each in given), ""]).encode()


class ScoreJob:
    """Models of some keys, new rows for them, and the scoring of these."""

    def __init__(self, root: Path, keys: int = 4, prefix: str = "k") -> None:
        self.trained = Job(root)
        self.data, self.out = root / "new", root / "predictions"
        self.data.mkdir()
        for number in range(keys):
            self.trained.put(f"{prefix}{number}.csv.gz", line(number + 1.0))
            self.put(f"{prefix}{number}.csv", rows(number + 1.0))
        self.overrides: dict[str, Any] = {}

    def put(self, name: str, body: bytes) -> None:
        """An object of new rows."""
        (self.data / name).write_bytes(body)

    def assembly(self, **sections: Any) -> ScoreAssembly:
        """The scoring put together; ``input={"uri": None}`` leaves the input out."""
        document: dict[str, Any] = {
            "models": {"uri": str(self.trained.out)},
            "input": {"uri": str(self.data)},
            "output": {"uri": str(self.out), "report": "short"},
            "run": {"engine": "inline"},
        }
        for name, values in {**self.overrides, **sections}.items():
            document[name] = {**document.get(name, {}), **values}
        if document["input"].get("uri", "") is None:
            del document["input"]["uri"]
        return assemble_scoring(ScoringSettings.model_validate(document), self.data.parent)

    def score(self, engine: Callable[[Assembly], Engine] | None = None, **sections: Any) -> RunReport:
        """One run."""
        made = self.assembly(**sections)
        document = made.settings.model_dump(mode="json", exclude_defaults=True, by_alias=True)
        return run(made, document, purpose=ScoringRun(made), make_engine=engine or (lambda _: InlineEngine()))

    @property
    def predictions(self) -> Predictions:
        """The table."""
        return Predictions(self.assembly().output)

    def table(self, at: int | None = None) -> pa.Table:
        """Its rows."""
        files = self.predictions.files(at)
        found = [pq.read_table(self.out / "predictions" / name) for name in sorted(files)]
        return (
            pa.concat_tables(found, promote_options="default")
            if found
            else pa.table({"_key": pa.array([], pa.string())})
        )

    def errors(self) -> dict[str, dict[str, Any]]:
        """The newest errors of each key."""
        found = [pq.read_table(file) for file in DeltaTable(str(self.out / "errors")).file_uris()]
        return {row["key"]: row for row in pa.concat_tables(found).sort_by("scored_at").to_pylist()}

    def keys(self) -> dict[str, int]:
        """The number of rows of each key."""
        counts = self.table()["_key"].value_counts().to_pylist()
        return {each["values"]: each["counts"] for each in sorted(counts, key=lambda each: str(each["values"]))}


def of_many_releases(root: Path) -> ScoreJob:
    """Two keys; one scored again with a column that the first release does not have; a release that was taken back."""
    job = ScoreJob(root, keys=2)
    job.trained.run()
    job.score()
    job.put("k1.csv", rows(2.0, count=3).replace(b"id,x,y\n", b"id,x,late\n"))
    job.score()
    job.put("k0.csv", rows(1.0, count=2))
    job.score()
    job.predictions.rollback(2)
    return job


def counts(report: RunReport) -> tuple[int, int, int, int]:
    """Scored, unchanged, skipped, failed."""
    total = report.totals
    return total.scored, total.unchanged, total.skipped, total.failed
