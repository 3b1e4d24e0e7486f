"""Starts the engine of a first run early, while Python still imports, before the plan is known.

It does so only where there is no published table yet: nearly every key is new then. A later run may have nothing to
train, so it starts its engine only once the plan has a key to train.
"""

from __future__ import annotations

from collections.abc import Mapping

from job import engine as engines
from job.config.score_settings import Settings
from job.engine import Borrowed, choice
from job.errors import NotFoundError, StoreError
from job.store import open_store


def begin(settings: Settings, environ: Mapping[str, str]) -> Borrowed:
    """The job's engine. It starts now, in the background, if nothing has been published yet.

    Parameters
    ----------
    settings
        The job.
    environ
        The environment variables. They tell whether spark-submit started this process: then Java runs already.
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
    """Whether nothing is published yet. False if the output cannot be read: the run itself raises that error later."""
    output = open_store(settings.output.uri, settings.storage.side("output"), what="output")
    try:
        return not output.prefixes("index")
    except NotFoundError:
        return output.scheme == "file"
    except StoreError:
        return False
