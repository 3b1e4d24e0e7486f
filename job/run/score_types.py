"""The column types of a run's predictions, settled before the run by scoring a few keys."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from job.errors import ConfigurationError, ManyfitError, PartitionError
from job.fit import artifact
from job.fit.partition_fit import arranged
from job.formats import DIRECT, format_of
from job.keys import hive_columns
from job.plan.plan import Plan
from job.reader import level_value, read
from job.reader.table_scan import TEXTS, level_type
from job.run import key_of_table
from job.run.pinned_models import PinnedModels
from job.run.score_assembly import ScoreAssembly
from job.score import columns, forecast
from job.score.apply import Recipe, Scored
from job.score.columns import OURS

log = logging.getLogger(__name__)

KEYS = 8
"""Number of keys that are scored to learn the types."""
TRIED = 24
"""Number of keys that are tried at most, because some of them may fail."""
MOST_BYTES = 64_000_000
PIECES = 2
"""Number of pieces of a table that are read at most for the rows of one key."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A key that was scored to learn the column types."""

    key: str
    rows: pa.Table | None
    scored: Scored | None
    problem: PartitionError | None = None
    own: bool = True
    """whether the rows are those of the key, and not of a whole file that Spark will divide"""


def samples(assembly: ScoreAssembly, plan: Plan, at: np.ndarray, models: PinnedModels, recipe: Recipe) -> list[Sample]:
    """Read and score a few of the due keys, without given types for the columns.

    Parameters
    ----------
    assembly, plan, models, recipe
        The scoring, its plan, the models, and what is done with each key.
    at
        Shape (planned keys,): the row of each key's model; -1 for none.
    """
    due = plan.due()
    due = due[at[due] >= 0]
    if not len(due):
        return []
    spread = due[np.unique(np.linspace(0, len(due) - 1, TRIED).astype(int))]
    found: list[Sample] = []
    # Every third first: if all can be scored, those that are come from the whole range of the keys.
    for number in np.concatenate([spread[begin::3] for begin in range(3)]):
        if sum(each.scored is not None for each in found) >= KEYS:
            break
        one = _sample(assembly, plan, int(number), int(at[number]), models, replace(recipe, types=None))
        if one is not None:
            found.append(one)
    return found + _of_first_file(assembly, plan, recipe)


def _of_first_file(assembly: ScoreAssembly, plan: Plan, recipe: Recipe) -> list[Sample]:
    """The rows of the first file of a table of texts that has some: in those of other keys a column may be wider."""
    if plan.table is None or plan.files is None or plan.table.scan.kind not in TEXTS:
        return []
    spec = replace(recipe.spec, hive=True)
    for each in plan.files.select(["name", "size"]).slice(0, KEYS).to_pylist():
        if each["size"] > MOST_BYTES:
            continue
        try:
            rows = arranged(read([(each["name"], assembly.input.get(each["name"]))], spec), spec, [])
        except ManyfitError as error:
            log.debug("no preview of %s: %s", each["name"], error)
            continue
        if rows.num_rows:
            return [Sample(key=each["name"], rows=rows, scored=None)]
    return []


def _sample(
    assembly: ScoreAssembly, plan: Plan, number: int, at: int, models: PinnedModels, recipe: Recipe
) -> Sample | None:
    key, table = str(plan.keys["key"][number]), plan.table
    own = table is not None or plan.files is None
    objects = list(_objects(plan, number))
    spec = replace(recipe.spec, hive=assembly.settings.input.layout != "objects")
    if table is None:
        if not objects or sum(each["size"] for each in objects) > MOST_BYTES:
            return None
        kind = format_of(str(objects[0]["name"])) if spec.type == "auto" else spec.type
        if recipe.rows and kind not in DIRECT:
            return None
    try:
        rows = None
        if table is not None:
            objects = [{"name": each.name} for each in key_of_table.files_of(table, key)]
            rows = arranged(key_of_table.rows_of(assembly.input, table, key, most=PIECES)[0], spec, [])
        elif recipe.rows:
            blobs = [(str(each["name"]), assembly.input.get(str(each["name"]))) for each in objects]
            rows = arranged(read(blobs, spec), spec, [])
        row = models.row(at)
        model = artifact.load(
            models.bytes_of(at), digest=row["digest"], allow_version_skew=assembly.scoring.models.allow_version_skew
        )
        try:
            scored = forecast.scored(
                recipe,
                key,
                rows,
                model,
                digest=row["digest"],
                source=str(objects[0]["name"]),
                held=models.held(key, at),
            )
        except PartitionError as error:
            return Sample(key=key, rows=rows, scored=None, problem=error, own=own)
        return Sample(key=key, rows=rows, scored=scored, own=own)
    except ManyfitError as error:
        log.debug("no preview of %s: %s", key, error)
        return None


