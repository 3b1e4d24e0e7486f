"""Replace the rows of some keys in the table of predictions: new parts for the ranges that they lie in.

What a task wrote becomes a part as it is where nothing of the range stays and nothing else is in between; else the rows
that stay are copied beside it. No model is loaded for that, and nothing is marked as deleted: whoever reads the list of
files reads each key once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from job.errors import AccountingError
from job.registry.predictions import PartFile
from job.score import columns, generation, part
from job.score.generation import Held
from job.store import Store

THREADS = 4
_FULL = 1 / 8
"""Parts that tasks wrote are filled to this share on average, or the parts of one range become one."""


@dataclass(frozen=True, kw_only=True)
class Replaced:
    """The files that a release adds and removes."""

    added: tuple[PartFile, ...]
    removed: tuple[Held, ...]
    schema: pa.Schema
    """all columns of what is added"""
    copied: int
    """rows that were there before, of other keys"""
    gone: int
    """rows that leave"""


@dataclass
class _Range:
    base: Held | None
    new: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """digest of what a task wrote: its keys that lie here"""
    out: set[str] = field(default_factory=set)


def replace(output: Store, held: Sequence[Held], scored: pa.Table, retired: Sequence[str]) -> Replaced:
    """Make the parts of the next version; nothing is released yet.

    Parameters
    ----------
    output
        The output's root.
    held
        The parts of the version that the run was planned with.
    scored
        Of each scored key: key, digest and columns (of what the task wrote), size, rows.
    retired
        Keys whose rows leave.

    Raises
    ------
    AccountingError
        Rows would be lost or doubled.
    """
    held = sorted(held, key=lambda each: each.first)
    found, wrote = _ranges(held, scored, retired)
    with ThreadPoolExecutor(THREADS) as pool:
        made = list(pool.map(lambda each: _one(output, each, wrote), found))
    old = {each.path for each in held}
    added = tuple(each for parts, _ in made for each in parts)
    stay = {part.path(each.digest) for each in added} & old  # a retired key may have had no row
    removed = tuple(each.base for each in found if each.base is not None and each.base.path not in stay)
    new = int(pc.sum(scored["rows"]).as_py() or 0)
    before = sum(each.base.rows for each in found if each.base is not None)
    copied = sum(number for _, number in made)
    if sum(each.rows for each in added) != copied + new:
        raise AccountingError(
            f"the rows do not add up: {new:,} new and {copied:,} copied, but {sum(each.rows for each in added):,} in "
            "the new parts",
            hint="Nothing was published. Report this: it is a bug of manyfit.",
        )
    added = tuple(each for each in added if part.path(each.digest) not in stay)
    schemas = [each.schema for each in added if each.schema is not None]
    return Replaced(added=added, removed=removed, schema=columns.union(schemas), copied=copied, gone=before - copied)


def _ranges(
    held: Sequence[Held], scored: pa.Table, retired: Sequence[str]
) -> tuple[list[_Range], dict[str, dict[str, Any]]]:
    """The ranges that keys are scored in or retired from, and what tasks have written, by digest."""
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
    """The parts of one range, put; and how many rows of the old one they have."""
    base = None if place.base is None else _file(output, place.base.path)
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
    new = [_of(_rows(output, part.path(digest)), keys) for digest, keys in place.new.items()]
    return [_put(output, tables) for tables in generation.merged(old, new, place.out)], stays


def _as_it_is(digest: str, keys: list[str], about: dict[str, Any]) -> PartFile:
    schema = columns.parsed(about["columns"])
    return PartFile(digest=digest, size=about["size"], rows=about["rows"], first=keys[0], last=keys[-1], schema=schema)


def _put(output: Store, tables: Sequence[pa.Table]) -> PartFile:
    made = part.pack(tables)
    output.ensure(f"{part.FOLDER}/{part.path(made.digest)}", made.data)
    return PartFile(
        digest=made.digest,
        size=len(made.data),
        rows=sum(each.num_rows for each in tables),
        first=tables[0].column("_key")[0].as_py(),
        last=tables[-1].column("_key")[-1].as_py(),
        schema=columns.parsed(made.columns),
    )


def _file(output: Store, path: str) -> pq.ParquetFile:
    # What is the same in many rows is neither written out nor looked up again.
    data = pa.BufferReader(output.get(f"{part.FOLDER}/{path}"))
    return pq.ParquetFile(data, read_dictionary=list(part.TEXTS))


def _rows(output: Store, path: str) -> pa.Table:
    # On this thread: others are at the same with other ranges.
    return _file(output, path).read(use_threads=False)


def _of(table: pa.Table, keys: Iterable[str]) -> pa.Table:
    wanted = set(keys)
    chosen = [each for key, each in generation.by_key(table) if key in wanted]
    return pa.concat_tables(chosen) if chosen else table.slice(0, 0)
