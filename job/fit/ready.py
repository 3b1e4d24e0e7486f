"""Prepares rows for a fit by the checks and policies of the recipe, without fitting. Pure."""

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
    """Rows that can be fitted, and what they are fitted with."""

    table: pa.Table
    """the rows to fit on; the caller deletes this attribute after making a frame of it, to free the memory"""
    traits: Traits
    """the traits of the estimator, or of the fallback"""
    build: Callable[[int], Any]
    """builds the estimator from a seed"""
    metrics: tuple[str, ...]
    """scorer names; none for the fallback"""
    method: str
    """the method of the validation; ``none`` for the fallback"""
    baseline: Traits | None
    """the traits of the baseline; None without one, or if it is no estimator"""
    constant: bool
    """whether a target has one value only"""
    weights: Any
    """weights of the rows, shape (n,), or None"""


def readied(table: pa.Table, recipe: Recipe, traits: Traits, names: tuple[str, ...], notes: list[str]) -> Ready:
    """Check the rows of a partition, and choose the rows, the estimator and the validation of its fit.

    Parameters
    ----------
    table
        All rows of a partition.
    recipe
        A recipe with an estimator.
    traits
        The traits of the estimator.
    names
        Names of the features.
    notes
        A list to which warnings are added.

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
    """Raise the error that a fit of these rows would raise, if it can be found without a fit.

    Returns
    -------
    list of str
        The warnings of a fit.

    Raises
    ------
    PartitionError, SkipPartition
        See `job.fit.train.train`.
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
