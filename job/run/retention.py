"""Remove what no kept version refers to: the ``gc`` command. Only it and `forgetting` remove published objects.

These stay in any case:

- the newest ``keep`` versions of the set, the current one among them, and any version that was current within the
  margin: their rows, and every model they refer to;
- unfinished runs (those without ``result.json``), as long as other runs may adopt their outcomes, and every model that
  their segments name;
- the parts of the newest ``keep`` versions of the predictions, of the versions that belong to kept versions of the
  index, and of unfinished runs;
- anything younger than the margin. If an unfinished run has written within the margin, all models and all files of the
  index stay, because the run may be about to use a model file that exists already, or to commit a file of the index;
- ``result.json`` of every run, so that a run with the same id finds the recorded result;
- the counted keys (layout ``columns``) of the newest ``keep`` states of a table, and of the states that kept runs
  planned from.

It first removes the rows of expired versions, then the files of abandoned runs, then models, so that no row or outcome
names a removed model. The last two steps happen under a notice (`notice`), after a second look at the runs: a run that
begins meanwhile waits, or this look finds it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from job.errors import ConfigurationError, DamageError
from job.keys import model_name
from job.registry import forgotten
from job.registry.history import VersionInfo
from job.registry.index import Index
from job.run import notice
from job.run.notice import Removal
from job.run.old_parts import OldParts
from job.run.past_runs import Runs
from job.store import LISTING, Store
from job.store.listed import listed

_SLICE = 50_000


@dataclass(frozen=True, kw_only=True)
class Report:
    """What `gc` has removed, or would remove in a dry run."""

    kept_versions: int
    """number of versions that can still be opened and rolled back to"""
    expired_versions: int
    """number of older versions, which cannot"""
    index_files: int
    """number of data files of the index that only expired versions have"""
    index_bytes: int
    """their size in bytes"""
    models: int
    """number of model files that nothing kept refers to"""
    model_bytes: int
    """their size in bytes"""
    runs: int
    """number of finished runs whose logs, plans and outcomes have expired, and of abandoned runs"""
    run_bytes: int
    """size of their files in bytes"""
    others: int
    """number of signatures of expired versions, counted keys of past tables, and left-over probes and notices"""
    unfinished_runs: int
    """number of unfinished runs, which are kept; the next run of the job finishes them"""
    parts: int = 0
    """number of files of predictions that only expired versions or abandoned runs have"""
    part_bytes: int = 0
    """their size in bytes"""
    blocked_by: tuple[str, ...] = ()
    """ids of runs that may still be at work: because of them some models and abandoned runs were not removed"""


def gc(
    store: Store,
    *,
    keep: int = 30,
    dry_run: bool = True,
    margin: float = 24 * 3600.0,
    pins: Sequence[int] = (),
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Remove, or count, what is no longer needed.

    Parameters
    ----------
    store
        The output.
    keep
        Number of versions of the set that stay.
    dry_run
        Only count; remove nothing.
    margin
        Seconds; younger objects stay.
    pins
        Versions, as `manyfit history` numbers them, that stay at any age, because something else, such as an alias of
        MLflow, refers to them.
    progress
        Called with a short text before each step.

    Raises
    ------
    ConfigurationError
        ``keep`` is less than 1 or ``margin`` negative.
    DamageError
        Someone rolled back to an expired version while it was being removed.
    """
    if keep < 1 or margin < 0:
        raise ConfigurationError(f"gc keeps at least one version, and its margin is not negative: {keep}, {margin}")
    say = progress or (lambda text: None)
    now = store.now()
    before = now - timedelta(seconds=margin)
    index = Index(store)
    say("versions")
    history = index.history()
    old_parts = OldParts(store, pins)
    kept = _kept(history, keep, before)
    pinned = old_parts.index_of(pins)
    removed = _removed(store, index, kept | pinned.keys(), index.version())
    kept -= removed
    if unknown := pinned.keys() - ({each.version for each in history} - removed):
        raise ConfigurationError(
            f"{store.uri} has no version {pinned[min(unknown)]}, which gc shall keep",
            hint="`manyfit history` lists them.",
        )
    kept |= pinned.keys()
    files = {file for version in kept for file in index.files(version)}
    say("runs")
    runs = Runs(store, now, margin)
    say("references")
    unfinished = runs.references()
    references = _distinct([each for version in kept for each in _models(index, version)] + unfinished)
    say("models")
    old_files = LISTING.empty_table()
    if not runs.alive:  # else a run may have put a file whose commit comes now
        old_files = _old(store, "index", before, lambda name: _is_data(name) and name[len("index/") :] not in files)
    expired = {each.version for each in history} - kept
    models = _unreferenced(store, before, references) if not runs.alive else LISTING.empty_table()
    leftovers = runs.leftovers() if not runs.alive else LISTING.empty_table()
    made_kept = {each.run for each in history if each.version in kept and each.run}
    retained = runs.retained(made_kept, keep)
    say("predictions")
    parts = LISTING.empty_table()
    if not runs.alive:
        parts = old_parts.unreferenced(lambda every: _kept(every, keep, before), before, made_kept, unfinished)
    finished = runs.expired(retained)
    others = _others(store, now, margin, expired, _past_tables(store, before, runs, retained, keep))
    records = _outlived(store, min(kept, default=0), before)
    blocked_by = runs.alive
    if not dry_run:
        say("removing signatures and rows")
        store.delete(others)
        store.delete(old_files.column("name").to_pylist())
        store.delete(records)  # after the rows of the versions that they were for
        if leftovers.num_rows or models.num_rows or parts.num_rows:
            say("removing abandoned runs, models and predictions")
            at_rest = partial(_at_rest, store, index, history, runs, old_parts, margin)
            (leftovers, models, parts), blocked_by = _remove(store, at_rest, [leftovers, models, parts])
        say("removing runs")
        store.delete(finished.column("name").to_pylist())
        _check(index, history, files, old_files, models, old_parts.lost(parts))
    gone = pa.concat_tables([finished, leftovers])
    return Report(
        kept_versions=len(kept),
        expired_versions=len(expired),
        index_files=old_files.num_rows,
        index_bytes=_bytes(old_files),
        models=models.num_rows,
        model_bytes=_bytes(models),
        runs=len({name.split("/")[1] for name in gone.column("name").to_pylist()}),
        run_bytes=_bytes(gone),
        others=len(others) + len(records),
        unfinished_runs=len(runs.unfinished),
        parts=parts.num_rows,
        part_bytes=_bytes(parts),
        blocked_by=blocked_by,
    )


