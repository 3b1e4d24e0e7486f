"""Prepares rows for a fit: the checks and policies of the recipe. Fits nothing. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from job.errors import SkipPartition
from job.fit import checks, validation
from job.fit.recipe import Recipe
from job.fit.traits import Traits, as_tuple
from job.words import counted


@dataclass(kw_only=True)
class Ready:
    """Rows that can be fitted, and with what."""

    table: pa.Table
    """the rows that are left; deleted by who makes a frame of them, which needs the memory"""
    traits: Traits
    """of the estimator, or of the fallback"""
    build: Callable[[int], Any]
    """builds the estimator from a seed"""
    metrics: tuple[str, ...]
    """names of its metrics"""
    method: str
    """the method of its validation"""
    baseline: Traits | None
    """of the baseline, if there is one that is an estimator"""
    constant: bool
    """a target has one value only"""
    weights: Any
    """weights of the rows, or None"""


def readied(table: pa.Table, recipe: Recipe, traits: Traits, names: tuple[str, ...], notes: list[str]) -> Ready:
    """The rows that the recipe fits on.

    Parameters
    ----------
    table
        All rows of a partition.
    recipe
        With an estimator.
    traits
        Of the estimator.
    names
        The features.
    notes
        Takes what is to be told.

    Raises
    ------
    PartitionError
        The rows cannot be trained on.
    SkipPartition
        ``too_few_rows``.
    """
    if recipe.features is None and "" in table.column_names:
        notes.append("a column without a name is not used as a feature")
    build: Callable[[int], Any] = recipe.build
    metrics = recipe.metrics if recipe.metrics is not None else traits.metrics
    if not traits.raw:
        checks.numeric(table, names, "feature", categories=traits.categories)
    targets = as_tuple(recipe.target)
    doubtful = checks.suspects(table, names + targets)
    table = checks.rows_kept(table, doubtful, traits, recipe, notes)
    smallest = recipe.smallest(len(names))
    method, baseline = recipe.validation.method, recipe.baseline_traits
    if table.num_rows < smallest:
        message = f"{counted(table.num_rows, 'row')}, and at least {smallest} are needed"
        if recipe.fallback_traits is None or not table.num_rows:
            raise SkipPartition(
                "too_few_rows", message, hint="recipe.min_rows sets the least, recipe.fallback what then."
            )
        traits, build = recipe.fallback_traits, recipe.build_fallback
        metrics, method, baseline = (), "none", None
        if not traits.raw:
            checks.numeric(table, names, "feature", categories=traits.categories)
        notes.append(f"fallback: {message}; {traits.kind.__name__} instead")
    checks.no_infinite(table, [each for each in doubtful if each in names], "feature")
    checks.no_infinite(table, [each for each in doubtful if each in targets], "target")
    if not traits.classifier and traits.metrics:
        checks.numeric(table, targets, "target")
    constant = checks.constant_target(table, recipe, notes)
    weights = checks.weights(table, recipe.sample_weight)
    return Ready(
        table=table,
        traits=traits,
        build=build,
        metrics=metrics,
        method=method,
        baseline=baseline,
        constant=constant,
        weights=weights,
    )


def check(table: pa.Table, recipe: Recipe) -> list[str]:
    """Raise the error that a fit of these rows would raise, as far as it can be told without a fit.

    Returns
    -------
    list of str
        What a fit would warn of.

    Raises
    ------
    PartitionError, SkipPartition
        As `job.fit.train.train`.
    """
    notes: list[str] = []
    traits = recipe.traits
    named = as_tuple(recipe.features) + as_tuple(recipe.target)
    names = checks.columns(table, recipe) if traits is not None or named else ()
    if not table.num_rows:
        raise SkipPartition("empty", "there is no row")
    if traits is not None:
        rows = readied(table, recipe, traits, names, notes)
        table, method = rows.table, rows.method
    else:
        smallest, method = recipe.smallest(0), recipe.validation.method
        if table.num_rows < smallest:
            message = f"{counted(table.num_rows, 'row')}, and at least {smallest} are needed"
            raise SkipPartition("too_few_rows", message, hint="recipe.min_rows sets the least.")
    if method != "none":
        validation.order_of(recipe, table)
        validation.groups_of(recipe, table)
    return notes
