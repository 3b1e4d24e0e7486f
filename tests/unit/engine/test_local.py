"""The local engine: partitions begin while there is memory for them, and the run's folder goes with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from job.run.assembly import assemble
from job.run.run import run
from job.worker import machine
from tests.support.engines import LOCAL, body, merged, settings

RECIPE = """
import glob, time
from sklearn.linear_model import LinearRegression

def fit(frame, key):
    first = not glob.glob("{folder}/begun-*")
    open("{folder}/begun-" + key, "w").close()
    end = time.monotonic() + {wait}
    while first and time.monotonic() < end:
        if len(glob.glob("{folder}/begun-*")) == 2:
            open("{folder}/together", "w").close()
            break
        time.sleep(0.01)
    return LinearRegression().fit(frame[["x"]], frame["y"])
"""
"""Who begins first waits for the other one."""


def trained(folder: Path, *, wait: float) -> Any:
    """Two keys, two workers, a task each."""
    (folder / "in").mkdir()
    for key in ("a", "b"):
        (folder / "in" / f"{key}.csv.gz").write_bytes(body(1.0))
    (folder / "recipe.py").write_text(RECIPE.format(folder=folder, wait=wait))
    scratch = {"run": {"scratch": str(folder / "scratch")}}
    job = settings(folder, merged(LOCAL, scratch), {"recipe": {"function": "recipe.py:fit"}})
    return run(assemble(job, folder), {})


def test_two_partitions_are_fitted_at_once_where_there_is_memory_for_both(tmp_path: Path) -> None:
    report = trained(tmp_path, wait=300)

    assert report.totals.trained == 2
    assert (tmp_path / "together").exists()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_they_are_fitted_one_after_the_other_where_there_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "available_memory", lambda: 1)

    report = trained(tmp_path, wait=1)

    assert report.totals.trained == 2
    assert not (tmp_path / "together").exists()
