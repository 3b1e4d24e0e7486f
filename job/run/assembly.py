"""A job put together from its settings: stores, recipe, fingerprints, index; and whether the output is this job's."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from job.arrow import use_plain_pool
from job.config.score_settings import Settings
from job.config.settings import JobSettings
from job.errors import ConfigurationError, HeldError, NotFoundError, OtherJobError
from job.fit import artifact, recipe_mistakes
from job.fit.partition_fit import Fitting
from job.fit.recipe import Recipe
from job.plan import fingerprint
from job.plan.compare import Fingerprints
from job.reader import ReadSpec
from job.registry.index import Index
from job.store import Store, open_store
from job.store.side import storage

log = logging.getLogger(__name__)

FORMAT = 1
"""Version of the format of the files in the output."""
IDENTITY = "manyfit.json"


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """Everything that planning and running a job need."""

    settings: Settings
    input: Store
    output: Store
    index: Index
    spec: ReadSpec
    """how the bytes of an object become rows"""
    fingerprints: Fingerprints
    versions: dict[str, str]
    """the versions of Python and of the libraries that decide a model"""
    fitted: Fitting | None = None
    """the recipe and the settings of a fit; None for a scoring"""

    @property
    def has_rows(self) -> bool:
        """Whether the keys have rows of input. False for forecasts that need no input."""
        return isinstance(self.settings, JobSettings) or self.settings.has_rows

    @property
    def identity(self) -> dict[str, Any]:
        """What an output belongs to: the job's name, its input and layout. An output has one identity."""
        layout = self.settings.input.layout
        return {"format": FORMAT, "name": self.settings.name, "input": self.input.uri, "layout": layout}

    @property
    def fitting(self) -> Fitting:
        """The recipe and the settings of a fit. Only a job that trains has them."""
        assert self.fitted is not None
        return self.fitted


def assemble(settings: JobSettings, base: Path | None = None) -> Assembly:
    """Open the stores and check the recipe.

    Parameters
    ----------
    settings
        The job.
    base
        Relative paths in the recipe start from this folder.

    Raises
    ------
    ConfigurationError
        The recipe cannot be built, or a URI cannot be used.
    """
    use_plain_pool()
    recipe = Recipe.from_settings(settings.recipe, base=base)
    gate = settings.promote.metric
    if gate is not None and (problems := recipe_mistakes.of_gate(recipe, gate)):
        raise ConfigurationError("the gate cannot be used:\n  " + "\n  ".join(problems), problems=tuple(problems))
    for each in recipe.watched.unwatched:
        log.warning("a change is not noticed: %s", each)
    versions = artifact.versions()
    return Assembly(
        settings=settings,
        input=open_store(settings.input.uri, settings.storage.side("input"), what="input"),
        output=(output := open_store(settings.output.uri, settings.storage.side("output"), what="output")),
        index=Index(output),
        spec=(spec := ReadSpec.from_settings(settings.input, needed=recipe.columns(), texts=recipe.texts())),
        fitted=Fitting(
            recipe=recipe,
            spec=spec,
            artifact=settings.artifact,
            seed=settings.run.seed,
            on_empty=settings.input.on_empty,
            gate=gate,
        ),
        fingerprints=Fingerprints(
            recipe=fingerprint.recipe_fingerprint(settings, recipe.fingerprint_part()),
            environment=fingerprint.environment_fingerprint(settings.run.environment, versions, recipe.imports()),
        ),
        versions=versions,
    )


def check_held(assembly: Assembly, done: str) -> None:
    """Raise HeldError if the output is held; ``done`` is the status of a key for which the run would succeed."""
    if assembly.index.held():
        raise HeldError(
            f"a rollback holds {assembly.output.uri}: nothing was {done}",
            hint=f"`manyfit rollback {assembly.output.uri} --resume` lets runs publish again.",
        )


def check_identity(assembly: Assembly, *, create: bool) -> None:
    """Compare the output's ``manyfit.json`` with this job, or write it if there is none and ``create`` is true.

    Raises
    ------
    OtherJobError
        The output belongs to another job.
    """
    mine = assembly.identity
    data = json.dumps(mine, indent=1).encode()
    with storage("output", "the output's identity could not be read or written"):
        if create and assembly.output.create(IDENTITY, data):
            return
        try:
            theirs = json.loads(bytes(assembly.output.get(IDENTITY)))
        except NotFoundError:
            return
    if "mode" in mine or "mode" in theirs:  # the first version of the format knew only ``append``
        mine, theirs = ({"mode": "append", **each} for each in (mine, theirs))
        # The first run that replaces compacts what others have appended (`job.run.compacting`). The other way round,
        # the promise of one generation of each key would end without a word.
        theirs |= {"mode": "replace"} if mine["mode"] == "replace" else {}
    differing = [name for name, value in mine.items() if theirs.get(name) != value]
    if differing:
        said = "; ".join(f"{name} is {theirs.get(name)!r} there and {mine[name]!r} here" for name in differing)
        raise OtherJobError(
            f"the output {assembly.output.uri} belongs to another job: {said}",
            hint="Give this job an output of its own, or set the job back to what the output was made with.",
        )
