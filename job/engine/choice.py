"""Chooses the engine of a job: ``run.engine``, or Spark if the settings or the environment name a cluster."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from job.config.score_settings import Settings
from job.errors import ConfigurationError

INLINE, LOCAL, SPARK = "inline", "local", "spark"
_DEFAULT_MASTER = re.compile(r"^\s*spark\.master[\s=:]+(\S+)", re.MULTILINE)


def choose(settings: Settings, environ: Mapping[str, str]) -> str:
    """Choose the engine: `INLINE`, `LOCAL` or `SPARK`.

    Parameters
    ----------
    settings
        The job.
    environ
        Environment variables. They hold the port of spark-submit, and the folder of Spark's defaults.

    Raises
    ------
    ConfigurationError
        The chosen engine has no Spark, and ``input.reader`` is ``spark``.
    """
    chosen: str = settings.run.engine
    if chosen == "auto":
        chosen = _by_surroundings(settings, environ)
    if chosen == SPARK:
        return SPARK
    if settings.input.reader == "spark":
        name = "spark.master: inline" if settings.spark.master == INLINE else f"run.engine: {chosen}"
        raise ConfigurationError(
            f"{name} has no Spark, and reader 'spark' needs it",
            hint="Set run.engine: spark, which needs Java 17 or later.",
        )
    return chosen


def _by_surroundings(settings: Settings, environ: Mapping[str, str]) -> str:
    spark = settings.spark
    if spark.master == INLINE:
        return INLINE
    named = (
        "PYSPARK_GATEWAY_PORT" in environ  # set by spark-submit, which the Spark operator on Kubernetes uses too
        or settings.run.application is not None
        or spark.master is not None
        or bool(spark.conf)
        or default_master(environ) is not None
        or settings.input.reader == "spark"
    )
    return SPARK if named else LOCAL


def default_master(environ: Mapping[str, str]) -> str | None:
    """``spark.master`` in the file ``spark-defaults.conf`` that Spark would read; None if it is not set there."""
    folder = environ.get("SPARK_CONF_DIR") or (f"{home}/conf" if (home := environ.get("SPARK_HOME")) else None)
    if folder is None:
        return None
    try:
        found = _DEFAULT_MASTER.findall(
            (Path(folder) / "spark-defaults.conf").read_text(encoding="utf-8", errors="replace")
        )
    except OSError:
        return None
    return found[-1] if found else None
