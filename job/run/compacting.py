"""Makes one generation of each key of predictions that earlier runs have appended to (``output.mode: replace``).

The newest rows of each key are copied, as ranges of neighbouring keys, into new parts; one commit puts these in the
place of all others. No model is loaded. It happens once, before the first run that replaces is planned. If the run dies
before the commit, the next one does it again, and finds the same parts.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from job.errors import AccountingError
from job.registry import compaction, lineage
from job.registry.index import Index
from job.registry.predictions import PartFile, Predictions
from job.run import part_files
from job.score import generation, part
from job.store import Store

log = logging.getLogger(__name__)

MOST_ROWS = 4_000_000
"""Rows in memory at a time: parts are read once for each stretch of keys with so many newest rows."""

Newest = dict[str, tuple[str, int]]
"""For each key the part with its newest rows, and their number."""


def compact(output: Store, base: int, plan: str, *, only: Collection[str] | None) -> int:
    """Compact a version of the predictions; returns the version that has one generation of each key.

    Parameters
    ----------
    output
        The output.
    base
        The version.
    plan
        Id of the plan of the run.
    only
        Keys that stay; None: all.

    Raises
    ------
    OutputError
        Another run has released meanwhile, or another tool has written to the table.
    AccountingError
        Rows would be lost or doubled.
    """
    files = Predictions(output).files(base)
    newest = _newest(output, lineage.ranks(output, part.FOLDER, base), files)
    if only is not None:
        newest = {key: found for key, found in newest.items() if key in only}
    rows = sum(count for _, count in newest.values())
    log.warning(
        "output.mode is replace, and earlier runs have appended: of %s rows the newest %s stay, those of one "
        "generation of each key. `manyfit rollback %s %d` brings the others back, until gc removes them.",
        f"{sum(file['num_records'] for file in files.values()):,}",
        f"{rows:,}",
        output.uri,
        base,
    )
    parts = list(_parts(output, newest))
    if sum(each.rows for each in parts) != rows:
        raise AccountingError(
            f"the rows do not add up: {rows:,} are the newest of their keys, but {sum(each.rows for each in parts):,} "
            "are in the new parts",
            hint="Nothing was published. Report this: it is a bug of manyfit.",
        )
    output.sync()  # the commit names only files that would survive a power cut
    return compaction.compact(output, parts, base=base, plan=plan, index=Index(output).version() or 0)


def _newest(output: Store, ranks: Mapping[str, int], files: Collection[str]) -> Newest:
    def counts(path: str) -> dict[str, int]:
        table = part_files.rows(output, path, ["_key"])
        return {key: each.num_rows for key, each in generation.by_key(table)}

    found: Newest = {}
    ordered = sorted(files, key=lambda path: ranks[path])
    with ThreadPoolExecutor(part_files.THREADS) as pool:
        for path, keys in zip(ordered, pool.map(counts, ordered), strict=True):
            found |= {key: (path, count) for key, count in keys.items()}
    return found


def _parts(output: Store, newest: Newest) -> Iterator[PartFile]:
    """Put the new parts, a stretch of keys after the other."""
    with ThreadPoolExecutor(part_files.THREADS) as pool:
        for keys in _stretches(newest):
            wanted: dict[str, set[str]] = defaultdict(set)
            for key in keys:
                wanted[newest[key][0]].add(key)

            def read(path: str, wanted: Mapping[str, set[str]] = wanted) -> pa.Table:
                # Copied, so that the rows of the other keys of the part do not stay in memory.
                return part_files.of_keys(part_files.rows(output, path), wanted[path]).combine_chunks()

            tables = list(pool.map(read, sorted(wanted)))
            yield from pool.map(lambda each: part_files.put(output, each), generation.merged(None, tables, ()))


def _stretches(newest: Newest) -> Iterator[list[str]]:
    """Keys in their order, each list with at most `MOST_ROWS` rows or one key."""
    keys: list[str] = []
    held = 0
    for key in sorted(newest):
        if keys and held + newest[key][1] > MOST_ROWS:
            yield keys
            keys, held = [], 0
        keys.append(key)
        held += newest[key][1]
    if keys:
        yield keys