def _at_rest(
    store: Store, index: Index, history: list[VersionInfo], runs: Runs, parts: OldParts, margin: float
) -> tuple[str, ...] | None:
    """None if nothing has changed since the first look, else the ids of the runs that may be at work."""
    again = Runs(store, store.now(), margin)
    at_work = tuple(sorted({*again.changed(runs), *again.alive}))
    moved = (index.version() or 0) != max((each.version for each in history), default=0) or parts.moved()
    return at_work if at_work or moved else None


def _remove(
    store: Store, at_rest: Callable[[], tuple[str, ...] | None], listings: list[pa.Table]
) -> tuple[list[pa.Table], tuple[str, ...]]:
    """Remove the objects that a run might adopt. Each listing is removed as a whole before the next one begins.

    Returns the objects that were removed, and the ids of the runs because of which the others were not.
    """
    with Removal(store) as removal:
        # Look again after the notice is put: a run that began earlier is seen here, and a later run sees the notice.
        at_work = at_rest()
        if at_work is not None:
            return [each.slice(0, 0) for each in listings], at_work
        gone, whole = [], True
        for each in listings:
            count = removal.remove(each.column("name").to_pylist()) if whole else 0
            whole = whole and count == each.num_rows
            gone.append(each.slice(0, count))
        asked = removal.asked_by()
    return gone, (asked,) if asked else ()


def _others(store: Store, now: datetime, margin: float, expired: set[int], tables: list[str]) -> list[str]:
    before = now - timedelta(seconds=margin)
    # Runs respect a notice for some time, so it must not be removed earlier, however small the margin.
    unheeded = now - timedelta(seconds=max(margin, 2 * notice.LEASE))
    found = [
        _old(store, "signatures", before, lambda name: name[-25:-5].isdigit() and int(name[-25:-5]) in expired),
        _old(store, ".probe", before, lambda name: True),
        _old(store, notice.FOLDER, unheeded, lambda name: True),
    ]
    return [*tables, *(name for each in found for name in each.column("name").to_pylist())]


def _outlived(store: Store, oldest: int, before: datetime) -> list[str]:
    """Records of forgotten keys that no version needs any more: ``oldest``, the oldest kept one, is without the key."""
    records = forgotten.every(store)
    done = {
        f"{forgotten.FOLDER}/{each}.json"
        for each, record in records.items()
        if record.version is not None and record.version <= oldest and not record.parts
    }
    found: list[str] = _old(store, forgotten.FOLDER, before, done.__contains__).column("name").to_pylist()
    return found


