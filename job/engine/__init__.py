"""Engines: who runs the tasks. ``inline`` is one process, for tests and debugging; ``spark`` is everything else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from job.settings import JobSettings
    from job.work import Work

INLINE = "inline"


@dataclass(frozen=True, kw_only=True)
class EngineReport:
    """What an engine tells of one run."""

    summaries: tuple[Mapping[str, Any], ...] = ()
    """the tasks' summaries, as rows; hints for the report, never the truth"""
    metrics: Mapping[str, int] = field(default_factory=dict)
    """of Spark's stages: tasks, failed_tasks, shuffle_read_bytes, shuffle_write_bytes, executors"""


class Engine(Protocol):
    """What runs the tasks of a plan."""

    def cores(self) -> int:
        """Tasks that can run at once."""

    def local(self) -> bool:
        """All tasks run on this machine."""

    def run(self, work: Work, tasks: int, tick: Callable[[], None]) -> EngineReport:
        """Run all tasks to their end; ``tick`` is called about twice a second meanwhile."""

    def stop(self) -> None:
        """Let go of processes and memory."""


def make(settings: JobSettings) -> Engine:
    """The engine that ``spark.master`` asks for.

    Raises
    ------
    SetupError
        Java or Spark cannot be started.
    """
    if settings.spark.master == INLINE:
        from job.engine.inline import InlineEngine

        return InlineEngine()
    from job.engine.spark import SparkEngine

    return SparkEngine(settings)
