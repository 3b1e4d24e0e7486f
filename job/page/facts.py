"""The data of a page, read from an output: the run's result and outcomes, the published rows, earlier runs.

The only module of this package that touches a store.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from job import run_paths
from job.errors import ConfigurationError, NotFoundError
from job.keys import key_path
from job.registry.history import VersionInfo
from job.registry.index import FAILED, ROW, STALE, Index

if TYPE_CHECKING:
    from job.store import Store

OUTCOMES = (
    "key", "status", "reason", "message", "rows", "bytes", "seconds", "task", "worker", "attempt", "peak",
    "finished_at", "adopted",
)  # fmt: skip
"""Columns of a run's outcomes that a page needs."""
_ROWS = ("key", "state", "digest", "rows", "metrics", "seconds", "reason", "message", "trained_at", "gone_since")
_LATER = ("skill", "gate", "gate_gain", "gate_p", "gate_rows", "gate_note")
"""Columns that not every output has."""
_BEFORE = ("key", "digest", "metrics", "skill")
_REPEATED = ("state", "reason", "message", "gate", "gate_note")
_LOOKED_AT = 4
"""So many times more runs are looked at than wanted: names of runs need not tell which is newer."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The data of a page."""

    output: str
    """the output as a command takes it"""
    result: Mapping[str, Any]
    """``result.json`` of the run"""
    outcomes: pa.Table | None
    """`OUTCOMES` of the run; None where they have expired, or where nothing was trained"""
    published: pa.Table | None
    """the rows of the version that the run left; None where they are too many to be read in passing"""
    before: pa.Table | None
    """the rows of the version that it is compared with"""
    against: int | None
    """the number of that version"""
    versions: Sequence[VersionInfo]
    """newest first"""
    runs: Sequence[Mapping[str, Any]]
    """results of runs, the oldest first and this one last"""
    failed_before: Mapping[str, int]
    """key that failed now to the number of the earlier ``runs`` in which it failed"""
    now: datetime
    metric: str | None = None
    """the metric that compares the models; None: the first one"""

    @property
    def run(self) -> str:
        """The run's id."""
        return str(self.result["run"])

    @property
    def version(self) -> int | None:
        """The published version that the run left."""
        found: int | None = self.result["version"]
        return found

    def of_run(self, rest: str) -> str:
        """A ``manyfit report`` command about this run."""
        against = f" --against {self.against}" if self.against is not None else ""
        metric = f" --metric {quoted(self.metric)}" if self.metric is not None else ""
        return f"manyfit report {quoted(self.output)} --run {quoted(self.run)}{against}{metric} {rest}"

    def of_set(self, command: str, rest: str = "") -> str:
        """A command about the version that the run left."""
        return f"manyfit {command} {quoted(self.output)} {rest}".rstrip()


def quoted(text: str) -> str:
    """The text, quoted for a shell."""
    import shlex

    return shlex.quote(text)


def read(
    store: Store,
    *,
    run: str | None = None,
    against: int | None = None,
    last: int = 30,
    metric: str | None = None,
) -> Facts:
    """Read what a page about a run needs.

    Parameters
    ----------
    store
        The output.
    run
        Default: the newest run that has ended.
    against
        The version to compare with; default: the one before the run's.
    last
        How many runs and versions the pictures over time go back.
    metric
        By which models are compared; default: the first of the models' own.

    Raises
    ------
    ConfigurationError
        No run has ended, there is no such run, or no such version.
    """
    results = _results(store, run, last)
    if run is None:
        result = results[-1]
    else:
        result = next(each for each in results if each["run"] == run)
    outcomes = _outcomes(store, str(result["run"]))
    found = gather(store, result, outcomes=outcomes, results=results, against=against, last=last)
    return replace(found, metric=metric)


