"""A process dies at each point of the protocol; the next run finds everything, and nothing is lost, torn or doubled."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.cells import KILL_POINTS
from tests.chaos.kills import DRIVER, WORKER, killed, killed_local_driver, killed_worker, raised


@pytest.mark.parametrize("point", ["mid_input_get", "model_stored_ack_lost"])
def test_workers_of_the_local_engine_that_are_killed_cost_neither_a_key_nor_the_run(tmp_path: Path, point: str) -> None:
    killed_worker(tmp_path, point)


@pytest.mark.chaos
@pytest.mark.parametrize(
    "point", [point for point in WORKER if point not in ("mid_input_get", "model_stored_ack_lost")]
)
def test_nor_do_they_at_any_other_point(tmp_path: Path, point: str) -> None:
    killed_worker(tmp_path, point)


@pytest.mark.chaos
@pytest.mark.parametrize("point", ["before_barrier", *DRIVER])
def test_a_driver_of_the_local_engine_that_is_killed_loses_tears_and_doubles_nothing(
    tmp_path: Path, point: str
) -> None:
    killed_local_driver(tmp_path, point)


@pytest.mark.parametrize("point", KILL_POINTS)
def test_a_process_that_ends_by_an_exception_loses_tears_and_doubles_nothing(tmp_path: Path, point: str) -> None:
    raised(tmp_path, point)


@pytest.mark.chaos
@pytest.mark.parametrize("point", KILL_POINTS)
def test_a_process_that_is_killed_loses_tears_and_doubles_nothing(tmp_path: Path, point: str) -> None:
    killed(tmp_path, point)
