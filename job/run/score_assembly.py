"""A scoring put together from its settings: stores and fingerprints. The models are pinned when it is planned."""

from __future__ import annotations

from dataclasses import dataclass

from job.arrow import use_plain_pool
from job.config.score_settings import ScoringSettings
from job.fit import artifact
from job.plan import fingerprint
from job.plan.compare import Fingerprints
from job.reader import ReadSpec
from job.reader.spec import VERSION as READING
from job.registry.index import Index
from job.run.assembly import Assembly
from job.store import Store, open_store

_COUNTED = {"method", "keep", "missing", "actual"}
"""Settings that decide the predictions of a key; policies decide which model it gets, and that counts by itself."""
_VERSION = 1
"""Raised when equal settings, data and models become other predictions."""


@dataclass(frozen=True, kw_only=True)
class ScoreAssembly(Assembly):
    """What planning and running a scoring need."""

    scoring: ScoringSettings
    models: Store
    """where the models lie; nothing is written there"""


def assemble_scoring(settings: ScoringSettings) -> ScoreAssembly:
    """Open the stores.

    Raises
    ------
    ConfigurationError
        A URI cannot be used, or a type of ``input.schema`` does not exist.
    """
    use_plain_pool()
    output = open_store(settings.output.uri, settings.storage.side("output"), what="output")
    return ScoreAssembly(
        settings=settings,
        scoring=settings,
        input=open_store(settings.input.uri, settings.storage.side("input"), what="input"),
        output=output,
        models=open_store(settings.models.uri, settings.storage.side("models"), what="input"),
        index=Index(output),
        spec=ReadSpec.from_settings(settings.input),
        fingerprints=Fingerprints(recipe=_fingerprint(settings), environment=""),
        versions=artifact.versions(),
    )


def _fingerprint(settings: ScoringSettings) -> str:
    """Of all that decides the predictions of a key beside its data and its model."""
    chosen = settings.score.model_dump(mode="json", include=_COUNTED, exclude_defaults=True)
    reader = fingerprint.reader_part(settings.input)
    return fingerprint.digest({"version": _VERSION, "reading": READING, "reader": reader, "score": chosen})
