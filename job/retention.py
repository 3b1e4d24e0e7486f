"""Remove what no kept version refers to: the ``gc`` command. The only module that deletes anything of an output.

What stays, whatever else is said:

- the newest ``keep`` versions of the set, the current one among them, and any version that was current within the
  margin: their rows, and every model they refer to;
- unfinished runs (those without ``result.json``), and every model that their segments name;
- anything younger than the margin; and while an unfinished run has shown life within the margin, all models: it may be
  about to take over one that lies there already;
- ``result.json`` of every run, so that a run id once used stays answered.

It first removes the rows of expired versions, then models, so that a version never has rows without models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from job import segment
from job.errors import ConfigurationError, DamageError, NotFoundError
from job.history import VersionInfo
from job.index import Index
from job.partition import model_name
from job.store import LISTING, Store

_SLICE = 50_000


@dataclass(frozen=True, kw_only=True)
class Report:
    """What `gc` removed, or would remove."""

    kept_versions: int
    """that can still be opened and rolled back to"""
    expired_versions: int
    """older ones"""
    index_files: int
    """data files of the table that only expired versions have"""
    index_bytes: int
    """their size"""
    models: int
    """model files that nothing kept refers to"""
    model_bytes: int
    """their size"""
    runs: int
    """finished runs whose logs, plans and outcomes have expired"""
    run_bytes: int
    """their size"""
    others: int
    """signatures of expired versions, and left-over probes of the store"""
    unfinished_runs: int
    """kept; run the job again to finish them"""
    blocked_by: tuple[str, ...] = ()
    """unfinished runs that may still be at work, for whose sake no model was removed"""


def gc(
    store: Store,
    *,
    keep: int = 30,
    dry_run: bool = True,
    margin: float = 24 * 3600.0,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Remove, or count, what is no longer needed.

    Parameters
    ----------
    store
        The output.
    keep
        Versions of the set that stay.
    dry_run
        Only count.
    margin
        Seconds; what is younger stays.
    progress
        Called with what is being looked at.

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
    kept = _kept(history, keep, before)
    files = {file for version in kept for file in index.files(version)}
    say("runs")
    runs = _Runs(store, before)
    say("references")
    references = _distinct([index.read(columns=["key", "digest"], at=version) for version in kept] + runs.references())
    say("models")
    old_files = _old(store, "index", before, lambda name: _is_data(name) and name.removeprefix("index/") not in files)
    expired = {each.version for each in history} - kept
    signatures = _old(store, "signatures", before, lambda name: name[-25:-5].isdigit() and int(name[-25:-5]) in expired)
    models = _unreferenced(store, before, references) if not runs.alive else LISTING.empty_table()
    finished = runs.expired({each.run for each in history if each.version in kept and each.run}, keep)
    probes = _old(store, ".probe", before, lambda name: True)
    if not dry_run:
        for doomed, what in ((signatures, "signatures"), (old_files, "table"), (models, "models"), (finished, "runs")):
            say(f"removing {what}")
            store.delete(doomed.column("name").to_pylist())
        store.delete(probes.column("name").to_pylist())
        _check(index, history, files, old_files, models)
    return Report(
        kept_versions=len(kept),
        expired_versions=len(expired),
        index_files=old_files.num_rows,
        index_bytes=_bytes(old_files),
        models=models.num_rows,
        model_bytes=_bytes(models),
        runs=len({name.split("/")[1] for name in finished.column("name").to_pylist()}),
        run_bytes=_bytes(finished),
        others=signatures.num_rows + probes.num_rows,
        unfinished_runs=len(runs.unfinished),
        blocked_by=runs.alive,
    )


def _kept(history: list[VersionInfo], keep: int, before: datetime) -> set[int]:
    """The newest versions, and those that were followed by another only within the margin."""
    newest_first = sorted(history, key=lambda each: each.version, reverse=True)
    kept = {each.version for each in newest_first[:keep]}
    for later, each in pairwise(newest_first):
        if later.at > before:
            kept.add(each.version)
    return kept


class _Runs:
    """The runs below an output, by what their objects say."""

    def __init__(self, store: Store, before: datetime) -> None:
        self._store = store
        self._before = before
        self._listing = _list(store, "runs")
        names = self._listing.column("name")
        self._of = pc.list_element(pc.split_pattern(names, "/"), 1) if len(names) else names
        self._newest: dict[str, datetime] = {}
        finished = set()
        for name, run, modified in zip(
            names.to_pylist(), self._of.to_pylist(), self._listing.column("modified").to_pylist(), strict=True
        ):
            if name.count("/") < 2:
                continue  # runs/latest.json belongs to no run
            self._newest[run] = max(modified, self._newest.get(run, modified))
            if name == f"runs/{run}/result.json":
                finished.add(run)
        self._finished = finished
        self.unfinished = sorted(self._newest.keys() - finished)
        self.alive = tuple(run for run in self.unfinished if self._newest[run] > before)

    def references(self) -> list[pa.Table]:
        """Key and digest of every model that an unfinished run has put."""
        columns = ["key", "digest"]
        return [segment.read(self._store, segment.folder(run), columns=columns) for run in self.unfinished]

    def expired(self, made_kept: set[str], keep: int) -> pa.Table:
        """What may go of the finished runs: of none that made a kept version, and of none of the newest."""
        newest = sorted(self._finished, key=lambda run: self._newest[run], reverse=True)[:keep]
        going = [run for run in self._finished - made_kept - set(newest) if self._newest[run] <= self._before]
        names = self._listing.column("name")
        result = pc.match_substring_regex(names, r"^runs/[^/]+/result\.json$")
        return self._listing.filter(
            pc.and_(pc.is_in(self._of, value_set=pa.array(going, pa.string())), pc.invert(result))
        )


def _unreferenced(store: Store, before: datetime, references: pa.Table) -> pa.Table:
    listing = _list(store, "models")
    listing = listing.filter(pc.less_equal(listing.column("modified"), before))
    needed = []
    for piece in references.to_batches(max_chunksize=_SLICE):
        pairs = zip(piece.column("key").to_pylist(), piece.column("digest").to_pylist(), strict=True)
        needed.append(pa.array([model_name(key, digest) for key, digest in pairs], pa.string()))
    return listing.filter(pc.invert(pc.is_in(listing.column("name"), value_set=pa.chunked_array(needed, pa.string()))))


def _distinct(tables: list[pa.Table]) -> pa.Table:
    """Each pair of key and digest once; rows without a model left out."""
    found = pa.table({"key": pa.array([], pa.string()), "digest": pa.array([], pa.string())})
    for table in tables:
        both = pa.concat_tables([found, table.filter(pc.is_valid(table.column("digest")))])
        found = both.group_by(["key", "digest"]).aggregate([]).select(["key", "digest"])
    return found


def _check(index: Index, history: list[VersionInfo], files: set[str], removed: pa.Table, models: pa.Table) -> None:
    """Whether a version that appeared meanwhile needs what was just removed. A rollback to an expired one does."""
    current = index.version()
    if current is None or current in {each.version for each in history}:
        return
    gone = {name.removeprefix("index/") for name in removed.column("name").to_pylist()}
    lost = gone.intersection(index.files(current)) or set(
        _unwanted(index.read(columns=["key", "digest"], at=current), models)
    )
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
    listing = _list(store, prefix)
    listing = listing.filter(pc.less_equal(listing.column("modified"), before))
    return listing.filter(pa.array([choose(name) for name in listing.column("name").to_pylist()], pa.bool_()))


def _list(store: Store, prefix: str) -> pa.Table:
    try:
        return store.list(prefix)
    except NotFoundError:
        return LISTING.empty_table()


def _is_data(name: str) -> bool:
    return name.endswith(".parquet") and "/_delta_log/" not in name


def _bytes(listing: pa.Table) -> int:
    return int(pc.sum(listing.column("size")).as_py() or 0)
