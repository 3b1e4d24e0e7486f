"""Finds mistakes in a recipe without data. Each mistake is a line that starts with the path of the setting."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, Protocol

from sklearn.metrics import get_scorer, get_scorer_names

from job.config.settings import RecipeSettings, ValidationSettings
from job.fit import targets
from job.fit.traits import Traits, as_tuple, named_columns, usable

_SCORERS = {
    "rmse": "neg_root_mean_squared_error",
    "mse": "neg_mean_squared_error",
    "mae": "neg_mean_absolute_error",
    "mape": "neg_mean_absolute_percentage_error",
    "auc": "roc_auc",
    "logloss": "neg_log_loss",
    "log_loss": "neg_log_loss",
}
_KINDS = {("r2",): "a regressor", ("accuracy",): "a classifier", (): "neither regressor nor classifier"}
_OF_CLASSES = (
    "accuracy",
    "balanced_accuracy",
    "f1",
    "jaccard",
    "matthews_corrcoef",
    "neg_negative_likelihood_ratio",
    "positive_likelihood_ratio",
    "precision",
    "recall",
)
"""beginnings of the names of scorers of predicted classes; scorers of probabilities are known by their method"""


class Described(Protocol):
    """The part of a `job.fit.recipe.Recipe` that is checked here: a protocol, as that class imports this module."""

    @property
    def features(self) -> str | tuple[str, ...] | None:
        """Column names."""

    @property
    def target(self) -> str | tuple[str, ...] | None:
        """Column names."""

    @property
    def estimator(self) -> dict[str, Any] | None:
        """The ``_target_`` document."""

    @property
    def fallback(self) -> dict[str, Any] | None:
        """The ``_target_`` document for partitions that are too small."""

    @property
    def sample_weight(self) -> str | None:
        """The column of row weights."""

    @property
    def validation(self) -> ValidationSettings:
        """How a fit is scored."""

    @property
    def metrics(self) -> tuple[str, ...] | None:
        """Scorer names."""

    @property
    def allow(self) -> frozenset[str]:
        """Further packages that ``_target_`` may name."""

    @property
    def traits(self) -> Traits | None:
        """The traits of the estimator; None for a function."""

    @property
    def baseline(self) -> dict[str, Any] | None:
        """The ``_target_`` document of the baseline."""

    @property
    def baseline_traits(self) -> Traits | None:
        """The traits of a baseline that is an estimator."""

    @property
    def season(self) -> int | None:
        """The number of rows of a season, for a seasonal naive baseline."""

    @property
    def fallback_traits(self) -> Traits | None:
        """The traits of the fallback."""

    def build(self, seed: int) -> Any:
        """A new unfitted estimator."""


def of_settings(settings: RecipeSettings) -> list[str]:
    """Mistakes in the estimators and in the names of scorers; other settings may be wrong."""
    return of_documents(settings) + of_scorers(settings.metrics or ())


def of_documents(settings: RecipeSettings) -> list[str]:
    """Mistakes in the ``_target_`` documents of a recipe; other settings may be wrong."""
    given = {"recipe.estimator": settings.estimator, "recipe.fallback": settings.fallback}
    if settings.baseline is not None and "seasonal_naive" not in settings.baseline:
        given["recipe.baseline"] = settings.baseline
    return [
        line for path, node in given.items() if node is not None for line in of_estimator(node, path, settings.allow)
    ]


def of_estimator(node: dict[str, Any], path: str, allow: list[str]) -> list[str]:
    """Mistakes in a ``_target_`` document, each with its path."""
    if "_target_" not in node:
        return [
            f"{path}: needs _target_, the dotted name of a class, for example sklearn.linear_model.LinearRegression"
        ]
    problems = targets.check(node, path, allow)
    if not problems:
        built = targets.build(node, frozenset(allow))
        if isinstance(built, type) or not hasattr(built, "fit"):
            problems.append(f"{path}: {node['_target_']} is not an estimator: it has no fit")
        else:
            problems += _of_use(built, path)
    return problems


def _of_use(estimator: Any, path: str) -> list[str]:
    """A mistake if the estimator's models could not be applied to new rows."""
    last = estimator.steps[-1][1] if type(estimator).__name__ == "Pipeline" and estimator.steps else estimator
    if getattr(last, "refit", True) is False:
        return [f"{path}: with refit: false a {type(last).__name__} has no model; name the metric to refit by"]
    if not usable(estimator):
        hint = "; set novelty: true" if hasattr(last, "novelty") else ""
        return [f"{path}: a {type(last).__name__} can neither predict nor transform other rows{hint}"]
    return []


def of_columns(recipe: Described) -> list[str]:
    """Mistakes in the names of the columns."""
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


def of_scorers(names: Iterable[str]) -> list[str]:
    """Mistakes in the names of the scorers."""
    problems = []
    known = get_scorer_names()
    for name in names:
        if name not in known:
            close = (
                [_SCORERS[name.lower()]] if name.lower() in _SCORERS else difflib.get_close_matches(name, known, 1, 0.5)
            )
            meant = f"; is {close[0]!r} meant?" if close else "; see scikit-learn's scorer names"
            problems.append(f"recipe.metrics: there is no scorer {name!r}{meant}")
    return problems


