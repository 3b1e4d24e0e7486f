"""Engines: who runs the tasks. ``inline`` is one process, for tests and debugging; ``spark`` is everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from job.engine.base import Borrowed, Engine, EngineReport
from job.errors import ConfigurationError

if TYPE_CHECKING:
    from job.config.settings import JobSettings

__all__ = ["INLINE", "Borrowed", "Engine", "EngineReport", "make"]

INLINE = "inline"


def make(settings: JobSettings) -> Engine:
    """The engine that ``spark.master`` asks for.

    Raises
    ------
    ConfigurationError
        ``inline`` for what only Spark can read.
    SetupError
        Java or Spark cannot be started.
    """
    if settings.spark.master == INLINE:
        if settings.input.layout == "columns" or settings.input.reader == "spark":
            raise ConfigurationError(
                "spark.master: inline has no Spark, and layout 'columns' and reader 'spark' need it",
                hint="Leave spark.master out, or set local[1].",
            )
        from job.engine.inline import InlineEngine

        return InlineEngine()
    from job.engine.spark.session import SparkEngine

    return SparkEngine(settings)
