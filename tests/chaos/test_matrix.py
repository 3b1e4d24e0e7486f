"""The fault matrix: each kind of request, broken in each way, then healed and audited. All of it in ``make chaos``.

``make test`` takes a slice that differs from day to day; CHAOS_SEED chooses it again.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator

import pytest

from job.engine.inline import InlineEngine
from job.engine.local import LocalEngine
from job.errors import InputError
from job.run.assembly import assemble
from job.run.run import run
from tests.chaos.broken_request import broken_request
from tests.chaos.cells import FILE, KILL_POINTS, TIMES, cells, faults
from tests.chaos.proxy import FAULTS, KINDS, SCORING_KINDS, Fault, FaultProxy, kind_of
from tests.chaos.world import World
from tests.support.spark_jobs import SharedEngine

SEED = int(os.environ.get("CHAOS_SEED", time.strftime("%Y%j")))
QUICK, QUICK_SCORING = 2, 2


@pytest.fixture(scope="module")
def proxy(s3_server: str) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server) as running:
        yield running


def test_the_matrix_has_every_cell_that_the_protocol_asks_for() -> None:
    written = json.loads(FILE.read_text())

    assert written == cells()
    assert len(written) == len(set(written)) == 448
    assert len(KILL_POINTS) == 14
    assert (len(KINDS), len(SCORING_KINDS), len(FAULTS), len(TIMES)) == (8, 6, 10, 3)


EVERY = faults()
OF_SCORING = [cell for cell in EVERY if cell.startswith("score")]
OF_TRAINING = [cell for cell in EVERY if cell not in OF_SCORING]
SLICE = [
    cell
    for some, count in ((OF_TRAINING, QUICK), (OF_SCORING, QUICK_SCORING))
    for cell in sorted(random.Random(SEED).sample(some, count))
]


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize("cell", SLICE)
def test_a_broken_request_loses_tears_doubles_mixes_and_overwrites_nothing(
    s3_server: str, proxy: FaultProxy, cell: str
) -> None:
    broken_request(s3_server, proxy, cell)


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize("engine", ["inline", "local", pytest.param("spark", marks=pytest.mark.spark)])
def test_an_input_that_cannot_be_reached_any_more_ends_the_run_as_the_input_s_fault(
    s3_server: str, proxy: FaultProxy, engine: str, request: pytest.FixtureRequest
) -> None:
    """Spark hands over the text of what its task raised, a worker of the local engine the error: the hint comes with it."""
    if engine == "spark":
        request.getfixturevalue("spark")  # a session of its own would be stopped with this run, and is everybody's
    world = World(proxy, s3_server, admit=False, timeout=30)
    world.begin()
    proxy.kind_of = kind_of
    proxy.fault = Fault("input_get", "refused", TIMES["forever"])
    make = {"inline": lambda _: InlineEngine(), "local": lambda _: LocalEngine(2), "spark": SharedEngine}[engine]
    try:
        with pytest.raises(InputError, match=r"the input could not be read: .*the input bucket") as caught:
            run(
                assemble(world.settings(spark={"master": "inline" if engine == "inline" else "local[2,4]"})),
                {},
                make_engine=lambda made: make(made.settings),
            )
    finally:
        proxy.fault = None

    assert caught.value.exit_code == 4
    assert "run again" in caught.value.hint
    assert world.audit(None).problems == []


@pytest.mark.chaos
@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize("cell", [cell for cell in EVERY if cell not in SLICE])
def test_every_other_cell_of_the_matrix_holds_too(s3_server: str, proxy: FaultProxy, cell: str) -> None:
    broken_request(s3_server, proxy, cell)
