"""What goes wrong on a cluster: lost executors and drivers, poison, mistakes. Each ends right, or says what is wrong."""

from __future__ import annotations

import json
import os
from concurrent.futures import Future
from typing import Any

import pytest

from tests.e2e.harness import Space
from tests.e2e.scenarios import MISTAKES, SLOPES
from tests.support.skips import DOES_NOT_APPLY

Begun = dict[str, Future[Any]]


@pytest.fixture(scope="module")
def lost_executors(begun: Begun) -> Any:
    return begun["lost_executors"].result()


@pytest.fixture(scope="module")
def lost_driver(begun: Begun) -> Any:
    return begun["lost_driver"].result()


@pytest.fixture(scope="module")
def drained(begun: Begun) -> Any:
    return begun["drained"].result()


@pytest.fixture(scope="module")
def refused(begun: Begun) -> Any:
    if os.environ.get("E2E_NAMESPACE"):
        pytest.skip(f"{DOES_NOT_APPLY}a quota would be one of the namespace that was given")
    return begun["refused"].result()


@pytest.fixture(scope="module")
def poisoned(begun: Begun) -> Any:
    return begun["poisoned"].result()


@pytest.fixture(scope="module")
def mistaken(begun: Begun) -> Any:
    return begun["mistaken"].result()


@pytest.fixture(scope="module")
def applied(begun: Begun) -> Any:
    return begun["applied"].result()


@pytest.fixture(scope="module")
def rescheduled(begun: Begun) -> Any:
    return begun["rescheduled"].result()


@pytest.fixture(scope="module")
def scheduled(begun: Begun) -> Any:
    return begun["scheduled"].result()


def checked(space: Space, out: str) -> dict[str, Any]:
    """Every partition has one model that verifies; the report of the last run."""
    report = space.result(out)
    assert report["totals"]["trained"] + report["totals"]["unchanged"] == report["totals"]["planned"] == len(SLOPES)
    assert f"{len(SLOPES)} models checked" in space.cluster.manyfit("verify", f"s3://{space.bucket}/{out}")
    # equal work has equal bytes and one name: a doubled model would be a second object
    assert len(space.objects(f"{out}/models/")) == len(SLOPES)
    return report


def test_executors_deleted_and_crashed_in_the_middle_lose_and_double_nothing(
    space: Space, lost_executors: list[str]
) -> None:
    report = checked(space, "lost-executors-out")

    keys = [row["key"] for row in space.outcomes("lost-executors-out", report["run"])]
    assert sorted(keys) == sorted(SLOPES)
    label = {"sparkoperator.k8s.io/app-name": "lost-executors"}
    ever = {pod["metadata"]["uid"] for pod in space.pods.labelled(spark_role="executor", **label)}
    assert ever > set(lost_executors), "Spark started others"


def test_a_driver_deleted_in_the_middle_is_started_again_by_the_operator_and_resumes(
    space: Space, lost_driver: None
) -> None:
    report = checked(space, "lost-driver-out")

    assert report["run"].startswith("lost-driver-")
    runs = {name.split("/")[2] for name in space.objects("lost-driver-out/runs/lost-driver-")}
    assert len(runs) == 1, "the retry is the same run"
    assert report["totals"]["adopted"] > 0, "what the first driver had finished is taken over"


def test_an_executor_that_is_told_to_go_hands_over_and_nothing_is_lost(space: Space, drained: str) -> None:
    checked(space, "drained-out")

    assert "Decommission" in drained, drained[-2000:]


def test_executors_that_a_quota_refuses_are_told_and_the_run_goes_on_with_those_that_there_is_room_for(
    refused: str,
) -> None:
    assert "0 of 2 to train" in refused
    assert "no executor yet: its pods are Pending (no room), or refused (a quota, admission)" in refused


def test_the_operator_tries_a_mistake_again_as_often_as_it_is_told(space: Space, mistaken: None) -> None:
    status = space.applications.named("tried-again")["status"]

    assert status["applicationState"]["state"] == "FAILED"
    assert status["executionAttempts"] == 2


def test_one_poisoned_partition_is_named_and_the_others_arrive(space: Space, poisoned: dict[str, Any]) -> None:
    assert (poisoned["totals"]["trained"], poisoned["totals"]["failed"]) == (7, 1)
    assert poisoned["examples"][0]["key"] == "shop-3"
    assert poisoned["examples"][0]["reason"] == "worker_died"
    assert "7 models checked" in space.cluster.manyfit("verify", f"s3://{space.bucket}/poison-out")


@pytest.mark.parametrize("name", list(MISTAKES))
def test_a_mistake_ends_as_failed_with_its_exit_code_and_one_readable_reason(
    space: Space, mistaken: None, name: str
) -> None:
    _, code, word = MISTAKES[name]

    assert space.state(name) == "FAILED"
    pod = space.cluster.get("-n", space.name, "pod", f"{name}-driver")
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == code
    described = space.kubectl("describe", "pod", f"{name}-driver")
    assert word in described[described.index("Message:") : described.index("Exit Code:")]
    application = space.applications.named(name)["status"]["applicationState"]["errorMessage"]
    assert f"ExitCode: {code}" in application
    log = space.driver_log(name)
    said = [line for line in log.splitlines() if line.startswith("{") and '"exit_code"' in line]
    assert word in json.loads(said[-1])["message"]
    assert "Traceback" not in log


def test_kubectl_apply_of_the_plain_manifest_does_the_same_as_helm(space: Space, applied: dict[str, Any]) -> None:
    assert applied["totals"]["trained"] == applied["totals"]["planned"] == 6
    assert "6 models checked" in space.cluster.manyfit("verify", f"s3://{space.bucket}/plain-out")


def test_a_schedule_fires_and_the_firing_is_a_run_of_its_own(scheduled: tuple[str, dict[str, Any], Any]) -> None:
    name, report, _ = scheduled

    assert report["run"].startswith(f"{name}-")
    assert report["totals"]["trained"] == 20


def test_a_changed_schedule_is_applied_at_once_by_what_helm_says(rescheduled: dict[str, str]) -> None:
    assert rescheduled["first"].endswith("-01-01T03:00:00Z")
    assert (
        f'WARNING: it was "0 3 1 1 *" (UTC), and the operator keeps the next time that it has computed from that ({rescheduled["first"]})'
        in rescheduled["notes"]
    )
    assert rescheduled["second"].endswith("-02-02T04:00:00Z")


def test_new_code_for_a_schedule_leaves_the_firing_in_flight_the_code_that_it_began_with(
    scheduled: tuple[str, Any, list[list[str]]],
) -> None:
    before, during, after = (set(names) for names in scheduled[2])

    assert len(before) == len(after) == 1
    assert before != after
    assert during == before | after
