"""Processes that die at a point of the protocol, and what must hold then: cells of the matrix."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from job.engine.inline import InlineEngine
from job.registry.model_set import ModelSet
from job.run.assembly import assemble
from job.run.report import RunReport
from job.run.run import run
from tests.chaos.audit import Audit, audit
from tests.chaos.cells import KILL_POINTS
from tests.chaos.dying import Died, run_dying, settings
from tests.chaos.world import NEW, OLD, body

DRIVER = ("before_release", "release_stored_ack_lost", "after_release", "before_result")


def look(folder: Path, slopes: dict[str, float] | None) -> Audit:
    out = folder / "out"
    return audit(
        {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}, slopes
    )


def healthy(folder: Path) -> RunReport:
    return run(assemble(settings(folder)), {}, make_engine=lambda _: InlineEngine())


def begin(folder: Path) -> None:
    """A first release of `OLD`; then `NEW` data."""
    (folder / "in").mkdir()
    for key, slope in OLD.items():
        (folder / "in" / f"{key}.csv.gz").write_bytes(body(slope))
    assert healthy(folder).version == 1
    for key, slope in NEW.items():
        if OLD.get(key) != slope:
            (folder / "in" / f"{key}.csv.gz").write_bytes(body(slope))


def heals(folder: Path, point: str) -> None:
    """What must hold after a death at a point: before anything else runs, and after one more run."""
    published = point in ("release_stored_ack_lost", "after_release", "before_result")
    between = look(folder, NEW if published else OLD | {"k1": OLD["k1"]})
    assert between.problems == []
    assert len(ModelSet.open(str(folder / "out"))) == len(NEW if published else OLD)

    report = healthy(folder)

    count = report.totals
    assert count.failed == count.skipped == 0
    assert count.planned == len(NEW)
    assert count.trained == (0 if published else 4)
    if point in ("before_barrier", "before_release"):
        assert count.adopted == 4, "all was finished: nothing is trained twice"
    assert look(folder, NEW).problems == []


def raised(folder: Path, point: str) -> None:
    """A cell of the matrix: the process ends by an exception."""

    def die() -> None:
        raise Died(point)

    begin(folder)
    with pytest.raises(Died):
        run_dying(folder, point, die)
    heals(folder, point)


def _dying(folder: Path, *how: str) -> subprocess.CompletedProcess[bytes]:
    """A run in a process of its own that dies at a point."""
    command = [sys.executable, "-m", "tests.chaos.dying", str(folder), *how]
    return subprocess.run(command, capture_output=True, check=False, cwd=Path(__file__).parents[2])


def killed(folder: Path, point: str) -> None:
    """A cell of the matrix: the process ends by SIGKILL."""
    begin(folder)
    ended = _dying(folder, point)
    assert ended.returncode == -9, ended.stderr.decode()[-500:]
    heals(folder, point)


WORKER = [point for point in KILL_POINTS if point not in ("before_barrier", *DRIVER)]


def killed_worker(folder: Path, point: str) -> None:
    """Workers of the local engine end by SIGKILL, again and again: the run they belong to ends well."""
    begin(folder)
    ended = _dying(folder, point, "local")
    assert ended.returncode == 0, ended.stderr.decode()[-2000:]
    assert list(folder.glob("killed-*")), "nobody came by the point"
    count = RunReport.from_json(ended.stdout).totals
    assert (count.planned, count.trained, count.failed, count.skipped) == (len(NEW), 4, 0, 0)
    assert look(folder, NEW).problems == []
    assert healthy(folder).totals.trained == 0


def killed_local_driver(folder: Path, point: str) -> None:
    """The driver of the local engine ends by SIGKILL."""
    begin(folder)
    ended = _dying(folder, point, "local")
    assert ended.returncode == -9, ended.stderr.decode()[-2000:]
    heals(folder, point)
