"""Merges the sources of settings, and finds the mistakes that show only in the merged settings. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from job.config.mistakes import Mistake, from_validation, show
from job.config.score_settings import ScoringSettings, Settings
from job.config.settings import JobSettings, StorageSettings
from job.config.sources import Source

_MOST_ROUNDS = 6
_REQUIRED = ("input", "recipe", "models", "output")
"""Sections that a document must have."""
NO_ESTIMATOR = {"_target_": "x"}
"""The value of ``recipe.estimator`` where it is missing or wrong."""
_STAND_INS: dict[str, Any] = {
    "input.uri": "memory://in",
    "output.uri": "memory://out",
    "models.uri": "memory://models",
    "recipe.estimator": NO_ESTIMATOR,
}
"""Values for required settings that are missing or wrong, so that the other settings can be checked."""


class Job(JobSettings, BaseSettings):  # type: ignore[misc]
    """`JobSettings`, filled by pydantic-settings from the argument ``sources``; the first source wins."""

    @classmethod
    def settings_customise_sources(cls, *_: Any, **sources: Any) -> tuple[PydanticBaseSettingsSource, ...]:
        """The argument ``sources``, instead of the usual sources of pydantic-settings."""
        return tuple(sources["init_settings"].init_kwargs["sources"])


class Scoring(ScoringSettings, BaseSettings):  # type: ignore[misc]
    """`ScoringSettings`, filled as `Job` is."""

    @classmethod
    def settings_customise_sources(cls, *_: Any, **sources: Any) -> tuple[PydanticBaseSettingsSource, ...]:
        """The argument ``sources``, instead of the usual sources of pydantic-settings."""
        return tuple(sources["init_settings"].init_kwargs["sources"])


def resolve(
    found: list[Source], *, complete: bool, document: type[Settings] = JobSettings
) -> tuple[Settings | None, list[Mistake]]:
    """Merge the sources, and check the merged settings. Settings with a mistake are left out.

    After each validation the wrong settings are left out and the rest is validated again, until nothing new is wrong.
    Reason: pydantic compares settings with each other only if each is valid by itself.

    Parameters
    ----------
    found
        The sources, the one with the highest priority first.
    complete
        Whether a missing required setting is a mistake.
    document
        The kind of the document: `JobSettings` or `ScoringSettings`.

    Returns
    -------
    JobSettings, ScoringSettings or None
        The settings; None if they cannot be built.
    list of Mistake
        The mistakes that the check found.
    """
    made: Any = Job if document is JobSettings else Scoring
    sections: dict[str, Any] = {
        name: {} for name, field in document.model_fields.items() if name in _REQUIRED and field.is_required()
    }
    mistakes: list[Mistake] = []
    wrong = {each.path for source in found for each in source.mistakes}
    meant = " ".join(each.what for source in found for each in source.mistakes)
    instead: dict[str, Any] = {}
    for _ in range(_MOST_ROUNDS):
        try:
            job = made(sources=[_stand_in(instead), *found, _stand_in(sections)])
        except ValidationError as error:
            news = [each for each in from_validation(error, document) if _leaf(each[0]) not in wrong]
            for path, what, given, kind in news:
                if not _follows(path, what, kind, wrong, meant, complete):
                    mistakes.append(Mistake(path=path, what=what, value=show(given), where=_place(found, path)))
            if not news:
                break
            for path, *_rest in news:
                path = "recipe.estimator" if path == "recipe" else _leaf(path)
                wrong.add(path)
                if path in _STAND_INS:
                    instead[path] = _STAND_INS[path]
                for source in found:
                    source.hidden.add(path)
        else:
            fields = {name: getattr(job, name) for name in document.model_fields}
            return document.model_construct(job.model_fields_set, **fields), mistakes
    return None, mistakes


def storage_alone(found: list[Source]) -> StorageSettings:
    """The ``storage`` section of the sources; all other sections are ignored."""
    for source in found:
        source.hidden |= source.tree.keys() - {"storage"}
    return Job(sources=[*found, _stand_in(_STAND_INS)]).storage  # type: ignore[call-arg]


def _follows(path: str, what: str, kind: str, wrong: set[str], meant: str, complete: bool) -> bool:
    """Whether to leave a mistake out: it follows from another one, or a setting is missing that need not be there."""
    if kind == "missing" or (kind == "inconsistent" and path == "recipe"):
        either = ["recipe.estimator", "recipe.function"] if path == "recipe" else [path]
        return not complete or any(f"did you mean {each}?" in meant or _is_in(each, wrong) for each in either)
    return kind == "inconsistent" and any(_names(what, each) for each in wrong)


def _is_in(path: str, wrong: set[str]) -> bool:
    """Whether a setting, or a section that contains it, is known to be wrong."""
    parts = path.split(".")
    return any(".".join(parts[:size]) in wrong for size in range(1, len(parts) + 1))


def _names(text: str, path: str) -> bool:
    return re.search(rf"\b{re.escape(path.rpartition('.')[2])}\b", text) is not None


def _leaf(path: str) -> str:
    return re.sub(r"\[\d+\]$", "", path)


def _place(found: list[Source], path: str) -> str:
    parts = _leaf(path).split(".")
    above = [".".join(parts[:size]) for size in range(len(parts), 0, -1)]
    return next((source.places[name] for name in above for source in found if name in source.places), "")


def _stand_in(values: Mapping[str, Any]) -> Source:
    source = Source("stand-in")
    for path, item in values.items():
        source.put(path.split("."), item)
    return source
