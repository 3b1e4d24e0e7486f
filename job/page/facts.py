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
from job.registry.predictions import Predictions
from job.words import Wording, wording

if TYPE_CHECKING:
    from job.store import Store

OUTCOMES = (
    "key", "status", "reason", "message", "rows", "bytes", "seconds", "task", "worker", "attempt", "peak",
    "finished_at", "adopted",
)  # fmt: skip
"""Columns of a run's outcomes that a page needs."""
_ROWS = ("key", "state", "digest", "rows", "metrics", "seconds", "reason", "message", "trained_at", "gone_since")
_LATER = ("skill", "gate", "gate_gain", "gate_p", "gate_rows", "gate_note")
"""Columns that some outputs do not have."""
_BEFORE = ("key", "digest", "metrics", "skill")
_REPEATED = ("state", "reason", "message", "gate", "gate_note")
_LOOKED_AT = 4
"""Factor by which more runs are read than are shown: the names of runs need not sort by time."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The data of a page."""

    output: str
    """the output, as written in a command"""
    result: Mapping[str, Any]
    """``result.json`` of the run"""
    outcomes: pa.Table | None
    """the columns `OUTCOMES` of the run; None if they have expired, or if nothing was trained"""
    published: pa.Table | None
    """the rows of the version after the run; None if there is none, or too many rows for the end of a run"""
    before: pa.Table | None
    """the rows of the version to compare with; None if there is none"""
    against: int | None
    """the number of the version to compare with"""
    versions: Sequence[VersionInfo]
    """newest first"""
    runs: Sequence[Mapping[str, Any]]
    """results of runs, the oldest first and this one last"""
    failed_before: Mapping[str, int]
    """for each key that failed now, the number of earlier ``runs`` in which it failed"""
    now: datetime
    metric: str | None = None
    """the metric that compares the models; None: the first one"""

    @property
    def run(self) -> str:
        """The run's id."""
        return str(self.result["run"])

    @property
    def version(self) -> int | None:
        """The version that is published after the run; None if there is none."""
        found: int | None = self.result["version"]
        return found

    @property
    def words(self) -> Wording:
        """The words for this run: of a training or of a scoring."""
        return wording(str(self.result.get("kind", "train")))

    def of_run(self, rest: str) -> str:
        """A ``manyfit report`` command about this run."""
        against = f" --against {self.against}" if self.against is not None else ""
        metric = f" --metric {quoted(self.metric)}" if self.metric is not None else ""
        return f"manyfit report {quoted(self.output)} --run {quoted(self.run)}{against}{metric} {rest}"

    def of_set(self, command: str, rest: str = "") -> str:
        """A ``manyfit`` command about the output."""
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
    """Read the data of a page about a run.

    Parameters
    ----------
    store
        The output.
    run
        The id of the run; default: the newest run that has ended.
    against
        The version to compare with; default: the one before the run's.
    last
        Number of runs and versions in the pictures over time.
    metric
        The metric that compares the models; default: the first metric of the models, skill excepted.

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
    """The data of a page about a run whose result and outcomes have been read already.

    Parameters
    ----------
    store
        The store of the output.
    result
        ``result.json`` of the run.
    outcomes
        The columns `OUTCOMES` of the run, or None.
    results
        The results of all runs, the oldest first; default: read from the store.
    against, last
        As in `read`.
    most_rows
        If the run planned more keys, published rows are not read: `Facts.published` and `Facts.before` are None.
    """
    run = str(result["run"])
    if results is None:
        results = [each for each in _results(store, None, last, needed=False) if each["run"] != run] + [result]
    runs = [each for each in results if each["started_at"] <= result["started_at"]][-last:]
    index = Index(store)
    predictions = Predictions(store)
    versions = predictions.history(last) or index.history(last)
    version: int | None = result["version"]
    asked = against is not None
    if against is None and version is not None and version > 1:
        against = version - 1
    published = before = None
    if version is not None and (most_rows is None or result["totals"]["planned"] <= most_rows):
        own = next((each.version for each in index.history(last) if each.run == run), None)
        at = own if own is not None else predictions.index_of(version)
        published = _rows(index, at, (*_ROWS, *_LATER))
        try:
            before = None if against is None else _rows(index, predictions.index_of(against), _BEFORE)
        except ConfigurationError:
            if asked:
                raise  # else gc has removed the version before, and the page has no comparison
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
    """Results of the newest runs and of ``run``, the oldest first."""
    names = sorted(store.prefixes("runs"))
    made = [each.run for each in Index(store).history(last) if each.run is not None]
    # Runs that changed nothing made no version. They are found by name: names begin with a time, or are counted up.
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
    """The number of runs in which each key failed; a run writes one object for each failed key."""
    if not keys or not runs:
        return {}
    paths = {f"{key_path(key)}.txt": key for key in keys}

    def failed_in(run: str) -> list[str]:
        folder = run_paths.failures(run)
        names = store.list(folder)["name"].to_pylist()
        return [paths[name.removeprefix(folder)] for name in names if name.removeprefix(folder) in paths]

    with ThreadPoolExecutor(8) as pool:
        return Counter(key for found in pool.map(failed_in, runs) for key in found)
