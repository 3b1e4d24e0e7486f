"""Engines on the one Spark session of the test process, and a job on a folder that runs on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from job.config.settings import JobSettings
from job.engine import Engine
from job.engine.spark.session import SparkEngine
from job.registry.model_set import ModelSet
from job.run.assembly import assemble
from job.run.report import RunReport
from job.run.run import run


class SharedEngine(SparkEngine):
    """The session of the whole test process: it outlives a run."""

    def stop(self) -> None:
        """Left to the fixture."""


class Job:
    """A folder of data and a job on it."""

    def __init__(self, root: Path) -> None:
        self.data, self.out = root / "in put", root / "out"
        self.data.mkdir()
        self.sections: dict[str, Any] = {}
        self.engines = 0

    def put(self, name: str, body: bytes | str) -> Path:
        path = self.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body.encode() if isinstance(body, str) else body)
        return path

    def settings(self, **sections: Any) -> JobSettings:
        document: dict[str, Any] = {
            "input": {"uri": str(self.data), "reader": "spark"},
            "recipe": {
                "features": ["x"],
                "target": "y",
                "estimator": {"_target_": "sklearn.linear_model.LinearRegression"},
            },
            "output": {"uri": str(self.out), "report": "short"},
            "run": {"max_failed": "100%"},
        }
        for name, values in [*self.sections.items(), *sections.items()]:
            document[name] = {**document.get(name, {}), **values}
        return JobSettings.model_validate(document)

    def run(self, engine: Callable[[JobSettings], Engine] = SharedEngine, **sections: Any) -> RunReport:
        settings = self.settings(**sections)

        def start(_: Any) -> Engine:
            self.engines += 1
            return engine(settings)

        return run(assemble(settings), settings.model_dump(mode="json"), make_engine=start)

    @property
    def models(self) -> ModelSet:
        return ModelSet.open(str(self.out))

    def slopes(self) -> dict[str, float]:
        return {key: round(float(model.coef_[0]), 3) for key, model in self.models.items()}

    def rows(self) -> dict[str, dict[str, Any]]:
        from job.config.settings import StorageSide
        from job.registry.index import Index
        from job.store import open_store

        return {row["key"]: row for row in Index(open_store(str(self.out), StorageSide())).read().to_pylist()}
