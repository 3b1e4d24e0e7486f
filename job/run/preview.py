"""Previews the data of a job before anything is trained: columns with their types, and problems that a fit would meet.

It reads a few objects of the input and fits nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from job.errors import ConfigurationError, PartitionError, StoreError
from job.fit import checks, frame, ready
from job.fit.partition_fit import arranged
from job.fit.recipe import Recipe
from job.fit.traits import as_tuple
from job.formats import DIRECT, format_of
from job.plan.plan import TRAIN, Plan
from job.reader import ReadSpec, read
from job.run import key_of_table
from job.run.assembly import Assembly

FIRST_KEYS = 3
"""Number of partitions that are read for a preview."""
MOST_BYTES = 64_000_000
"""Bytes: larger partitions are not read for a preview."""
_EXAMPLE = 40


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column as an estimator or a function gets it."""

    name: str
    type: str
    """text, bytes, or numpy's name of the type; if the partitions differ, all their types"""
    example: str | None
    """the first value that is not missing, texts in quotes; None if there is none"""
    missing: int
    """number of rows without a value"""
    role: str
    """feature, target, weight, order or group; empty if the recipe does not name the column"""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A reason why a partition could not be trained."""

    key: str
    reason: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The columns of a few partitions."""

    keys: tuple[str, ...] = ()
    """keys of the partitions that could be read, or the name of the table's file"""
    rows: int = 0
    """number of rows in them"""
    columns: tuple[Column, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = field(default=())
    """warnings that a fit would give"""


def of_first(assembly: Assembly, plan: Plan) -> Preview:
    """Preview the first partitions that would be trained; if the input is one table, preview its first file."""
    if plan.files is not None:
        names = [
            (str(row["name"]), [row])
            for row in plan.files.slice(0, FIRST_KEYS).to_pylist()
            if row["size"] <= MOST_BYTES and _direct(str(row["name"]), assembly.fitting.spec)
        ]
        return _look(assembly, [(name, _objects_of(assembly, files)) for name, files in names[:1]], whole=False)
    due = plan.with_action(TRAIN)
    keys = due if due.num_rows else plan.keys
    small = keys.filter(pc.less_equal(keys["bytes"], MOST_BYTES)).slice(0, FIRST_KEYS)
    objects = [(key, _objects_of(assembly, each)) for key, each in _objects(plan, small)]
    return _look(assembly, objects, whole=True)


def of_key(assembly: Assembly, plan: Plan, key: str) -> dict[str, Any]:
    """Describe one partition: why it is trained or not, its objects or files, its columns, and what would fail.

    Raises
    ------
    ConfigurationError
        No partition has this key, or the input is a table that Spark reads.
    InputError
        A file of the table cannot be read.
    """
    if plan.files is not None and plan.table is None:
        raise ConfigurationError(
            "--key shows what manyfit reads by itself, and this table is read by Spark (input.reader: spark)",
            hint="Choose the key by input.only, and run with an output of its own.",
        )
    found = plan.keys.filter(pc.equal(plan.keys["key"], key))
    if not found.num_rows:
        raise ConfigurationError(f"no partition has the key {key!r}", hint="`manyfit plan --keys` lists the keys.")
    row = found.to_pylist()[0]
    table = plan.table
    if table is not None:
        objects = [asdict(each) for each in key_of_table.files_of(table, key)]
        seen = _look(assembly, [(key, lambda: key_of_table.rows_of(assembly.input, table, key))], whole=True)
    else:
        objects = next(iter(_objects(plan, found)))[1]
        seen = _look(assembly, [(key, _objects_of(assembly, objects))], whole=True)
        objects = [{"name": each["name"], "size": each["size"]} for each in objects]
    return {
        **{name: row[name] for name in ("key", "action", "why", "bytes")},
        "objects": objects,
        "rows": seen.rows,
        "preview": seen,
    }


def _objects(plan: Plan, keys: pa.Table) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for row in keys.select(["key", "first", "count"]).to_pylist():
        yield row["key"], plan.objects.slice(row["first"], row["count"]).to_pylist()


def _direct(name: str, spec: ReadSpec) -> bool:
    return (format_of(name) if spec.type == "auto" else spec.type) in DIRECT


def _objects_of(assembly: Assembly, objects: Sequence[dict[str, Any]]) -> Callable[[], tuple[pa.Table, pa.Table]]:
    """Make a function that reads objects. It returns their rows, and the same rows as text if the format is text."""
    spec = replace(assembly.fitting.spec, needed=None, hive=assembly.settings.input.layout != "objects")

    def load() -> tuple[pa.Table, pa.Table]:
        blobs = [(str(each["name"]), assembly.input.get(str(each["name"]))) for each in objects]
        table = read(blobs, spec)
        return table, read(blobs, replace(spec, texts=tuple(table.column_names)))

    return load


def _look(
    assembly: Assembly, partitions: Sequence[tuple[str, Callable[[], tuple[pa.Table, pa.Table]]]], *, whole: bool
) -> Preview:
    recipe = assembly.fitting.recipe
    tables: list[tuple[str, pa.Table]] = []
    problems: list[Problem] = []
    told: list[str] = []
    for key, load in partitions:
        try:
            table, texts = load()
            tables.append((key, table))
            told += _zeros(table, texts)
            table = arranged(table, assembly.fitting.spec, told)
            tables[-1] = (key, table)
            if whole:
                told += ready.check(table, recipe)
        except PartitionError as error:
            hint = f". {error.hint}" if error.hint else ""
            problems.append(Problem(key=key, reason=error.reason, message=error.message.rstrip(".") + hint))
        except StoreError as error:
            problems.append(Problem(key=key, reason=error.reason, message=error.message))
    return Preview(
        keys=tuple(key for key, _ in tables),
        rows=sum(table.num_rows for _, table in tables),
        columns=tuple(_columns(tables, recipe)),
        problems=tuple(problems),
        warnings=tuple(dict.fromkeys(told)),
    )


def _zeros(table: pa.Table, texts: pa.Table) -> Iterator[str]:
    """Warn of codes such as 007 that pandas, and so a model, takes for numbers."""
    for name in texts.column_names:
        if name not in table.column_names:
            continue
        column = texts.column(name)
        if pt.is_string(column.type) and not pt.is_string(table.column(name).type):
            row = pc.index(pc.match_substring_regex(column, r"^\s*[+-]?0[0-9]"), True).as_py()
            if row >= 0:
                code, number = json.dumps(column[row].as_py()), table.column(name)[row]
                yield (
                    f"column {name!r} is numbers, so that {code} is {number}, as in pandas: "
                    f"input.schema: {{{name}: {{type: string, optional: true}}}} keeps codes"
                )


def _columns(tables: Sequence[tuple[str, pa.Table]], recipe: Recipe) -> Iterator[Column]:
    names = list(dict.fromkeys(name for _, table in tables for name in table.column_names))
    roles = _roles(tables[0][1], recipe) if tables else {}
    for name in names:
        here = [(key, table.column(name)) for key, table in tables if name in table.column_names]
        types = [(key, type_name(column, name)) for key, column in here]
        one = {kind for _, kind in types} - {EMPTY} or {EMPTY}
        shown = one.pop() if len(one) == 1 else ", ".join(f"{kind} ({key})" for key, kind in types)
        examples = (_example(column) for _, column in here)
        yield Column(
            name=name,
            type=shown,
            example=next((each for each in examples if each is not None), None),
            missing=sum(pc.sum(pc.is_null(column, nan_is_null=True)).as_py() or 0 for _, column in here),
            role=roles.get(name, ""),
        )


EMPTY = "float64 (no value)"


def type_name(column: pa.ChunkedArray, name: str) -> str:
    """The type of a column as an estimator or a function gets it: its pandas type, in words if that says nothing."""
    kind = column.type
    if pt.is_null(kind):
        return EMPTY
    if pt.is_dictionary(kind):
        return "category"
    if frame.is_textual(kind):
        return "text"
    if pt.is_binary(kind) or pt.is_large_binary(kind) or pt.is_fixed_size_binary(kind):
        return "bytes"
    if pt.is_boolean(kind):
        return "bool with gaps" if column.null_count else "bool"
    if pt.is_time(kind):
        return "time of day"
    if pt.is_nested(kind):
        return str(kind)
    try:
        return str(frame.to_pandas(pa.table({name: column})).dtypes.iloc[0])
    except PartitionError:
        return str(kind)


def _example(column: pa.ChunkedArray) -> str | None:
    for chunk in column.chunks:
        valid = np.flatnonzero(pc.is_valid(chunk).to_numpy(zero_copy_only=False))
        if len(valid):
            value = chunk[int(valid[0])].as_py()
            text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)
            return text if len(text) <= _EXAMPLE else text[: _EXAMPLE - 1] + "…"
    return None


def _roles(table: pa.Table, recipe: Recipe) -> dict[str, str]:
    try:
        features = checks.columns(table, recipe) if recipe.traits is not None or recipe.features is not None else ()
    except PartitionError:
        features = as_tuple(recipe.features)
    roles = dict.fromkeys(features, "feature") | dict.fromkeys(as_tuple(recipe.target), "target")
    for name, role in (
        (recipe.sample_weight, "weight"),
        (recipe.validation.column, "order"),
        (recipe.validation.groups, "group"),
    ):
        if name:
            roles[name] = f"{roles[name]}, {role}" if name in roles else role
    return roles
