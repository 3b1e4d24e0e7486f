"""A recipe: what is fitted on each partition, as plain data that is sent to executors.

``Recipe.from_settings`` finds every mistake before anything runs. ``build`` makes a new unfitted estimator, seeded and
single-threaded. ``traits`` holds the facts about the estimator, so that they are not computed again for each fit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from job.config.settings import RecipeSettings, ValidationSettings
from job.errors import ConfigurationError
from job.fit import recipe_mistakes, targets, user_function
from job.fit.traits import Traits, as_tuple
from job.fit.user_function import UserFunction
from job.fit.watched_code import CORE, Watched, watched

_STRIDE = 0x9E3779B1


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is fitted on each partition."""

    features: str | tuple[str, ...] | None = None
    """column names, None for all others; a bare name gives a text vectoriser its 1-D column"""
    target: str | tuple[str, ...] | None = None
    """one column, several, or none"""
    estimator: dict[str, Any] | None = None
    """the ``_target_`` document"""
    function: UserFunction | None = None
    """the user's function, in place of an estimator"""
    version: str | None = None
    """any text of the user, a part of the fingerprint"""
    sample_weight: str | None = None
    """the column of row weights"""
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    """how a fit is scored"""
    baseline: dict[str, Any] | None = None
    """the ``_target_`` document of the baseline, or ``seasonal_naive`` with the number of rows of a season"""
    metrics: tuple[str, ...] | None = None
    """scorer names; None for the default of the estimator's kind"""
    min_rows: int | None = None
    """the least number of rows, None if not set; see `smallest`"""
    fallback: dict[str, Any] | None = None
    """the ``_target_`` document for partitions that are too small"""
    missing: str = "auto"
    """auto, fail, allow or drop"""
    drop_null_target: bool = False
    """whether rows without a target are dropped"""
    constant_target: str = "warn"
    """warn or fail"""
    allow: frozenset[str] = frozenset()
    """further packages that ``_target_`` may name"""

    @classmethod
    def from_settings(cls, settings: RecipeSettings, *, base: Path | None = None) -> Recipe:
        """Make the recipe of the settings. Checks everything that can be checked without data.

        Parameters
        ----------
        settings
            The ``recipe`` section.
        base
            The folder for relative paths of code; default the working directory.

        Raises
        ------
        ConfigurationError
            The recipe has mistakes; ``problems`` holds each of them with the path of its setting.
        """
        problems: list[str] = []
        user = None
        if settings.function is not None:
            try:
                user = user_function.from_settings(settings.function, settings.code, base or Path.cwd())
            except ConfigurationError as error:
                problems.append(". ".join(str(error).split("\n  ")))
        elif settings.code:
            problems.append("recipe.code: belongs to recipe.function, and there is none")
        problems += recipe_mistakes.of_documents(settings)
        recipe = cls(
            features=settings.features if isinstance(settings.features, str) else _tuple(settings.features),
            target=_one_or_many(settings.target),
            estimator=settings.estimator,
            function=user,
            version=settings.version,
            sample_weight=settings.sample_weight,
            validation=settings.validation,
            baseline=settings.baseline,
            metrics=_tuple(settings.metrics),
            min_rows=settings.min_rows,
            fallback=settings.fallback,
            missing=settings.missing,
            drop_null_target=settings.drop_null_target,
            constant_target=settings.constant_target,
            allow=frozenset(settings.allow),
        )
        problems += recipe_mistakes.of_columns(recipe)
        problems += recipe_mistakes.of_metrics(recipe)
        if not problems:
            problems += recipe_mistakes.of_fit(recipe)
        if problems:
            raise ConfigurationError("the recipe cannot be used:\n  " + "\n  ".join(problems), problems=tuple(problems))
        return recipe

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name in self.__dataclass_fields__}

    @cached_property
    def traits(self) -> Traits | None:
        """The traits of the estimator; None for a function."""
        return None if self.estimator is None else Traits.of(targets.build(self.estimator, self.allow))

    @cached_property
    def fallback_traits(self) -> Traits | None:
        """The traits of the fallback, or None."""
        return None if self.fallback is None else Traits.of(targets.build(self.fallback, self.allow))

    @cached_property
    def baseline_traits(self) -> Traits | None:
        """The traits of the baseline; None without one, or if it is the seasonal naive forecast."""
        if self.baseline is None or self.season is not None:
            return None
        return Traits.of(targets.build(self.baseline, self.allow))

    @property
    def foreign(self) -> bool:
        """Whether the recipe runs code that is neither manyfit's nor scikit-learn's."""
        known = (self.traits, self.fallback_traits, self.baseline_traits)
        return self.function is not None or any(each is not None and each.foreign for each in known)

    @property
    def season(self) -> int | None:
        """The number of rows of a season if the baseline is the seasonal naive forecast, else None."""
        return None if self.baseline is None else self.baseline.get("seasonal_naive")

    def build(self, seed: int) -> Any:
        """A new unfitted estimator. An unset ``random_state`` comes from ``seed``; ``n_jobs`` is 1, ``memory`` None."""
        assert self.estimator is not None
        assert self.traits is not None
        return _seeded(targets.build(self.estimator, self.allow), self.traits, seed)

    def build_fallback(self, seed: int) -> Any:
        """A new unfitted fallback, with parameters set as in `build`."""
        assert self.fallback is not None
        assert self.fallback_traits is not None
        return _seeded(targets.build(self.fallback, self.allow), self.fallback_traits, seed)

    def build_baseline(self, seed: int) -> Any:
        """A new unfitted baseline, with parameters set as in `build`; only for a baseline that is an estimator."""
        assert self.baseline is not None
        assert self.baseline_traits is not None
        return _seeded(targets.build(self.baseline, self.allow), self.baseline_traits, seed)

    def columns(self) -> tuple[str, ...] | None:
        """The columns that are read, or None for all."""
        if self.function is not None or self.features is None:
            return None
        extra = (self.sample_weight, self.validation.column, self.validation.groups)
        named = (*as_tuple(self.features), *as_tuple(self.target), *(each for each in extra if each))
        return tuple(dict.fromkeys(named))

    def texts(self) -> tuple[str, ...]:
        """The columns of the recipe that stay texts even if all values look like numbers."""
        if self.traits is None:
            return ()
        return tuple(sorted({*self.traits.words, *(as_tuple(self.features) if self.traits.text else ())}))

    def smallest(self, features: int) -> int:
        """The least number of rows of a partition, for this number of features."""
        if self.min_rows is not None:
            return self.min_rows
        if self.function is not None:
            return 1
        folds = self.validation.folds if self.validation.method == "kfold" else 2
        return max(2, features + 1, folds) + self._ahead()

    def _ahead(self) -> int:
        """The number of rows after those that the oldest window of a backtest by rows fits on; 0 without one."""
        chosen = self.validation
        if chosen.method != "backtest" or not isinstance(chosen.horizon, int):
            return 0
        step = chosen.horizon if chosen.step is None else int(chosen.step)
        return chosen.horizon + (chosen.windows - 1) * step + int(chosen.gap or 0)

    def fingerprint_part(self) -> dict[str, Any]:
        """Plain data that identifies the recipe: with equal parts and equal data, models are equal."""
        code = None if self.function is None else self.function.fingerprint_part()
        return {
            "estimator": _plain(self.estimator),
            "function": code,
            "fallback": _plain(self.fallback),
            "packages": self.watched.packages,
            "features": list(self.features) if isinstance(self.features, tuple) else self.features,
            "target": list(self.target) if isinstance(self.target, tuple) else self.target,
            "version": self.version,
            "sample_weight": self.sample_weight,
            "validation": self.validation.counted(ValidationSettings.FIRST),
            "metrics": None if self.metrics is None else list(self.metrics),
            "min_rows": self.min_rows,
            "missing": self.missing,
            "drop_null_target": self.drop_null_target,
            "constant_target": self.constant_target,
            # Models that may come from an old cache of scikit-learn (``memory``) are trained again.
            **({"memory": "off"} if self.traits is not None and self.traits.caches else {}),
            # Version 0.1 did not shuffle the folds, so its scores are not comparable.
            **({"folds": "shuffled"} if self.validation.method == "kfold" else {}),
            **({} if self.baseline is None else {"baseline": _plain(self.baseline)}),
        }

    def imports(self) -> dict[str, str]:
        """The distributions that the recipe imports, name to version."""
        return self.watched.versions

    @cached_property
    def watched(self) -> Watched:
        """The code that the recipe runs, with digests or versions that show a change of it."""
        roots = self._roots() | (CORE.keys() - {"pandas"})
        if self.function is None:
            return watched(roots, ())
        return self.function.watched(roots)

    def _roots(self) -> set[str]:
        nodes = (self.estimator, self.fallback, None if self.season else self.baseline)
        roots = {name.split(".")[0] for node in nodes for name in targets.names(node)}
        if self.function is not None:
            roots |= self.function.roots()
        return roots - {"job"}


def _tuple(value: list[str] | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(value)


def _one_or_many(value: str | list[str] | None) -> str | tuple[str, ...] | None:
    if isinstance(value, list):
        return value[0] if len(value) == 1 else tuple(value) or None
    return value


def _plain(node: Any) -> Any:
    """A document as JSON can hold it: a mapping with keys that are no texts becomes a list of pairs."""
    if isinstance(node, list | tuple):
        return [_plain(each) for each in node]
    if not isinstance(node, dict):
        return node
    if all(isinstance(name, str) for name in node):
        return {name: _plain(each) for name, each in node.items()}
    return {"_pairs_": [[name, _plain(each)] for name, each in node.items()]}


def _seeded(estimator: Any, traits: Traits, seed: int) -> Any:
    if traits.seeds or traits.parallel or traits.caches:
        # Each parameter gets its own seed: equal members of a voting estimator must not make equal fits.
        given = {name: (seed + number * _STRIDE) % 2**32 for number, name in enumerate(traits.seeds)}
        estimator.set_params(**given, **dict.fromkeys(traits.parallel, 1), **dict.fromkeys(traits.caches))
    if traits.splitters:
        found = estimator.get_params(deep=True)
        for name in traits.splitters:
            found[name].random_state = seed
    return estimator
