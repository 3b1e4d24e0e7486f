"""Replace the rows of some keys in the table of predictions: new parts for the ranges of keys that they belong to.

If no old row of a range stays and the ranges of the new files do not overlap, the files that the tasks wrote become
parts as they are. Else old and new rows are merged into new parts. No model is loaded for that, and no row is marked as
deleted: a reader of the listed files reads each key once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from job.errors import AccountingError
from job.registry.predictions import PartFile
from job.run import part_files
from job.score import columns, generation, part
from job.score.generation import Held
from job.store import Store

_FULL = 1 / 8
"""Files of tasks become parts only if they are full to at least this share on average; else they are merged."""


@dataclass(frozen=True, kw_only=True)
class Replaced:
    """The files that a release adds and removes."""

    added: tuple[PartFile, ...]
    removed: tuple[Held, ...]
    schema: pa.Schema
    """all columns of the added parts"""


@dataclass
class _Range:
    base: Held | None
    new: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """digest of a file that a task wrote: those of its keys that belong to this range"""
    out: set[str] = field(default_factory=set)


def replace(output: Store, held: Sequence[Held], scored: pa.Table, retired: Sequence[str]) -> Replaced:
    """Put the parts of the next version into the store. Nothing is released yet.

    Parameters
    ----------
    output
        The output's root.
    held
        The parts of the version that the run was planned with.
    scored
        One row for each scored key: key, number of its rows, and digest, columns and size of the file that a task
        wrote.
    retired
        Keys whose rows leave the table.

    Raises
    ------
    AccountingError
        Rows would be lost or doubled.
    """
    held = sorted(held, key=lambda each: each.first)
    found, wrote = _ranges(held, scored, retired)
    with ThreadPoolExecutor(part_files.THREADS) as pool:
        made = list(pool.map(lambda each: _one(output, each, wrote), found))
    old = {each.path for each in held}
    added = tuple(each for parts, _ in made for each in parts)
    stay = {part.path(each.digest) for each in added} & old  # a retired key may have had no row
    removed = tuple(each.base for each in found if each.base is not None and each.base.path not in stay)
    new = int(pc.sum(scored["rows"]).as_py() or 0)
    copied = sum(number for _, number in made)
    if sum(each.rows for each in added) != copied + new:
        raise AccountingError(
            f"the rows do not add up: {new:,} new and {copied:,} copied, but {sum(each.rows for each in added):,} in "
            "the new parts",
            hint="Nothing was published. Report this: it is a bug of manyfit.",
        )
    added = tuple(each for each in added if part.path(each.digest) not in stay)
    schemas = [each.schema for each in added if each.schema is not None]
    return Replaced(added=added, removed=removed, schema=columns.union(schemas))


def _ranges(
    held: Sequence[Held], scored: pa.Table, retired: Sequence[str]
) -> tuple[list[_Range], dict[str, dict[str, Any]]]:
    """The ranges with scored or retired keys, and a description of each file that tasks wrote, by its digest."""
    firsts = [each.first for each in held]
    found: dict[int, _Range] = {}

    def at(number: int) -> _Range:
        return found.setdefault(number, _Range(base=held[number] if held else None))

    ordered = scored.sort_by("key")
    keys, digests = ordered["key"].to_pylist(), ordered["digest"].to_pylist()
    wrote: dict[str, dict[str, Any]] = {}
    rows = zip(
        digests, ordered["size"].to_pylist(), ordered["rows"].to_pylist(), ordered["columns"].to_pylist(), strict=True
    )
    for digest, size, count, described in rows:
        about = wrote.setdefault(digest, {"size": size, "rows": 0, "keys": 0, "columns": described})
        about["rows"] += count
        about["keys"] += 1
    for key, digest, number in zip(keys, digests, generation.ranges(keys, firsts).tolist(), strict=True):
        place = at(number)
        place.new[digest].append(key)
        place.out.add(key)
    leaving = sorted(retired)
    for key, number in zip(leaving, generation.ranges(leaving, firsts).tolist(), strict=True):
        if held:
            at(number).out.add(key)
    return [found[number] for number in sorted(found)], wrote


def _one(output: Store, place: _Range, wrote: dict[str, dict[str, Any]]) -> tuple[list[PartFile], int]:
    """Put the parts of one range. Returns them, and the number of rows that were copied from the old part."""
    base = None if place.base is None else part_files.opened(output, place.base.path)
    stays = 0
    if base is not None:
        keys = base.read(columns=["_key"], use_threads=False)
        stays = sum(each.num_rows for key, each in generation.by_key(keys) if key not in place.out)
    spans = [(keys[0], keys[-1]) for keys in place.new.values()]
    whole = all(len(keys) == wrote[digest]["keys"] for digest, keys in place.new.items())
    large = len(place.out) >= _FULL * generation.MOST_KEYS * len(spans) or len(spans) == 1
    if not stays and whole and large and generation.apart(spans):
        return [
            _as_it_is(digest, keys, wrote[digest]) for digest, keys in place.new.items() if wrote[digest]["rows"]
        ], 0
    old = base.read(use_threads=False) if base is not None and stays else None
    new = [
        part_files.of_keys(part_files.rows(output, part.path(digest)), set(keys)) for digest, keys in place.new.items()
    ]
    return [part_files.put(output, tables) for tables in generation.merged(old, new, place.out)], stays


def _as_it_is(digest: str, keys: list[str], about: dict[str, Any]) -> PartFile:
    schema = columns.parsed(about["columns"])
    return PartFile(digest=digest, size=about["size"], rows=about["rows"], first=keys[0], last=keys[-1], schema=schema)
