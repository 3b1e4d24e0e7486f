"""A recipe: what is fitted on each partition, as plain data that travels to executors.

``Recipe.from_settings`` finds every mistake before anything runs; ``build`` makes a new unfitted estimator, seeded and
single-threaded; ``plan`` holds what can be known about it beforehand, so that a fit does not find it out again.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sklearn.metrics import get_scorer_names

from job import function, targets, traits
from job.errors import ConfigurationError
from job.function import UserFunction
from job.settings import RecipeSettings, ValidationSettings

_STRIDE = 0x9E3779B1
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "numpy": "numpy", "scipy": "scipy", "pandas": "pandas", "joblib": "joblib"}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is known about an estimator before it meets data."""

    kind: type
    """its class"""
    seeds: tuple[str, ...]
    """parameters that get a seed"""
    splitters: tuple[str, ...]
    """parameters that hold a splitter that gets a seed"""
    parallel: tuple[str, ...]
    """parameters set to 1"""
    text: bool
    """wants one column of texts"""
    table: bool
    """a single column must be a table nevertheless"""
    raw: bool
    """takes columns that are not numbers"""
    missing: bool
    """imputes, or is made for missing values"""
    metrics: tuple[str, ...]
    """scorers by default"""
    weight: str | None
    """how ``fit`` calls row weights"""
    classifier: bool
    """predicts classes"""

    @classmethod
    def of(cls, estimator: Any) -> Plan:
        """The plan for an estimator as it was built."""
        metrics = traits.default_metrics(estimator)
        return cls(
            kind=type(estimator),
            seeds=traits.open_seeds(estimator),
            splitters=traits.open_splitters(estimator),
            parallel=traits.parallel(estimator),
            text=traits.is_text(estimator),
            table=traits.wants_table(estimator),
            raw=traits.takes_raw(estimator),
            missing=traits.allows_missing(estimator),
            metrics=metrics,
            weight=traits.weight_argument(estimator),
            classifier=metrics == ("accuracy",),
        )


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
    """or the user's function"""
    version: str | None = None
    """any text of the user's"""
    sample_weight: str | None = None
    """the column of row weights"""
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    """how a fit is scored"""
    metrics: tuple[str, ...] | None = None
    """scorer names; None for the default of the estimator's kind"""
    min_rows: int | None = None
    """as set; see `smallest`"""
    fallback: dict[str, Any] | None = None
    """the ``_target_`` document for partitions that are too small"""
    missing: str = "auto"
    """auto, fail, allow or drop"""
    drop_null_target: bool = False
    """rows without a target are dropped"""
    constant_target: str = "warn"
    """warn or fail"""
    allow: frozenset[str] = frozenset()
    """further importable packages"""

    @classmethod
    def from_settings(cls, settings: RecipeSettings, *, base: Path | None = None) -> Recipe:
        """The recipe of the settings, checked as far as can be without data.

        Parameters
        ----------
        settings
            The ``recipe`` section.
        base
            The folder that paths of code start from; default the working directory.

        Raises
        ------
        ConfigurationError
            ``problems`` holds every mistake, each with its path.
        """
        problems: list[str] = []
        user = None
        if settings.function is not None:
            try:
                user = function.from_settings(settings.function, settings.code, base or Path.cwd())
            except ConfigurationError as error:
                problems.append(" ".join(str(error).split("\n  ")))
        elif settings.code:
            problems.append("recipe.code: belongs to recipe.function, and there is none")
        if settings.estimator is not None:
            problems += _estimator_problems(settings.estimator, "recipe.estimator", settings.allow)
        if settings.fallback is not None:
            problems += _estimator_problems(settings.fallback, "recipe.fallback", settings.allow)
        recipe = cls(
            features=settings.features if isinstance(settings.features, str) else _tuple(settings.features),
            target=_one_or_many(settings.target),
            estimator=settings.estimator,
            function=user,
            version=settings.version,
            sample_weight=settings.sample_weight,
            validation=settings.validation,
            metrics=_tuple(settings.metrics),
            min_rows=settings.min_rows,
            fallback=settings.fallback,
            missing=settings.missing,
            drop_null_target=settings.drop_null_target,
            constant_target=settings.constant_target,
            allow=frozenset(settings.allow),
        )
        problems += _column_problems(recipe)
        problems += _metric_problems(recipe)
        if not problems:
            problems += _fit_problems(recipe)
        if problems:
            raise ConfigurationError("the recipe cannot be used:\n  " + "\n  ".join(problems), problems=tuple(problems))
        return recipe

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name in self.__dataclass_fields__}

    @cached_property
    def plan(self) -> Plan | None:
        """What is known about the estimator; None for a function."""
        return None if self.estimator is None else Plan.of(targets.build(self.estimator, self.allow))

    @cached_property
    def fallback_plan(self) -> Plan | None:
        """The same for the fallback."""
        return None if self.fallback is None else Plan.of(targets.build(self.fallback, self.allow))

    def build(self, seed: int) -> Any:
        """A new unfitted estimator: every open ``random_state`` from ``seed``, every ``n_jobs`` 1."""
        assert self.estimator is not None
        assert self.plan is not None
        return _seeded(targets.build(self.estimator, self.allow), self.plan, seed)

    def build_fallback(self, seed: int) -> Any:
        """The same for the fallback."""
        assert self.fallback is not None
        assert self.fallback_plan is not None
        return _seeded(targets.build(self.fallback, self.allow), self.fallback_plan, seed)

    def columns(self) -> tuple[str, ...] | None:
        """The columns that are read, or None for all."""
        if self.function is not None or self.features is None:
            return None
        extra = (self.sample_weight, self.validation.column)
        named = (*as_tuple(self.features), *as_tuple(self.target), *(each for each in extra if each))
        return tuple(dict.fromkeys(named))

    def smallest(self, features: int) -> int:
        """The number of rows below which a partition is too small."""
        if self.min_rows is not None:
            return self.min_rows
        if self.function is not None:
            return 1
        folds = self.validation.folds if self.validation.method == "kfold" else 2
        return max(2, features + 1, folds)

    def fingerprint_part(self) -> dict[str, Any]:
        """Plain data that identifies what is fitted: equal parts, equal models on equal data."""
        code = None
        if self.function is not None:
            code = {"name": self.function.name, "digest": self.function.digest}
            if not self.function.module.startswith(function.SHIPPED):
                code["module"] = self.function.module
        return {
            "estimator": self.estimator,
            "function": code,
            "fallback": self.fallback,
            "packages": {root: function.package_digest(root) for root in self._local_roots()},
            "features": list(self.features) if isinstance(self.features, tuple) else self.features,
            "target": list(self.target) if isinstance(self.target, tuple) else self.target,
            "version": self.version,
            "sample_weight": self.sample_weight,
            "validation": self.validation.model_dump(mode="json"),
            "metrics": None if self.metrics is None else list(self.metrics),
            "min_rows": self.min_rows,
            "missing": self.missing,
            "drop_null_target": self.drop_null_target,
            "constant_target": self.constant_target,
        }

    def imports(self) -> dict[str, str]:
        """The distributions that the recipe imports, name to version."""
        roots = self._roots() | {"sklearn", "numpy", "scipy", "joblib"}
        owners = _owners(roots)
        return {name: importlib.metadata.version(name) for root in sorted(roots) for name in owners.get(root, ())}

    def _roots(self) -> set[str]:
        roots = {name.split(".")[0] for node in (self.estimator, self.fallback) for name in targets.names(node)}
        if self.function is not None:
            roots |= set(self.function.imports)
            if not self.function.module.startswith(function.SHIPPED):
                roots.add(self.function.module.split(".")[0])
        return roots - {"job"}

    def _local_roots(self) -> list[str]:
        """Packages that ``_target_`` names and that no installed distribution has a version for."""
        named = {name.split(".")[0] for node in (self.estimator, self.fallback) for name in targets.names(node)}
        owners = _owners(named)
        return sorted(root for root in named if root not in owners)


