"""A folder of data sets and a job on it, run in one process: what the tests of a run start from."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from job.config.settings import JobSettings
from job.engine import Engine
from job.engine.inline import InlineEngine
from job.registry.index import Index
from job.registry.model_set import ModelSet
from job.run.assembly import Assembly, assemble
from job.run.report import RunReport
from job.run.run import run


def line(slope: float, rows: int = 50, noise: float = 0.0) -> bytes:
    x = np.linspace(0, 10, rows)
    y = slope * x + noise * np.sin(x * 7)
    return gzip.compress(("x,y\n" + "".join(f"{a:.6f},{b:.6f}\n" for a, b in zip(x, y, strict=True))).encode())


class Job:
    """A folder of data sets and a job on it."""

    def __init__(self, root: Path) -> None:
        self.data, self.out = root / "in", root / "out"
        self.data.mkdir()
        self.overrides: dict[str, Any] = {}

    def put(self, name: str, body: bytes) -> None:
        path = self.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)

    def settings(self, **sections: Any) -> JobSettings:
        document: dict[str, Any] = {
            "input": {"uri": str(self.data)},
            "recipe": {
                "features": ["x"],
                "target": "y",
                "estimator": {"_target_": "sklearn.linear_model.LinearRegression"},
            },
            "output": {"uri": str(self.out), "report": "short"},
            "spark": {"master": "inline"},
        }
        for name, values in {**self.overrides, **sections}.items():
            document[name] = {**document.get(name, {}), **values}
        return JobSettings.model_validate(document)

    def run(self, engine: Callable[[Assembly], Engine] | None = None, **sections: Any) -> RunReport:
        settings = self.settings(**sections)
        assembly = assemble(settings)
        document = settings.model_dump(mode="json", exclude_defaults=True, by_alias=True)
        return run(assembly, document, make_engine=engine or (lambda _: InlineEngine()))

    def models(self) -> ModelSet:
        return ModelSet.open(str(self.out))

    def row(self, key: str) -> dict[str, Any]:
        store = assemble(self.settings()).output
        return dict(Index(store).read(keys=[key]).to_pylist()[0])


def counts(report: RunReport) -> tuple[int, int, int, int]:
    total = report.totals
    return total.trained, total.unchanged, total.skipped, total.failed
