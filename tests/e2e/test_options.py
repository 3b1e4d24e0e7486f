"""What values turn on: metrics, executors as they are needed, nodes that go, a budget, a proxy, Spark's own reader on S3."""

from __future__ import annotations

import json
import re
from concurrent.futures import Future
from typing import Any

import pytest

from tests.e2e.harness import Space
from tests.e2e.scenarios import SLOPES
from tests.support.skips import DOES_NOT_APPLY

Seen = dict[str, Any]


@pytest.fixture(scope="module")
def elastic(begun: dict[str, Future[Any]]) -> Any:
    return begun["elastic"].result()


@pytest.fixture(scope="module")
def trusted(space: Space, begun: dict[str, Future[Any]]) -> Any:
    if not space.cluster.s3_image:
        pytest.skip(f"{DOES_NOT_APPLY}versitygw is not on the nodes of this cluster")
    return begun["trusted"].result()


@pytest.fixture(scope="module")
def tables(space: Space, begun: dict[str, Future[Any]]) -> Any:
    if not space.cluster.image_s3a:
        pytest.skip(f"{DOES_NOT_APPLY}E2E_IMAGE_S3A names no image with hadoop-aws for this cluster")
    return begun["tables"].result()


@pytest.fixture(scope="module")
def shuffled(begun: dict[str, Future[Any]]) -> Any:
    return begun["shuffled"].result()


def test_a_proxy_that_is_dead_is_not_asked_for_what_is_near(elastic: Seen) -> None:
    assert elastic["report"]["totals"]["trained"] == len(SLOPES)


def test_executors_come_as_there_is_work_and_are_given_back_when_there_is_none(space: Space, elastic: Seen) -> None:
    pods = space.pods.labelled(spark_role="executor", **{"sparkoperator.k8s.io/app-name": "elastic"})

    assert len(pods) > 1, "the minimum is one"
    assert elastic["state when one was given back"] == "RUNNING"


def test_executors_are_called_after_their_release(space: Space, elastic: Seen) -> None:
    pods = space.pods.labelled(spark_role="executor", **{"sparkoperator.k8s.io/app-name": "elastic"})

    assert all(re.fullmatch(r"elastic-[0-9a-f]+-exec-\d+", pod["metadata"]["name"]) for pod in pods)


def test_the_driver_serves_its_own_metrics_and_its_executors(elastic: Seen) -> None:
    assert re.search(r"(?m)^metrics_manyfit_driver_\w+", elastic["metrics"])
    assert re.search(
        r'(?m)^metrics_executor_totalTasks\w*\{application_id="[^"]+", application_name="elastic"', elastic["metrics"]
    )


def test_the_driver_serves_the_metrics_of_the_run(elastic: Seen) -> None:
    found = {name: float(value) for name, value in re.findall(r"(?m)^(manyfit_\w+) (\S+)$", elastic["metrics"])}
    assert found["manyfit_partitions_planned"] == found["manyfit_partitions_to_train"] == len(SLOPES)
    assert found["manyfit_executors"] >= 1


def test_the_drivers_pod_says_what_was_published(elastic: Seen) -> None:
    told = json.loads(elastic["message"])
    assert (told["version"], told["totals"]["trained"]) == (elastic["report"]["version"], len(SLOPES))


def test_a_node_drain_cannot_evict_a_driver_with_a_budget(elastic: Seen) -> None:
    assert (elastic["budget"]["expectedPods"], elastic["budget"]["disruptionsAllowed"]) == (1, 0)
    assert "disruption budget" in elastic["eviction"]


def test_the_normal_end_of_executors_on_such_nodes_leaves_no_failed_hook(elastic: Seen) -> None:
    events = json.loads(elastic["events"])["items"]
    failed = [each for each in events if each["reason"] == "FailedPreStopHook"]

    assert [each["message"] for each in failed if each["involvedObject"]["name"].startswith("elastic-")] == []


def test_services_of_the_driver_carry_the_labels_of_the_release(space: Space, elastic: Seen) -> None:
    services = space.cluster.get("-n", space.name, "services", "-l", "app.kubernetes.io/instance=elastic")["items"]

    names = {each["metadata"]["name"] for each in services}
    assert {"elastic-ui-svc"} < names
    assert any(re.fullmatch("elastic-[0-9a-f]+-driver-svc", name) for name in names)


def test_a_store_with_a_certificate_of_the_companys_own_authority_is_trusted(trusted: str) -> None:
    results = [json.loads(line) for line in trusted.splitlines() if line.startswith("{") and '"result"' in line]

    assert results[-1]["trained"] == 2


def test_spark_reads_a_table_from_s3_and_writes_its_event_log_there(space: Space, tables: list[str]) -> None:
    report = space.result("table-out")

    assert (report["totals"]["trained"], report["totals"]["failed"]) == (5, 0)
    assert "5 models checked" in space.cluster.manyfit("verify", f"s3://{space.bucket}/table-out")
    assert [name for name in tables if "spark-" in name and not name.endswith("/")]


def test_rows_of_a_key_that_lie_in_several_files_meet_on_the_cluster(space: Space, shuffled: dict[str, Any]) -> None:
    assert (shuffled["totals"]["trained"], shuffled["totals"]["failed"]) == (12, 0)
    assert {row["rows"] for row in space.outcomes("rows-out", shuffled["run"])} == {40}
    uri = f"s3://{space.bucket}/rows-out"
    shown = json.loads(space.cluster.manyfit("show", uri, "store=shop-07", "--json", "--allow-version-skew"))
    assert shown["learnt"]["coef_"]["x"] == pytest.approx(8.0)
