"""A scoring that is killed before or after each single write of its own: whatever the moment, every row once."""

from __future__ import annotations

import contextlib
import gc
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from job.registry.index import Index
from job.store.folder import FolderStore
from tests.support.score_job import ScoreJob, counts, rows

SEED = int(os.environ.get("CHAOS_SEED", time.strftime("%Y%j")))
PARTS = [pytest.param(part, marks=[] if part == SEED % 3 else [pytest.mark.chaos]) for part in range(3)]
"""``make test`` plays every third write, others from day to day; ``make chaos`` plays all."""


class Killed(BaseException):
    """Nothing of ours catches it for good."""


class Killer:
    """Counts the writes of a run and ends it at one of them.

    Parameters
    ----------
    at
        The number of the write, from 0; None never.
    after
        Once it is done, and not before.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int | None, *, after: bool) -> None:
        self.names: list[str] = []
        self.dead = False
        for method in ("create", "put"):
            monkeypatch.setattr(FolderStore, method, self._wrapped(getattr(FolderStore, method), at, after))

    def _wrapped(self, write: Callable[..., Any], at: int | None, after: bool) -> Callable[..., Any]:
        def killing(store: FolderStore, name: str, data: bytes) -> Any:
            if self.dead:
                raise Killed  # a dead process writes nothing more
            number = len(self.names)
            self.names.append(name)
            if number != at:
                return write(store, name, data)
            self.dead = True
            if after:
                write(store, name, data)
            raise Killed(name)

        return killing


POINTS = {
    "a task's list": r"/plan/",
    "a part": r"^predictions/parts/",
    "a segment": r"/segments/",
    "states, before the release": r"/release-\w+\.arrow$",
    "errors, before the release": r"/errors-\w+\.arrow$",
    "the commit of the predictions": r"^predictions/_delta_log/",
    "the commit of the errors": r"^errors/_delta_log/",
    "the commit of the states": r"^index/_delta_log/",
    "the result": r"/result\.json$",
}
"""The writes that a scoring may die at, by the names of what is written. Each is met, or the test shows less than it
says."""


class Prepared:
    """Three scored keys, of which two have new rows since: the output is set back for each death."""

    def __init__(self, folder: Path, mode: str) -> None:
        self.mode = mode
        self.job = job = ScoreJob(folder, keys=3)
        job.trained.run()
        job.overrides = {
            "score": {"actual": "y"},
            "metrics": {"enabled": False},
            "output": {"mode": mode, "report": "short"},
        }
        job.score()
        job.put("k1.csv", rows(2.0, count=4))
        job.put("k2.csv", rows(3.0, count=5))
        self._saved = folder / "saved"
        shutil.copytree(job.out, self._saved)

    def set_back(self) -> None:
        shutil.rmtree(self.job.out)
        shutil.copytree(self._saved, self.job.out)

    def check(self, when: str) -> None:
        job, old = self.job, 6 if self.mode == "append" else 0
        assert job.keys() == {"k0": 6, "k1": old + 4, "k2": old + 5}, when
        states = Index(job.assembly().output).read(columns=["key", "state"]).to_pylist()
        assert {row["key"]: row["state"] for row in states} == dict.fromkeys(("k0", "k1", "k2"), "live"), when
        files = [pq.read_table(name) for name in DeltaTable(str(job.out / "errors")).file_uris()]
        runs = pa.concat_tables(files).group_by("key").aggregate([("run", "count")]).to_pylist()
        assert {row["key"]: row["run_count"] for row in runs} == {"k0": 1, "k1": 2, "k2": 2}, when


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    ("mode", "after"), [("append", False), ("append", True), ("replace", True)], ids=["before", "after", "replace"]
)
def test_whichever_write_a_run_dies_at_the_next_one_leaves_every_row_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, after: bool, part: int
) -> None:
    prepared = Prepared(tmp_path, mode)
    job = prepared.job
    with monkeypatch.context() as patched:
        whole = Killer(patched, None, after=after)
        assert counts(job.score()) == (2, 1, 0, 0)
    prepared.check("nothing died")
    assert [point for point, name in POINTS.items() if not any(re.search(name, each) for each in whole.names)] == []

    for number, name in enumerate(whole.names):
        if "/" not in name and name.startswith(("written", "raced")):
            continue  # the admission of the store: that of every run
        if number % len(PARTS) != part:
            continue
        prepared.set_back()
        with monkeypatch.context() as patched:
            Killer(patched, number, after=after)
            # A death in a thread comes as what the thread has made of it.
            with contextlib.suppress(BaseException):
                job.score()
        when = f"died {'after' if after else 'before'} write {number}, {name}"
        gc.collect()

        report = job.score()

        assert report.exit_code == 0, when
        prepared.check(when)
        assert counts(job.score())[1] == 3, when