def as_tuple(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """Column names as a tuple, however they were given."""
    return () if value is None else (value,) if isinstance(value, str) else value


def _tuple(value: list[str] | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(value)


def _one_or_many(value: str | list[str] | None) -> str | tuple[str, ...] | None:
    if isinstance(value, list):
        return value[0] if len(value) == 1 else tuple(value) or None
    return value


def _seeded(estimator: Any, plan: Plan, seed: int) -> Any:
    if plan.seeds or plan.parallel:
        # Each gets its own: members of a vote that are alike must not be the same.
        given = {name: (seed + number * _STRIDE) % 2**32 for number, name in enumerate(plan.seeds)}
        estimator.set_params(**given, **dict.fromkeys(plan.parallel, 1))
    if plan.splitters:
        found = estimator.get_params(deep=True)
        for name in plan.splitters:
            found[name].random_state = seed
    return estimator


def _owners(roots: set[str]) -> dict[str, list[str]]:
    known = {root: [_DISTRIBUTIONS[root]] for root in roots if root in _DISTRIBUTIONS}
    if roots - known.keys() - set(sys.stdlib_module_names):
        found = importlib.metadata.packages_distributions()
        known |= {root: sorted(set(found[root])) for root in roots if root not in known and root in found}
    return known


def _estimator_problems(node: dict[str, Any], path: str, allow: list[str]) -> list[str]:
    if "_target_" not in node:
        return [
            f"{path}: needs _target_, the dotted name of a class, for example sklearn.linear_model.LinearRegression"
        ]
    problems = targets.check(node, path, allow)
    if not problems:
        built = targets.build(node, frozenset(allow))
        if isinstance(built, type) or not hasattr(built, "fit"):
            problems.append(f"{path}: {node['_target_']} is not an estimator: it has no fit")
    return problems


def _column_problems(recipe: Recipe) -> list[str]:
    problems = []
    features, target = as_tuple(recipe.features), as_tuple(recipe.target)
    if isinstance(recipe.features, tuple) and not features:
        problems.append("recipe.features: is empty; leave it out for all columns but the target")
    for name, values in (("features", features), ("target", target)):
        twice = sorted({each for each in values if values.count(each) > 1})
        if twice:
            problems.append(f"recipe.{name}: {', '.join(map(repr, twice))} is there twice")
    both = [repr(each) for each in features if each in target]
    if both:
        problems.append(f"recipe.target: {', '.join(both)} is a feature, too")
    if recipe.sample_weight is not None and recipe.sample_weight in target:
        problems.append(f"recipe.sample_weight: {recipe.sample_weight!r} is the target")
    return problems


def _metric_problems(recipe: Recipe) -> list[str]:
    problems = []
    known = get_scorer_names()
    for name in recipe.metrics or ():
        if name not in known:
            close = difflib.get_close_matches(name, known, 1, 0.5)
            meant = f"; is {close[0]!r} meant?" if close else "; see scikit-learn's scorer names"
            problems.append(f"recipe.metrics: there is no scorer {name!r}{meant}")
    if recipe.metrics and recipe.target is None:
        problems.append("recipe.metrics: scorers need recipe.target")
    if recipe.validation.method != "none" and recipe.target is None:
        problems.append(f"recipe.validation: {recipe.validation.method!r} needs recipe.target to score against")
    return problems


def _fit_problems(recipe: Recipe) -> list[str]:
    """What only the estimator as a whole can tell."""
    plan = recipe.plan
    if plan is None:
        if recipe.validation.method != "none" and not recipe.metrics:
            return ["recipe.metrics: name the scorers that validate recipe.function"]
        return ["recipe.sample_weight: a function takes the weights from its frame"] if recipe.sample_weight else []
    problems = []
    if recipe.sample_weight is not None and plan.weight is None:
        problems.append(f"recipe.sample_weight: {plan.kind.__name__} takes no row weights")
    if plan.metrics and recipe.target is None and not _needs_no_target(recipe):
        problems.append(f"recipe.target: {plan.kind.__name__} needs the column to predict")
    return problems


def _needs_no_target(recipe: Recipe) -> bool:
    tags = getattr(recipe.build(0), "__sklearn_tags__", None)
    return tags is None or not tags().target_tags.required
