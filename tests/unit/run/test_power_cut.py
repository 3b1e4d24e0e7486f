"""What a release names would survive a power cut: all files are flushed to the disk first."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.folder_job import Job, line
from tests.support.score_job import ScoreJob, rows


def flushed(monkeypatch: pytest.MonkeyPatch, out: Path) -> list[list[str]]:
    """At each flush, the files of an output that are there."""
    seen: list[list[str]] = []
    monkeypatch.setattr(
        os, "sync", lambda: seen.append([str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()])
    )
    return seen


def commits(names: list[str], table: str) -> int:
    """Commits of a table."""
    return sum(name.startswith(f"{table}/_delta_log/") and name.endswith(".json") for name in names)


def test_models_are_on_the_disk_before_a_release_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(tmp_path)
    job.put("a.csv.gz", line(2.0))
    seen = flushed(monkeypatch, job.out)

    job.run()

    [before] = seen
    assert sum(name.endswith(".joblib") for name in before) == 1
    assert commits(before, "index") == 0
    assert sorted(job.models()) == ["a"]


@pytest.mark.parametrize("mode", ["append", "replace"])
def test_predictions_are_on_the_disk_before_a_release_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    job = ScoreJob(tmp_path, keys=2)
    job.trained.run()
    job.score(output={"mode": mode})
    # A release that replaces writes files of its own: they hold the other key's rows, too.
    job.put("k1.csv", rows(2.0, count=4))
    seen = flushed(monkeypatch, job.out)
    before = {table: len(list((job.out / table / "_delta_log").glob("*.json"))) for table in ("predictions", "index")}

    job.score(output={"mode": mode})

    named = {f"predictions/{name}" for name in job.predictions.files()}
    assert named
    assert named <= set(seen[-1])
    assert {table: commits(seen[-1], table) for table in before} == before