def of_metrics(recipe: Described) -> list[str]:
    """Mistakes in the choice of scorers."""
    problems = of_scorers(recipe.metrics or ())
    if recipe.metrics and recipe.target is None:
        problems.append("recipe.metrics: scorers need recipe.target")
    if recipe.validation.method != "none" and recipe.target is None:
        problems.append(f"recipe.validation: {recipe.validation.method!r} needs recipe.target to score against")
    if recipe.baseline is not None and recipe.target is None:
        problems.append("recipe.baseline: a comparison needs recipe.target")
    if recipe.validation.intervals and recipe.target is not None and not isinstance(recipe.target, str):
        problems.append("recipe.validation.intervals: are for one target")
    return problems


def _of_classes(name: str) -> bool:
    """Whether a scorer is only for classifiers. Other scorers may be for both, because classes may be numbers."""
    asked = getattr(get_scorer(name), "_response_method", "predict")
    return asked == "predict_proba" or (asked == "predict" and name.startswith(_OF_CLASSES))


def _of_names(recipe: Described, node: dict[str, Any] | None, path: str) -> list[str]:
    """Mistakes in a column transformer: it names columns that are not among the features."""
    if node is None or not isinstance(recipe.features, tuple):
        return []
    features = list(recipe.features)
    problems = []
    for name in dict.fromkeys(named_columns(targets.build(node, recipe.allow))):
        if name not in features:
            close = difflib.get_close_matches(name, features, 1, 0.6)
            meant = f"; is {close[0]!r} meant?" if close else ""
            problems.append(f"{path}: a ColumnTransformer takes {name!r}, which is not in recipe.features{meant}")
    return problems


def of_fit(recipe: Described) -> list[str]:
    """Mistakes in the combination of estimator, scorers, weights, validation, baseline and fallback."""
    traits = recipe.traits
    if traits is None:
        if recipe.validation.method != "none" and not recipe.metrics:
            return ["recipe.metrics: name the scorers that validate recipe.function"]
        if (recipe.baseline or recipe.validation.intervals) and recipe.features is None:
            return ["recipe.features: name the columns that the function's model predicts from, to judge it"]
        return ["recipe.sample_weight: a function takes the weights from its frame"] if recipe.sample_weight else []
    problems = _of_names(recipe, recipe.estimator, "recipe.estimator")
    problems += _of_names(recipe, recipe.fallback, "recipe.fallback")
    if traits.metrics == ("r2",):
        problems += [
            f"recipe.metrics: {name!r} is for classifiers, and {traits.kind.__name__} is a regressor; 'r2' and "
            "'neg_mean_absolute_error' are for regressors"
            for name in recipe.metrics or ()
            if _of_classes(name)
        ]
    if recipe.sample_weight is not None and traits.weight is None:
        problems.append(f"recipe.sample_weight: {traits.kind.__name__} takes no row weights")
    baseline = recipe.baseline_traits
    if baseline is not None and baseline.metrics != traits.metrics:
        problems.append(
            f"recipe.baseline: {baseline.kind.__name__} is {_KINDS[baseline.metrics]},"
            f" and {traits.kind.__name__} is {_KINDS[traits.metrics]}"
        )
    if recipe.season is not None and traits.metrics != ("r2",):
        problems.append("recipe.baseline: seasonal_naive is for regressors")
    if recipe.validation.intervals and traits.metrics != ("r2",):
        problems.append(f"recipe.validation.intervals: are for regressors, and {traits.kind.__name__} is none")
    if recipe.validation.stratified and not traits.classifier:
        problems.append(f"recipe.validation.stratified: is for classifiers, and {traits.kind.__name__} is none")
    fallback = recipe.fallback_traits
    if recipe.sample_weight is not None and fallback is not None and fallback.weight is None:
        problems.append(f"recipe.fallback: {fallback.kind.__name__} takes no row weights (recipe.sample_weight)")
    if fallback is not None and fallback.metrics != traits.metrics:
        problems.append(
            f"recipe.fallback: {fallback.kind.__name__} is {_KINDS[fallback.metrics]},"
            f" and {traits.kind.__name__} is {_KINDS[traits.metrics]}"
        )
    if traits.metrics and recipe.target is None and not _needs_no_target(recipe):
        problems.append(f"recipe.target: {traits.kind.__name__} needs the column to predict")
    return problems


def of_gate(recipe: Described, metric: str) -> list[str]:
    """Mistakes in the metric by which a new model is compared with the live one."""
    traits = recipe.traits
    if recipe.target is None:
        return ["promote.metric: a comparison needs recipe.target"]
    if traits is None:
        if recipe.features is None:
            return ["recipe.features: name the columns that the function's model predicts from, to compare it"]
        return []
    if _of_classes(metric) != traits.classifier:
        kind = "regressors" if traits.classifier else "classifiers"
        return [f"promote.metric: {metric!r} is for {kind}, and {traits.kind.__name__} is {_KINDS[traits.metrics]}"]
    if metric == "neg_log_loss" and not hasattr(recipe.build(0), "predict_proba"):
        return [f"promote.metric: {metric!r} needs probabilities, and {traits.kind.__name__} gives none"]
    return []


def _needs_no_target(recipe: Described) -> bool:
    tags = getattr(recipe.build(0), "__sklearn_tags__", None)
    return tags is None or not tags().target_tags.required
