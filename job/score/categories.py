"""Categories that a model has not seen in training: estimators take them without a word. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from job.fit import frame


def of_numbers(model: Any, names: Sequence[str], texts: Collection[str]) -> str | None:
    """A column of texts whose categories were numbers in training; None if there is none.

    Parameters
    ----------
    model
        An encoder, or a pipeline, a column transformer or a search with one.
    names, texts
        The columns that the model gets, and those of them that are texts.
    """
    for encoder, columns in _encoders(model, names):
        for name, known in zip(columns, encoder.categories_, strict=False):
            if name in texts and getattr(known, "dtype", None) is not None and known.dtype.kind in "biuf":
                return name
    return None


def unseen(model: Any, names: Sequence[str], rows: pa.Table) -> list[str]:
    """For each column with categories that training has not seen: a sentence with the number of its rows.

    Parameters
    ----------
    model, names
        As in `of_numbers`.
    rows
        The rows that the model gets.
    """
    told = []
    for encoder, columns in _encoders(model, names):
        for name, known in zip(columns, encoder.categories_, strict=False):
            try:
                given = rows.column(name)
                kind = pa.float64() if frame.is_number(given.type) else pa.string()
                values = given if given.type == pa.bool_() else given.cast(kind)
                seen = pc.is_in(values, value_set=pa.array(known, values.type, from_pandas=True))
                other = given.filter(pc.invert(seen))
            except (pa.ArrowException, ValueError, TypeError):
                continue  # the categories are of a type that is not compared here
            if len(other):
                told.append(
                    f"{len(other):,} of {rows.num_rows:,} rows have a category of {name!r} that training has not seen, "
                    f"such as {other[0].as_py()!r}"
                )
    return told


def _encoders(model: Any, names: Sequence[str]) -> Iterator[tuple[Any, Sequence[str]]]:
    """The encoders that get columns of the input, each with the names of its columns."""
    if (best := getattr(model, "best_estimator_", None)) is not None:
        yield from _encoders(best, names)
    elif steps := getattr(model, "steps", None):
        yield from _encoders(steps[0][1], names)
    elif (parts := getattr(model, "transformers_", None)) is not None:
        for _, inner, columns in parts:
            if isinstance(columns, list) and all(isinstance(each, str) for each in columns):
                yield from _encoders(inner, columns)
    elif isinstance(getattr(model, "categories_", None), list):
        yield model, names
