"""A scattered table whose workers are killed on the way of its rows: while they are read, handed over, or merged.

``python -m tests.chaos.dying_table FOLDER POINT SECTIONS`` runs the job of FOLDER once, on the engine that SECTIONS (JSON) name.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from job.config.settings import JobSettings
from job.plan import placing
from job.run import assembly as assemblies
from job.run.report import RunReport
from job.run.run import run
from job.store.folder import FolderStore
from job.worker import exchange, merge

POINTS = {"mid_read": 25, "before_merge": 1, "mid_merge": 2, "driver_before_merge": 1}
"""Where somebody dies, and how often a process comes by before: some blobs are written by then, some keys are trained."""
KEYS, TASKS, READERS = 12, 3, 2
_DEATHS = 2
"""in a run: fewer than attempts at a task"""


class Killing:
    """SIGKILL to the worker that comes by a point, or to its driver; leaves a trace."""

    def __init__(self, folder: Path, point: str) -> None:
        self.folder, self.point, self.driver, self.left = folder, point, os.getpid(), POINTS[point]

    def at(self, point: str) -> None:
        """A process comes by a point."""
        mine = point if self.point != "driver_before_merge" else f"driver_{point}"
        if mine != self.point or os.getpid() == self.driver:
            return
        self.left -= 1
        traces = list(self.folder.glob("killed-*"))
        if self.left <= 0 and len(traces) < _DEATHS:
            half = list(self.folder.glob(f"scratch/*/exchange-*/part-*-{os.getpid()}"))
            (self.folder / f"killed-{os.getpid()}").write_text(f"{len(half)}")
            os.kill(self.driver if mine.startswith("driver") else os.getpid(), signal.SIGKILL)


class DyingInput(FolderStore):
    """Comes by a point at each read of a part of a file."""

    killing: Killing

    def part(self, name: str, begin: int, end: int, *, if_match: str | None = None) -> Any:
        """Read."""
        small()
        self.killing.at("mid_read")
        return super().part(name, begin, end, if_match=if_match)


class DyingOutput(FolderStore):
    """Comes by a point where a task takes its list, and before each model."""

    killing: Killing

    def get(self, name: str, *, if_match: str | None = None) -> Any:
        """Read."""
        small()
        if "/plan/" in name and name.rpartition("/")[2][:5].isdecimal():
            self.killing.at("before_merge")
        return super().get(name, if_match=if_match)

    def create(self, name: str, data: bytes) -> bool:
        """Write."""
        if name.startswith("models/"):
            self.killing.at("mid_merge")
        return super().create(name, data)


def small() -> None:
    """Tiny blobs and windows, and none that stays in memory, in whatever process this is."""
    exchange.FLUSH_BYTES, exchange.BLOB_BYTES = 2000, 500
    merge.WINDOW_BYTES, merge.HELD_BYTES = 1000, 0


def settings(folder: Path, sections: dict[str, Any]) -> JobSettings:
    """A linear model for each key of the table."""
    recipe = {"features": ["x"], "target": "y", "estimator": {"_target_": "sklearn.linear_model.LinearRegression"}}
    document = {
        "input": {"uri": str(folder / "in"), "layout": "columns", "key": "k"},
        "recipe": recipe,
        "output": {"uri": str(folder / "out"), "report": "short"},
        **sections,
    }
    return JobSettings.model_validate(document)


def run_dying(folder: Path, point: str, sections: dict[str, Any]) -> RunReport:
    """One run whose workers, or whose driver, are killed."""
    made = assemblies.assemble(settings(folder, sections))
    killing = Killing(folder, point)
    made.input.__class__, made.output.__class__ = DyingInput, DyingOutput
    made.input.killing = made.output.killing = killing  # type: ignore[attr-defined]
    place = placing.place
    placing.place = lambda table, due, costs, *_: place(table, due, costs, TASKS, READERS)  # type: ignore[assignment]
    return run(made, {})


if __name__ == "__main__":
    # By its own name: a worker that is handed what dies has to find it.
    from tests.chaos import dying_table as itself

    print(itself.run_dying(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])).to_json())
