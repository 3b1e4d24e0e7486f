"""Engines, which run the tasks of a plan.

``local`` uses one process for each core of this machine. ``spark`` uses a cluster or a local Spark session. ``inline``
runs everything in this process, for tests and debugging.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from job.engine import choice
from job.engine.base import Borrowed, Engine, EngineReport

if TYPE_CHECKING:
    from job.config.score_settings import Settings

__all__ = ["Borrowed", "Engine", "EngineReport", "make"]


def make(settings: Settings, environ: Mapping[str, str] | None = None) -> Engine:
    """Make the engine of a job.

    Parameters
    ----------
    settings
        The job. `job.engine.choice` says which settings decide.
    environ
        Environment variables; default: those of this process.

    Raises
    ------
    ConfigurationError
        The chosen engine has no Spark, and ``input.reader`` is ``spark``.
    SetupError
        Java or Spark cannot be started.
    """
    import os

    chosen = choice.choose(settings, os.environ if environ is None else environ)
    if chosen == choice.INLINE:
        from job.engine.inline import InlineEngine

        return InlineEngine()
    if chosen == choice.LOCAL:
        from job.engine.local import LocalEngine

        return LocalEngine(settings.run.workers, settings.run.scratch)
    from job.engine.spark.session import SparkEngine

    return SparkEngine(settings)