def _past_tables(store: Store, before: datetime, runs: Runs, retained: set[str], keep: int) -> list[str]:
    """Files of counted keys that no run is likely to need again. A run that needs them counts the keys anew."""
    listing = listed(store, "keys").sort_by([("modified", "descending")]).slice(keep)
    old = listing.filter(pc.less_equal(listing.column("modified"), before)).column("name").to_pylist()
    needed = {f"keys/{state}.arrow" for state in runs.table_states(retained)} if old else set()
    return [name for name in old if name not in needed]


def _kept(history: list[VersionInfo], keep: int, before: datetime) -> set[int]:
    """The newest versions, and those that were still current within the margin."""
    newest_first = sorted(history, key=lambda each: each.version, reverse=True)
    kept = {each.version for each in newest_first[:keep]}
    for later, each in pairwise(newest_first):
        if later.at > before:
            kept.add(each.version)
    return kept


def _removed(store: Store, index: Index, versions: set[int], current: int | None) -> set[int]:
    """Those of the versions whose rows an earlier ``gc`` has removed, which kept fewer. Never the current one."""
    there = set(listed(store, "index").column("name").to_pylist())
    return {
        version
        for version in versions - {current}
        if not all(f"index/{name}" in there for name in index.files(version))
    }


def _unreferenced(store: Store, before: datetime, references: pa.Table) -> pa.Table:
    listing = listed(store, "models")
    listing = listing.filter(pc.less_equal(listing.column("modified"), before))
    needed = []
    for piece in references.to_batches(max_chunksize=_SLICE):
        pairs = zip(piece.column("key").to_pylist(), piece.column("digest").to_pylist(), strict=True)
        needed.append(pa.array([model_name(key, digest) for key, digest in pairs], pa.string()))
    return listing.filter(pc.invert(pc.is_in(listing.column("name"), value_set=pa.chunked_array(needed, pa.string()))))


def _models(index: Index, version: int) -> tuple[pa.Table, pa.Table]:
    """Key and digest of the live models of a version, and of the challengers that its gate kept back."""
    rows = index.read(columns=["key", "digest", "challenger"], at=version)
    return rows.select(["key", "digest"]), rows.select(["key", "challenger"]).rename_columns(["key", "digest"])


def _distinct(tables: list[pa.Table]) -> pa.Table:
    """Each pair of key and digest once, without rows that have no model."""
    found = pa.table({"key": pa.array([], pa.string()), "digest": pa.array([], pa.string())})
    for table in tables:
        both = pa.concat_tables([found, table.filter(pc.is_valid(table.column("digest")))])
        found = both.group_by(["key", "digest"]).aggregate([]).select(["key", "digest"])
    return found


def _check(
    index: Index,
    history: list[VersionInfo],
    files: set[str],
    removed: pa.Table,
    models: pa.Table,
    parts: set[str],
) -> None:
    """Raise DamageError if a version that was published meanwhile (by a rollback, say) needs a removed object."""
    if parts:
        raise DamageError(
            f"a version of the predictions was made while gc ran, and needs {len(parts)} of the files it removed",
            hint="Roll back to a kept version (`manyfit history`), and run the scoring again.",
        )
    current = index.version()
    if current is None or current in {each.version for each in history}:
        return
    gone = {name.removeprefix("index/") for name in removed.column("name").to_pylist()}
    lost = gone.intersection(index.files(current))
    if not lost:
        needed = [name for rows in _models(index, current) for name in _unwanted(rows, models)]
        # A run that waited for this gc has put the objects that it needs again.
        lost = {name for name in needed if index.store.head(name) is None}
    if lost:
        raise DamageError(
            f"version {current} was published while gc ran, and needs {len(lost)} of the objects it removed",
            hint="Roll back to a kept version (`manyfit history`), or run the job again, then `manyfit verify`.",
        )


def _unwanted(rows: pa.Table, removed: pa.Table) -> Iterable[str]:
    names = set(removed.column("name").to_pylist())
    for row in rows.filter(pc.is_valid(rows.column("digest"))).to_pylist():
        if (name := model_name(row["key"], row["digest"])) in names:
            yield name


def _old(store: Store, prefix: str, before: datetime, choose: Callable[[str], bool]) -> pa.Table:
    listing = listed(store, prefix)
    listing = listing.filter(pc.less_equal(listing.column("modified"), before))
    return listing.filter(pa.array([choose(name) for name in listing.column("name").to_pylist()], pa.bool_()))


def _is_data(name: str) -> bool:
    return name.endswith(".parquet") and "/_delta_log/" not in name


def _bytes(listing: pa.Table) -> int:
    return int(pc.sum(listing.column("size")).as_py() or 0)