def gather(
    store: Store,
    result: Mapping[str, Any],
    *,
    outcomes: pa.Table | None,
    results: Sequence[Mapping[str, Any]] | None = None,
    against: int | None = None,
    last: int = 30,
    most_rows: int | None = None,
) -> Facts:
    """The facts about a run whose result and outcomes are at hand.

    Parameters
    ----------
    results
        Of all runs, the oldest first; default: they are read.
    most_rows
        Larger sets are not read: `Facts.published` and `Facts.before` are None then.
    """
    run = str(result["run"])
    if results is None:
        results = [each for each in _results(store, None, last, needed=False) if each["run"] != run] + [result]
    runs = [each for each in results if each["started_at"] <= result["started_at"]][-last:]
    index = Index(store)
    versions = index.history(last)
    version: int | None = result["version"]
    asked = against is not None
    if against is None and version is not None and version > 1:
        against = version - 1
    published = before = None
    if version is not None and (most_rows is None or result["totals"]["planned"] <= most_rows):
        published = _rows(index, version, (*_ROWS, *_LATER))
        try:
            before = None if against is None else _rows(index, against, _BEFORE)
        except ConfigurationError:
            if asked:
                raise  # else gc has removed the version before, and the page does without
    failing = _failing(outcomes, published)
    return Facts(
        output=store.uri,
        result=result,
        outcomes=outcomes,
        published=published,
        before=before,
        against=against if before is not None else None,
        versions=versions,
        runs=runs,
        failed_before=_failed_before(store, failing, [str(each["run"]) for each in runs if each["run"] != run]),
        now=datetime.fromisoformat(str(result["finished_at"])),
    )


def _results(store: Store, run: str | None, last: int, *, needed: bool = True) -> list[dict[str, Any]]:
    """Results of the newest runs, the oldest first; with the one that is asked for."""
    names = sorted(store.prefixes("runs"))
    made = [each.run for each in Index(store).history(last) if each.run is not None]
    # Runs that changed nothing made no version; their names begin with a time, or come one after the other.
    wanted = {*made, *names[-_LOOKED_AT * last :], *([run] if run else [])}
    with ThreadPoolExecutor(16) as pool:
        found = [each for each in pool.map(lambda name: _result(store, name), sorted(wanted)) if each is not None]
    found.sort(key=lambda each: str(each["started_at"]))
    if run is not None and all(each["run"] != run for each in found):
        hint = f"`manyfit status {store.uri} --run {run}` says whether it is at work."
        raise ConfigurationError(f"no run {run!r} has ended in {store.uri}", hint=hint)
    if not found and needed:
        hint = f"`manyfit status {store.uri}` says whether one is at work."
        raise ConfigurationError(f"no run has ended in {store.uri}", hint=hint)
    return found


def _result(store: Store, run: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(bytes(store.get(run_paths.result(run))))
        return found
    except NotFoundError:
        return None


def _outcomes(store: Store, run: str) -> pa.Table | None:
    try:
        data = store.get(run_paths.outcomes(run))
    except NotFoundError:
        return None
    coded = ["status", "reason", "message", "worker"]
    return pq.read_table(pa.BufferReader(data), columns=list(OUTCOMES), read_dictionary=coded)


def _rows(index: Index, version: int, columns: Sequence[str]) -> pa.Table:
    names = [name for name in columns if name in ROW.names]
    return index.read(columns=names, at=version, encoded=[name for name in names if name in _REPEATED])


def _failing(outcomes: pa.Table | None, published: pa.Table | None) -> list[str]:
    """Keys that failed in the run, or are published as failed."""
    found: list[str] = []
    if outcomes is not None:
        found = outcomes["key"].filter(pc.equal(outcomes["status"], "failed")).to_pylist()
    if published is not None:
        chosen = pc.is_in(published["state"].cast(pa.string()), value_set=pa.array([FAILED, STALE]))
        found += published["key"].filter(chosen).to_pylist()
    return sorted(set(found))


def _failed_before(store: Store, keys: Sequence[str], runs: Sequence[str]) -> Mapping[str, int]:
    """How often each key failed before: a run leaves one object for each failed key."""
    if not keys or not runs:
        return {}
    paths = {f"{key_path(key)}.txt": key for key in keys}

    def failed_in(run: str) -> list[str]:
        folder = run_paths.failures(run)
        names = store.list(folder)["name"].to_pylist()
        return [paths[name.removeprefix(folder)] for name in names if name.removeprefix(folder) in paths]

    with ThreadPoolExecutor(8) as pool:
        return Counter(key for found in pool.map(failed_in, runs) for key in found)
