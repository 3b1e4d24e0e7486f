"""The runs below an output, judged by their objects: which have finished, which may be at work, what may be removed.

For ``gc``. It reads segments and ``run.json``; it writes and removes nothing.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from job import run_paths
from job.errors import NotFoundError
from job.run import notice
from job.store import Store
from job.store.listed import listed
from job.worker import segment

_RESULT = r"^runs/[^/]+/result\.json$"
_SEGMENT = r"^runs/[^/]+/segments/"


class Runs:
    """All runs of an output, as they were when this object was made.

    Parameters
    ----------
    store
        The output.
    now
        The time by the store's clock.
    margin
        Seconds; an unfinished run that has written within them, or within `job.run.notice.LEASE`, may be at work.
    """

    def __init__(self, store: Store, now: datetime, margin: float) -> None:
        self._store = store
        self._before = now - timedelta(seconds=margin)
        self._listing = listed(store, "runs")
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
            if name == run_paths.result(run):
                finished.add(run)
        self._finished = finished
        heeded = max(margin, notice.LEASE)
        adopted = now - timedelta(seconds=segment.ADOPT_SECONDS + heeded)
        unfinished = self._newest.keys() - finished
        self.abandoned = sorted(run for run in unfinished if self._newest[run] <= adopted)
        """ids of unfinished runs that have not written for so long that no run adopts their outcomes"""
        self.unfinished = sorted(unfinished.difference(self.abandoned))
        """ids of the other runs without a result"""
        recent = now - timedelta(seconds=heeded)
        self.alive = tuple(run for run in self.unfinished if self._newest[run] > recent)
        """ids of the unfinished runs that may be at work"""

    def changed(self, before: Runs) -> tuple[str, ...]:
        """Ids of the runs that have written anything since ``before`` was made."""
        return tuple(sorted(run for run, at in self._newest.items() if before._newest.get(run) != at))

    def references(self) -> list[pa.Table]:
        """Tables with the key and the digest of every model that an unfinished run has put."""
        columns = ["key", "digest"]
        return [segment.read(self._store, run_paths.segments(run), columns=columns) for run in self.unfinished]

    def retained(self, made_kept: set[str], keep: int) -> set[str]:
        """Ids of the runs whose files stay: unfinished runs, runs of kept versions, the newest ones, and young ones."""
        newest = sorted(self._finished, key=lambda run: self._newest[run], reverse=True)[:keep]
        young = {run for run in self._finished if self._newest[run] > self._before}
        return young.union(self.unfinished, self._finished & made_kept, newest)

    def expired(self, retained: set[str]) -> pa.Table:
        """The files of finished runs that may be removed: all except their results."""
        names = self._listing.column("name")
        return self._objects(self._finished - retained, pc.invert(pc.match_substring_regex(names, _RESULT)))

    def leftovers(self) -> pa.Table:
        """All objects of the abandoned runs. The segments come first: without them nothing names the runs' models."""
        segments = pc.match_substring_regex(self._listing.column("name"), _SEGMENT)
        parts = [self._objects(set(self.abandoned), chosen) for chosen in (segments, pc.invert(segments))]
        return pa.concat_tables(parts)

    def table_states(self, retained: set[str]) -> set[str]:
        """The states of the table (layout ``columns``) that runs have planned from, as far as their files record it."""
        states = set()
        for run in retained:
            try:
                told = json.loads(bytes(self._store.get(run_paths.settings(run))))
            except NotFoundError:
                continue
            states.add(told.get("table"))
        return states - {None}

    def _objects(self, runs: set[str], chosen: pa.ChunkedArray) -> pa.Table:
        return self._listing.filter(pc.and_(pc.is_in(self._of, value_set=pa.array(sorted(runs), pa.string())), chosen))
