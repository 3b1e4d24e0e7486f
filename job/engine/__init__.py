"""Engines: what runs the tasks.

``local`` is a process for each core of this machine, ``spark`` a cluster or a local session, and ``inline`` this
process alone, for tests and debugging.
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
    """The engine of a job.

    Parameters
    ----------
    settings
        ``run.engine``, and what else names a cluster (`job.engine.choice`).
    environ
        The environment; default that of this process.

    Raises
    ------
    ConfigurationError
        An engine without Spark for what only Spark can read.
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