def _objects(plan: Plan, number: int) -> Iterator[dict[str, Any]]:
    if plan.files is not None:
        yield from plan.files.slice(0, 1).to_pylist()
        return
    first, count = plan.keys["first"][number].as_py(), plan.keys["count"][number].as_py()
    yield from plan.objects.slice(first, count).to_pylist()


def of_levels(keys: pa.Array) -> dict[str, pa.DataType]:
    """The type of each level of hive keys, over all keys: numbers if all texts are, and no two are the same number."""
    texts: dict[str, set[str | None]] = {}
    parts = pc.split_pattern(keys, "/")
    for at in range(pc.min(pc.list_value_length(parts)).as_py() or 0):
        for each in pc.unique(pc.list_element(parts, at)).to_pylist():
            for name, text in hive_columns(f"{each}/").items():
                texts.setdefault(name, set()).add(text)
    found = {}
    for name, every in texts.items():
        distinct = {level_value(text)[0] for text in every}
        found[name] = level_type(every) if len(distinct) == len(every) else pa.string()
    return found


def refuse_unknown(
    seen: list[Sample], keep: tuple[str, ...] | None, actual: str | None, there: pa.Schema | None
) -> None:
    """Refuse columns that the settings name, and that neither a sampled key nor the existing table has.

    Raises
    ------
    ConfigurationError
        The message names the setting, the columns, and those that there are.
    """
    read = [sample.rows.column_names for sample in seen if sample.rows is not None]
    known = list(dict.fromkeys(name for names in read for name in names))
    looked = sum(sample.scored is not None or sample.problem is not None for sample in seen)
    if not known:
        return
    for setting, wanted, further in (
        ("score.keep", keep or (), there.names if there else ()),
        ("score.actual", (actual,) if actual else (), ()),
    ):
        absent = [name for name in wanted if name not in known and name not in further]
        if absent:
            raise ConfigurationError(
                f"{setting} names {', '.join(map(repr, absent))}, which none of the {looked} keys that were looked "
                "at has",
                hint=f"They have: {', '.join(map(repr, known[:20]))}{' …' if len(known) > 20 else ''}.",
            )


def settled(
    seen: list[Sample],
    keep: tuple[str, ...] | None,
    there: pa.Schema | None,
    *,
    function: bool = False,
    levels: Mapping[str, pa.DataType] | None = None,
) -> dict[str, pa.DataType] | None:
    """The type of each kept column and of the predictions.

    Parameters
    ----------
    seen
        The sampled keys.
    keep
        Columns of the input that the predictions keep; None: all.
    there
        The schema of the existing table of predictions, whose types do not change; None if there is none.
    function
        Whether a user's function makes the predictions: then it returns all columns.
    levels
        The types of key columns that come from directories (`of_levels`).

    Returns
    -------
    dict or None
        The type of each column; None if the samples do not tell.
    """
    known = {field.name: field.type for field in there or () if field.name not in columns.OURS.names}
    found: dict[str, pa.DataType] = {}
    fine = [sample for sample in seen if sample.scored is not None]
    own = (
        None
        if function or keep is not None or not fine
        else {name for each in fine for name in _of_method(each, keep)[0]}
    )
    for sample in seen:
        types, empty = _of_function(sample) if function else _of_method(sample, keep)
        for name, kind in types.items():
            if own is not None and name not in own:
                continue
            if name not in found or name not in empty:
                found[name] = _wider(found.get(name, kind), kind)
    if not function:
        found |= {name: kind for name, kind in (levels or {}).items() if name in found}
        given = {*found, *known} - {columns.PREDICTION}
        columns.check_names(name for name in given if not columns.is_free(name))
    return {**found, **known} or None


def _of_function(sample: Sample) -> tuple[dict[str, pa.DataType], set[str]]:
    fields = () if sample.scored is None else sample.scored.table.schema
    return {field.name: field.type for field in fields if field.name not in OURS.names}, set()


def _of_method(sample: Sample, keep: tuple[str, ...] | None) -> tuple[dict[str, pa.DataType], set[str]]:
    """The types of one key's columns, and the names of its empty columns, whose types are unknown."""
    assert sample.rows is not None
    names = [name for name in sample.rows.column_names if keep is None or name in keep]
    columns.check_names(names)
    types = {name: columns.stored_values(sample.rows.column(name)) for name in names}
    if sample.scored is not None and columns.PREDICTION in sample.scored.table.column_names:
        types[columns.PREDICTION] = sample.scored.table.schema.field(columns.PREDICTION).type
    return types, {name for name in names if pt.is_null(sample.rows.column(name).type)}


def _wider(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    if one == other:
        return one
    numbers = {pa.int64(), pa.float64()}
    return pa.float64() if {one, other} <= numbers else pa.string()
