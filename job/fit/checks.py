"""Checks of the rows before a fit: columns, types, missing and infinite values.

Each check raises a `PartitionError` that names the column, the count or the first row, and the setting that helps, but
never a value. Rows are counted from 1, without the header.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from job.errors import PartitionError
from job.fit import frame
from job.fit.recipe import Recipe
from job.fit.traits import Traits, as_tuple
from job.reader import KEY_FIELD
from job.reader.exact import convert
from job.reader.schema import delimiter_hint


def columns(table: pa.Table, recipe: Recipe) -> tuple[str, ...]:
    """The names of the features. Checks that all columns of the recipe exist, and that no feature or target is bytes.

    Raises
    ------
    PartitionError
        ``missing_column``, ``unsupported_type``.
    """
    names = _features(table, recipe)
    for name in names + as_tuple(recipe.target):
        kind = table.schema.field(name).type
        kind = kind.value_type if pt.is_dictionary(kind) else kind
        if pt.is_binary(kind) or pt.is_large_binary(kind) or pt.is_fixed_size_binary(kind):
            message = f"column {name!r} is bytes, and no predictor will be given bytes"
            hint = f"Write it as text, declare input.schema with {name}: string, or leave it out of recipe.features."
            raise PartitionError("unsupported_type", message, hint=hint)
    return names


def _features(table: pa.Table, recipe: Recipe) -> tuple[str, ...]:
    present = table.column_names
    wanted = list(as_tuple(recipe.features) + as_tuple(recipe.target))
    extra = (recipe.sample_weight, recipe.validation.column, recipe.validation.groups)
    wanted += [each for each in extra if each]
    missing = [each for each in dict.fromkeys(wanted) if each not in present]
    if missing:
        raise _missing_columns(missing, present)
    if recipe.features is not None:
        return as_tuple(recipe.features)
    taken = {*as_tuple(recipe.target), *extra, ""}
    names = tuple(
        field.name for field in table.schema if field.name not in taken and not (field.metadata and _is_key(field))
    )
    if not names:
        message = "no column is left to be a feature: target, weight, order and key columns are none by default"
        raise PartitionError("missing_column", message, hint="Name the features: recipe.features.")
    return names


def _is_key(field: pa.Field) -> bool:
    return all(field.metadata.get(key) == value for key, value in KEY_FIELD.items())


def _missing_columns(missing: Sequence[str], present: Sequence[str]) -> PartitionError:
    hint = delimiter_hint(present)
    if not hint:
        close = [_close(each, present) for each in missing]
        meant = sorted({repr(each[0]) for each in close if each})
        shown = ", ".join(map(repr, present[:12])) + (" ..." if len(present) > 12 else "")
        hint = f"Is {', '.join(meant)} meant?" if meant else f"There are {shown}."
    word = "column" if len(missing) == 1 else "columns"
    return PartitionError("missing_column", f"{word} {', '.join(map(repr, missing))} not there", hint=hint)


def _close(name: str, present: Sequence[str]) -> list[str]:
    same = [each for each in present if each.strip().casefold() == name.strip().casefold()]
    return same or difflib.get_close_matches(name, present, 1, 0.6)


def numeric(table: pa.Table, names: Sequence[str], what: str, *, categories: bool = False) -> None:
    """Raise ``non_numeric`` unless all columns are numbers.

    Parameters
    ----------
    table
        The rows.
    names
        The columns.
    what
        ``feature`` or ``target``, for the message.
    categories
        Whether columns of a categorical type are accepted, too.
    """
    for name in names:
        column = table.column(name)
        if frame.is_number(column.type) or (categories and pt.is_dictionary(column.type)):
            continue
        if frame.is_time(column.type):
            message = f"{what} {name!r} is a {_kind(column.type)}, not a number"
            raise PartitionError("non_numeric", message, hint="Derive numbers from it, such as year or day of week.")
        row, point = _first_no_number(column)
        if row is None and point == ",":
            message = f"{what} {name!r} holds its numbers as text, with a decimal comma"
            raise PartitionError("non_numeric", message, hint="Set input.format.decimal: ','.")
        if row is None:
            message = f"{what} {name!r} holds its numbers as text"
            hint = f"Write them as numbers, or declare input.schema with {name}: float64."
            raise PartitionError("non_numeric", message, hint=hint)
        message = f"{what} {name!r} is {_kind(column.type)}, not numbers; the first such value is in row {row}"
        hint = delimiter_hint(table.column_names) or (
            "Encode it in the estimator (OneHotEncoder, a text vectoriser), leave it out of recipe.features,"
            " or name what means 'missing' in input.format.null_values."
            if what == "feature"
            else "A regression needs numbers."
        )
        raise PartitionError("non_numeric", message, hint=hint)


def _kind(kind: pa.DataType) -> str:
    if frame.is_textual(kind):
        return "text"
    if pt.is_timestamp(kind):
        return "timestamp"
    return "date" if pt.is_date(kind) else str(kind)


def _first_no_number(column: pa.ChunkedArray) -> tuple[int | None, str]:
    """The first row whose value is no number (None if all are), and the decimal point of most texts: ``.`` or ``,``."""
    if not frame.is_textual(column.type):
        found = pc.index(column.is_valid(), True).as_py()
        return (int(found) + 1 if found >= 0 else 1), "."
    texts = [value.as_py() for value in column.cast(pa.large_string())]
    right = {point: sum(_is_number(text, point) for text in texts) for point in ".,"}
    point = "," if right[","] > right["."] else "."
    return next((row for row, text in enumerate(texts, start=1) if not _is_number(text, point)), None), point


_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*|\s*[+-]?(nan|inf|infinity)\s*", re.IGNORECASE)


def _is_number(text: str | None, point: str) -> bool:
    if text is None:
        return True
    if point == ",":
        text = text.replace(".", "_").replace(",", ".")
    return bool(_NUMBER.fullmatch(text))


def suspects(table: pa.Table, names: Sequence[str]) -> list[str]:
    """The columns that may have missing or infinite values; all others have none. A cheap test for each column."""
    found = []
    with np.errstate(all="ignore"):
        for name in names:
            column = table.column(name)
            if column.null_count:
                found.append(name)
            elif frame.is_float(column.type):  # a sum is finite only if all of its terms are
                chunks = column.chunks
                if not all(math.isfinite(chunk.to_numpy(zero_copy_only=False).sum()) for chunk in chunks):
                    found.append(name)
    return found


def missing_rows(table: pa.Table, names: Sequence[str]) -> Any:
    """A mask of rows with a missing value (null or NaN) in any of the columns; None if there is no such row."""
    mask = None
    for name in names:
        here = pc.is_null(table.column(name), nan_is_null=True)
        if pc.any(here).as_py():
            mask = here if mask is None else pc.or_(mask, here)
    return mask


def no_missing(table: pa.Table, names: Sequence[str]) -> None:
    """Raise ``missing_values`` if a feature has a missing value."""
    for name in names:
        column = table.column(name)
        count = pc.sum(pc.is_null(column, nan_is_null=True)).as_py() or 0
        if count:
            rows = "every row" if count == table.num_rows else f"{count} of {table.num_rows} rows"
            raise PartitionError(
                "missing_values",
                f"feature {name!r} is missing in {rows}",
                hint="Impute in the estimator (SimpleImputer), or set recipe.missing: allow, or drop (the rows).",
            )


def no_infinite(table: pa.Table, names: Sequence[str], what: str) -> None:
    """Raise ``infinite_values`` if a column of numbers has an infinite value."""
    for name in names:
        column = table.column(name)
        if frame.is_float(column.type):
            infinite = pc.is_inf(column)
            count = pc.sum(infinite).as_py() or 0
            if count:
                row = pc.index(infinite, True).as_py() + 1
                message = f"{what} {name!r} is infinite in {count} of {table.num_rows} rows, first in row {row}"
                raise PartitionError(
                    "infinite_values", message, hint="Correct the data, or write those values as missing."
                )


def rows_kept(
    table: pa.Table, doubtful: Sequence[str], traits: Traits, recipe: Recipe, warnings: list[str]
) -> pa.Table:
    """Apply the recipe's policies for missing features and targets. Returns the rows to train on.

    ``doubtful`` are the `suspects` among the features and targets. Raises ``missing_values`` or ``null_target``.
    """
    targets = [each for each in as_tuple(recipe.target) if each in doubtful]
    names = [each for each in doubtful if each not in targets]
    policy = recipe.missing if recipe.missing != "auto" else ("allow" if traits.missing else "fail")
    # Drop rows first: a missing value in a row that is dropped anyway is no reason to fail.
    if recipe.drop_null_target:
        table = _without(table, missing_rows(table, targets), "no target", warnings)
    if policy == "drop":
        table = _without(table, missing_rows(table, names), "a missing feature", warnings)
    elif policy == "fail":
        no_missing(table, names)
    mask = missing_rows(table, targets)
    if mask is not None:
        count = pc.sum(mask).as_py()
        named = ", ".join(map(repr, targets))
        message = f"target {named} is missing in {count} of {table.num_rows} rows"
        raise PartitionError("null_target", message, hint="Set recipe.drop_null_target: true, or correct the data.")
    return table


def _without(table: pa.Table, mask: Any, why: str, warnings: list[str]) -> pa.Table:
    if mask is None:
        return table
    kept = table.filter(pc.invert(mask))
    warnings.append(f"dropped: {table.num_rows - kept.num_rows} of {table.num_rows} rows with {why}")
    return kept


def constant_target(table: pa.Table, recipe: Recipe, warnings: list[str]) -> bool:
    """Whether a target has one value only. Then raises ``constant_target``, or warns, as the recipe says."""
    constant = [name for name in as_tuple(recipe.target) if _is_constant(table.column(name))]
    if not constant:
        return False
    message = f"target {', '.join(map(repr, constant))} has one value only in {table.num_rows} rows"
    if recipe.constant_target == "fail":
        raise PartitionError("constant_target", message, hint="recipe.constant_target: warn would fit it nevertheless.")
    warnings.append(f"constant_target: {message}")
    return True


def _is_constant(column: pa.ChunkedArray) -> bool:
    if not len(column):
        return False
    if pt.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pt.is_nested(column.type):
        return False
    return bool(pc.all(pc.equal(column, column[0])).as_py())


def weights(table: pa.Table, name: str | None) -> np.ndarray[Any, Any] | None:
    """The row weights as float64, shape (rows,); None without a weight column.

    Raises
    ------
    PartitionError
        ``bad_weight``: a weight is missing, infinite or negative, or all are zero.
    """
    if name is None:
        return None
    column = table.column(name)
    hint = "recipe.sample_weight names a column of numbers, zero or above, without gaps."
    if not frame.is_number(column.type):
        raise PartitionError("bad_weight", f"weight {name!r} is {_kind(column.type)}, not numbers", hint=hint)
    values = convert(column, pa.float64(), name).to_numpy()
    bad = ~np.isfinite(values) | (values < 0)
    if bad.any():
        what = f"missing, infinite or negative in {int(bad.sum())} of {len(values)} rows"
        message = f"weight {name!r} is {what}, first in row {int(np.argmax(bad)) + 1}"
        raise PartitionError("bad_weight", message, hint=hint)
    if not values.any():
        raise PartitionError("bad_weight", f"weight {name!r} is zero in every row", hint=hint)
    return np.ascontiguousarray(values)
