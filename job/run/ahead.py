"""Starts the engine of a first run early, while Python still imports, before the plan is known.

Only where there is no published table yet, so that nearly every key will be new. A run that may find nothing changed
starts its engine when it has found something.
"""

from __future__ import annotations

from collections.abc import Mapping

from job import engine as engines
from job.config.score_settings import Settings
from job.engine import Borrowed, choice
from job.errors import NotFoundError, StoreError
from job.store import open_store


def begin(settings: Settings, environ: Mapping[str, str]) -> Borrowed:
    """The job's engine; it starts now, in the background, if this is a first run on this machine.

    Parameters
    ----------
    settings
        The job.
    environ
        The environment: under spark-submit, Java is there already.
    """
    chosen = choice.choose(settings, environ)
    borrowed = Borrowed(lambda: engines.make(settings, environ))
    submitted = "PYSPARK_GATEWAY_PORT" in environ
    if not submitted and chosen != choice.INLINE and _first(settings):
        if chosen == choice.SPARK:
            from job.engine.spark import session

            session.load()
        borrowed.begin()
    return borrowed


def _first(settings: Settings) -> bool:
    """Whether nothing is published. Where that cannot be told now, the run will say why."""
    output = open_store(settings.output.uri, settings.storage.side("output"), what="output")
    try:
        return not output.prefixes("index")
    except NotFoundError:
        return output.scheme == "file"
    except StoreError:
        return False
