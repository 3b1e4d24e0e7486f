"""Stores in which a process dies at a chosen point: by an exception that nothing catches, or by SIGKILL.

``python -m tests.chaos.dying FOLDER POINT [local]`` runs the job of FOLDER once, and the process that comes by the point is
killed: the one process of the inline engine, or a worker of the local engine, or its driver.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from job.config.settings import JobSettings
from job.engine import EngineReport
from job.engine.inline import InlineEngine
from job.engine.local import LocalEngine
from job.registry.index import Index, Release
from job.run import assembly as assemblies
from job.run.assembly import Assembly
from job.run.report import RunReport
from job.run.run import run
from job.store.folder import FolderStore
from job.worker.work import Work


class Died(BaseException):
    """The end of a process, as an exception: no handler for errors may stop it."""


class Death:
    """Dies at one point, the second time it comes by: something is finished by then, and something is not."""

    def __init__(self, point: str, die: Callable[[], None], *, at: int = 2) -> None:
        self.point, self.die, self.left = point, die, at

    def at(self, point: str) -> None:
        """The process comes by a point."""
        if point == self.point:
            self.left -= 1
            if self.left <= 0:
                self.die()


class DyingInput(FolderStore):
    """Dies around a GET of input."""

    death: Death

    def get(self, name: str, *, if_match: str | None = None) -> Any:
        """Read, perhaps half."""
        self.death.at("before_input_get")
        data = super().get(name, if_match=if_match)
        self.death.at("mid_input_get")
        return data


class DyingOutput(FolderStore):
    """Dies around a PUT of a model, a segment or the result."""

    death: Death

    def create(self, name: str, data: bytes) -> bool:
        """Write, perhaps half, perhaps without an answer."""
        if name.startswith("models/"):
            self.death.at("after_fit")
            self.death.at("before_model_put")
            if self.death.point == "model_half_sent":
                # what a torn upload leaves in a folder: a temporary file that no listing shows as a model
                folder = Path(self.uri.removeprefix("file://")) / Path(name).parent
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f".{Path(name).name}.half").write_bytes(data[: len(data) // 2])
                self.death.at("model_half_sent")
        if "/segments/" in name:
            self.death.at("before_segment_put")
        if name.endswith("result.json"):
            self.death.at("before_result")
        done = super().create(name, data)
        if name.startswith("models/"):
            self.death.at("model_stored_ack_lost")
        if "/segments/" in name:
            self.death.at("segment_stored_ack_lost")
            self.death.at("after_segment")
        return done


class DyingIndex(Index):
    """Dies around the release."""

    death: Death

    def release(self, *arguments: Any, **options: Any) -> Release:
        """Publish."""
        self.death.at("before_release")
        done = super().release(*arguments, **options)
        self.death.at("release_stored_ack_lost")
        self.death.at("after_release")
        return done


class DyingEngine(InlineEngine):
    """Dies between the tasks and the barrier; its tasks are small, so that something is finished early."""

    def __init__(self, death: Death) -> None:
        self.death = death

    def cores(self) -> int:
        """As many as make one task of each key."""
        return 100

    def run(self, work: Work, tasks: int, tick: Callable[[], None]) -> EngineReport:
        """All tasks."""
        done = super().run(work, tasks, tick)
        self.death.at("before_barrier")
        return done


class DyingLocal(LocalEngine):
    """The same in processes. Each worker has a death of its own: it dies at the second task that comes by the point."""

    def __init__(self, death: Death) -> None:
        super().__init__(2)
        self.death = death

    def number_of_tasks(self, costs: np.ndarray) -> int:
        """One task of each key."""
        return len(costs)

    def run(self, work: Work, tasks: int, tick: Callable[[], None]) -> EngineReport:
        """All tasks."""
        done = super().run(work, tasks, tick)
        self.death.at("before_barrier")
        return done


def settings(folder: Path) -> JobSettings:
    """A linear model for each file of a folder."""
    recipe = {"features": ["x"], "target": "y", "estimator": {"_target_": "sklearn.linear_model.LinearRegression"}}
    document = {
        "input": {"uri": str(folder / "in")},
        "recipe": recipe,
        "output": {"uri": str(folder / "out"), "report": "short"},
        "spark": {"master": "inline"},
    }
    return JobSettings.model_validate(document)


def dying(job: JobSettings, death: Death) -> Assembly:
    """A job, put together from stores that die."""
    made = assemblies.assemble(job)
    made.input.__class__ = DyingInput
    made.output.__class__ = DyingOutput
    made.index.__class__ = DyingIndex
    made.input.death = made.output.death = made.index.death = death  # type: ignore[attr-defined]
    return dataclasses.replace(made)


def once(point: str) -> int:
    """The driver comes by its points once, workers by theirs for each key."""
    return (
        1
        if point in ("before_barrier", "before_release", "release_stored_ack_lost", "after_release", "before_result")
        else 2
    )


def run_dying(
    folder: Path, point: str, die: Callable[[], None], *, local: bool = False, job: JobSettings | None = None
) -> RunReport:
    """One run that dies, or whose workers do."""
    death = Death(point, die, at=once(point))
    made = dying(job or settings(folder), death)
    return run(made, {}, make_engine=lambda _: DyingLocal(death) if local else DyingEngine(death))


class Kill:
    """As the kernel would. It leaves a trace, so that a test knows that somebody died."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self) -> None:
        (self.folder / f"killed-{os.getpid()}").touch()
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    # By its own name: a worker that is handed what dies has to find it.
    from tests.chaos import dying as itself

    place = Path(sys.argv[1])
    report = itself.run_dying(place, sys.argv[2], itself.Kill(place), local=sys.argv[3:] == ["local"])
    if sys.argv[3:] != ["local"]:
        raise SystemExit(f"{sys.argv[2]} was never reached")
    print(report.to_json())
