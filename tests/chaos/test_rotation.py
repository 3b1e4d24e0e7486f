"""``make chaos-ci``: a part of the fault tests within CHAOS_BUDGET seconds, others each time; on two cores.

CHAOS_SCHEDULES schedules (2,000), played by two processes; and meanwhile, for CHAOS_CELLS seconds (120), cells of the matrix
in an order that CHAOS_SEED decides. What is not played when the time is over is told, and no failure. What fails is named
with what replays it.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from tests.chaos.broken_request import broken_request
from tests.chaos.cells import cells
from tests.chaos.kills import killed, raised
from tests.chaos.players import MANY, Players
from tests.chaos.proxy import FaultProxy
from tests.support.skips import DOES_NOT_APPLY

SEED = int(os.environ.get("CHAOS_SEED", time.strftime("%Y%j")))
BUDGET = int(os.environ.get("CHAOS_BUDGET", "0"))
CELLS = int(os.environ.get("CHAOS_CELLS", "120"))

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(
        BUDGET == 0,
        reason=f"{DOES_NOT_APPLY}CHAOS_BUDGET is not set, and `make chaos` plays all that this takes a part of",
    ),
    pytest.mark.timeout(BUDGET + 600),
]


def play(cell: str, folder: Path, s3_server: str, proxy: FaultProxy) -> str | None:
    """What is wrong with a cell."""
    try:
        if cell.startswith("kill"):
            _, point, how = cell.split()
            {"exception": raised, "sigkill": killed}[how](folder, point)
        else:
            broken_request(s3_server, proxy, cell)
    except (Exception, pytest.fail.Exception) as error:  # whatever a cell comes upon, the others are played too
        return f"{cell}: {type(error).__name__}: {error}"
    return None


@pytest.mark.usefixtures("s3")
def test_as_many_schedules_and_cells_as_there_is_time_for(
    s3_server: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    begin, low = time.monotonic(), SEED * 10_000
    print(f"\nCHAOS_SEED={SEED} make chaos-ci replays this", flush=True)
    order = random.Random(SEED).sample(cells(), len(cells()))
    problems = []
    with Players(low, low + MANY, BUDGET) as players:
        with FaultProxy(s3_server) as proxy:
            for cell in order:
                if time.monotonic() - begin > min(CELLS, BUDGET):
                    break
                problems.append(play(cell, tmp_path_factory.mktemp("cell"), s3_server, proxy))
        wrong = [problem for problem in problems if problem]
        took = time.monotonic() - begin
        print(f"{len(problems)} of {len(order)} cells played, {len(wrong)} failed: {took:.0f} s", flush=True)
        played, well, said = players.result()
    print(said)

    assert wrong == []
    assert well, said
    assert problems
    assert played > 0
