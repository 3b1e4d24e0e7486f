"""A scoring put together from its settings: stores and fingerprints. The models are pinned when it is planned."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from job.arrow import use_plain_pool
from job.config.score_settings import ScoringSettings
from job.fit import artifact, user_function
from job.fit.user_function import UserFunction
from job.plan import fingerprint
from job.plan.compare import Fingerprints
from job.reader import ReadSpec
from job.reader.spec import VERSION as READING
from job.registry.index import Index
from job.run.assembly import Assembly
from job.score import forecast
from job.store import Store, open_store

log = logging.getLogger(__name__)

_COUNTED = {"method", "keep", "missing", "actual"}
"""Settings that are part of the fingerprint. Those that only choose the model are not: the model itself counts."""
_VERSION = 1
"""Raised when a new manyfit makes other predictions from equal settings, data and models."""


@dataclass(frozen=True, kw_only=True)
class ScoreAssembly(Assembly):
    """Everything that planning and running a scoring need."""

    scoring: ScoringSettings
    models: Store
    """the output that holds the models; a scoring writes nothing there"""
    function: UserFunction | None = None
    """the user's function (``score.function``); None: a method of the model is called"""

    @property
    def identity(self) -> dict[str, Any]:
        """As `Assembly.identity`, with the models, and with the mode if it is not the default."""
        mode = self.scoring.output.mode
        return {**super().identity, "models": self.models.uri, **({} if mode == "append" else {"mode": mode})}


def assemble_scoring(settings: ScoringSettings, base: Path | None = None) -> ScoreAssembly:
    """Open the stores, and load the user's function if the settings name one.

    Parameters
    ----------
    settings
        The scoring.
    base
        Relative paths of the user's code start from this folder; default the working directory.

    Raises
    ------
    ConfigurationError
        A URI or the function cannot be used, or a type of ``input.schema`` does not exist.
    """
    use_plain_pool()
    function, code = None, None
    if settings.score.function is not None:
        function = user_function.from_settings(
            settings.score.function,
            settings.score.code,
            base or Path.cwd(),
            section="score",
            takes=forecast.arguments,
            example="forecast(model, frame, key), or forecast(model, frame)",
        )
        seen = function.watched()
        for each in seen.unwatched:
            log.warning("a change is not noticed: %s", each)
        code = {**function.fingerprint_part(), "packages": seen.packages}
    output = open_store(settings.output.uri, settings.storage.side("output"), what="output")
    return ScoreAssembly(
        settings=settings,
        scoring=settings,
        input=open_store(settings.input.uri, settings.storage.side("input"), what="input"),
        output=output,
        models=open_store(settings.models.uri, settings.storage.side("models"), what="input"),
        index=Index(output),
        spec=ReadSpec.from_settings(settings.input),
        fingerprints=Fingerprints(recipe=_fingerprint(settings, code), environment=""),
        versions=artifact.versions(),
        function=function,
    )


def _fingerprint(settings: ScoringSettings, code: dict[str, Any] | None) -> str:
    """The fingerprint of everything that decides the predictions of a key, except its data and its model."""
    chosen = settings.score.model_dump(mode="json", include=_COUNTED, exclude_defaults=True)
    reader = fingerprint.reader_part(settings.input)
    told = {"version": _VERSION, "reading": READING, "reader": reader, "score": chosen}
    return fingerprint.digest(told if code is None else {**told, "function": code})
