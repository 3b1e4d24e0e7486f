"""``make chaos-ci``: as much of the fault tests as CHAOS_BUDGET seconds allow, others each time; on two cores.

Schedules are played in a process of their own, cells of the matrix here in an order that CHAOS_SEED decides. What fails is
named with what replays it.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from tests.chaos.cells import cells
from tests.chaos.proxy import FaultProxy
from tests.chaos.test_kills import killed, raised
from tests.chaos.test_matrix import broken_request
from tests.chaos.test_schedules import beside

SEED = int(os.environ.get("CHAOS_SEED", time.strftime("%Y%j")))
BUDGET = int(os.environ.get("CHAOS_BUDGET", "0"))
MANY = 9_000
"""more than a budget allows; a seed's schedules are not another seed's"""

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(BUDGET == 0, reason="CHAOS_BUDGET is not set: `make chaos` plays all that this takes a part of"),
    pytest.mark.timeout(BUDGET + 600),
]


def play(cell: str, folder: Path, s3_server: str, proxy: FaultProxy) -> str | None:
    """What is wrong with a cell."""
    try:
        if cell.startswith("fault"):
            broken_request(s3_server, proxy, cell)
        else:
            _, point, how = cell.split()
            {"exception": raised, "sigkill": killed}[how](folder, point)
    except (Exception, pytest.fail.Exception) as error:  # whatever a cell comes upon, the others are played too
        return f"{cell}: {type(error).__name__}: {error}"
    return None


@pytest.mark.usefixtures("s3")
def test_as_many_schedules_and_cells_as_there_is_time_for(
    s3_server: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    end, low = time.monotonic() + BUDGET, SEED * 10_000
    print(f"\nCHAOS_SEED={SEED} make chaos-ci replays this")
    file = tmp_path_factory.mktemp("schedules") / "said"
    schedules = beside(file, low, low + MANY, BUDGET)
    try:
        order = random.Random(SEED).sample(cells(), len(cells()))
        played, problems = 0, []
        with FaultProxy(s3_server) as proxy:
            for cell in order:
                if time.monotonic() > end:
                    break
                problems.append(play(cell, tmp_path_factory.mktemp("cell"), s3_server, proxy))
                played += 1
        # It has the same time, and ends with the schedule that it is at.
        schedules.wait(max(0.0, end - time.monotonic()) + 400)
    finally:
        schedules.kill()
        said = file.read_text()
    wrong = [problem for problem in problems if problem]
    print(f"{played} of {len(order)} cells, {len(wrong)} failed", said, sep="\n")

    assert wrong == []
    assert schedules.returncode == 0, said
    assert played > 0
