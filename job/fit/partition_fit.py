"""Makes the model of one partition in memory: decode, train, serialise. Nothing here accesses a store.

This is the one place where any failure of a partition becomes a `Result` instead of an exception.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from job import reader
from job.config.settings import ArtifactSettings
from job.errors import PartitionError, SkipPartition
from job.fit import artifact, train
from job.fit.contained import contained
from job.fit.contest import Against, Champion
from job.fit.fitted import Contest, Fitted
from job.fit.recipe import Recipe
from job.outcome import FAILED, SKIPPED, TRAINED, champion_token
from job.reader import exact, order, times

_TRACEBACK_LIMIT = 20_000


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """The recipe and settings for fitting the partitions of a job; sent to executors and guarded children."""

    recipe: Recipe
    """what is fitted"""
    spec: reader.ReadSpec
    """how bytes become a table"""
    artifact: ArtifactSettings
    """how the model is serialised and checked"""
    seed: int
    """the run's seed"""
    on_empty: str
    """``skip`` or ``fail``: the result of a partition without rows"""
    gate: str | None = None
    """the metric by which a new model is compared with the live one; None without a gate"""


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of one partition."""

    status: str
    reason: str | None = None
    message: str | None = None
    traceback: str | None = None
    artifact: bytes | None = None
    """the bytes of the model file, to be uploaded"""
    digest: str | None = None
    table: Any = None
    """result rows as a table, for operations that put the results of several keys as one object"""
    rows: int | None = None
    read: int | None = None
    """number of rows read, for operations that may write fewer rows"""
    metrics: str | None = None
    warnings: str | None = None
    seconds: float | None = None
    judged: Mapping[str, Any] = field(default_factory=dict)
    """columns of `job.outcome.Outcome`: the results on held-out rows and of the gate, and the estimator's class"""


def fit_rows(fitting: Fitting, key: str, rows: Callable[[], Any], champion: Champion | None = None) -> Result:
    """Train one partition. Errors of the data or the recipe become a failed result; they are never raised.

    ``rows`` reads the rows. It should keep no reference to them or to their bytes, because the fit needs the memory.
    """
    try:
        return _fitted(fitting, rows, key, champion)
    except MemoryError as error:
        return failed("oom", f"out of memory: {error or 'MemoryError'}", traceback.format_exc())
    except Exception as error:
        return of_error(fitting.on_empty, error)


def _fitted(fitting: Fitting, rows: Callable[[], Any], key: str, champion: Champion | None) -> Result:
    told: list[str] = []
    seed = train.fit_seed(fitting.seed, key)
    against = None if champion is None or fitting.gate is None else Against(champion=champion, metric=fitting.gate)
    # No variable here holds the rows: so `train` can free them as soon as the estimator's data is made of them.
    with contained() if fitting.recipe.foreign else nullcontext():
        fitted = train.train(arranged(rows(), fitting.spec, told), fitting.recipe, key=key, seed=seed, against=against)
        warnings = (*told, *fitted.warnings)
        sample = fitted.sample if fitting.artifact.check == "predict" else None
        packed = artifact.pack(fitted.estimator, fitting.artifact, sample=sample)
    return Result(
        status=TRAINED,
        artifact=packed.data,
        digest=packed.digest,
        rows=fitted.rows,
        metrics=json.dumps(fitted.metrics),
        warnings=json.dumps(warnings) if warnings else None,
        seconds=fitted.seconds,
        judged={**_judged(fitted), **(_gated(fitted, champion) if fitting.gate is not None else {})},
    )


def _judged(fitted: Fitted) -> dict[str, Any]:
    told = fitted.evaluation
    return {
        "estimator": class_name(type(fitted.estimator)),
        "skill": told.skill,
        "windows": told.windows,
        "horizons": told.horizons,
        "residuals": told.residuals,
        "until": told.until,
    }


def _gated(fitted: Fitted, champion: Champion | None) -> dict[str, Any]:
    if champion is None:
        return {"against": champion_token(None, None)}
    contest = fitted.evaluation.contest or Contest(note="no row was held out")
    told = {"against": champion_token(champion.digest, champion.judged_until), "gate_note": contest.note}
    if (found := contest.comparison) is None:
        return {**told, "gate_rows": 0}
    scores = {"gate_champion": found.champion, "gate_challenger": found.challenger}
    return {**told, **scores, "gate_gain": found.gain, "gate_rows": found.rows, "gate_p": found.p}


def class_name(kind: type) -> str:
    """The name by which users import a class: ``sklearn.linear_model.Ridge``, not where its code lies."""
    module = kind.__module__
    public = ".".join(part for part in module.split(".") if not part.startswith("_"))
    home = sys.modules.get(public) if public != module else None
    return f"{public if getattr(home, kind.__qualname__, None) is kind else module}.{kind.__qualname__}"


def arranged(table: Any, spec: reader.ReadSpec, told: list[str]) -> Any:
    """Apply ``input.times`` and ``input.order_by`` to the rows, for every reader and layout."""
    told += reader.levels.notes(table)
    if spec.unordered:
        table = order.without_order(table)
    return order.sort(times.declared(exact.plain(table), spec.times), spec.order_by)


def of_error(on_empty: str, error: BaseException) -> Result:
    """The result for an error: skipped if there was nothing to train on, else failed with a traceback."""
    if isinstance(error, SkipPartition) and not (error.reason == "empty" and on_empty == "fail"):
        return Result(status=SKIPPED, reason=error.reason, message=_line(error))
    if isinstance(error, PartitionError):
        cause = error.__cause__
        text = "".join(traceback.format_exception(cause)) if cause is not None else None
        return failed(error.reason, _line(error), text)
    return failed("fit_error", f"{type(error).__name__} outside the fit", "".join(traceback.format_exception(error)))


def failed(reason: str, message: str, text: str | None = None) -> Result:
    """A failed result. A long traceback is cut at its start, because the cause is at its end."""
    return Result(status=FAILED, reason=reason, message=message, traceback=text[-_TRACEBACK_LIMIT:] if text else None)


def _line(error: PartitionError) -> str:
    return f"{error.message.rstrip('.')}. {error.hint}" if error.hint else error.message
