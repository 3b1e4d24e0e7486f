"""helm install on a real cluster, and everything that one finished run shows; then upgrade, uninstall."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.e2e.harness import Failed, Space, wait

SLOPES = {f"shop-{number:02d}": number + 1.0 for number in range(24)}


@pytest.fixture(scope="module")
def values(space: Space) -> dict[str, Any]:
    """The values of the release."""
    made = space.values("nightly", "models")
    # long enough that both executors have registered before the work is done
    made["sparkConf"] = {
        "spark.scheduler.minRegisteredResourcesRatio": "1.0",
        "spark.kubernetes.executor.deleteOnTermination": "false",
    }
    made["executor"]["deleteOnTermination"] = False
    return made


@pytest.fixture(scope="module")
def pods() -> dict[str, dict[str, Any]]:
    """Every pod that was ever seen while the run lasted."""
    return {}


@pytest.fixture(scope="module")
def run(space: Space, values: dict[str, Any], pods: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One finished run of a fresh release; its report."""
    space.put("nightly", SLOPES)
    began = time.monotonic()
    space.install("nightly", values)
    first_model = 0.0
    while space.state("nightly") not in ("COMPLETED", "FAILED", "SUBMISSION_FAILED"):
        for pod in space.cluster.get("-n", space.name, "pods")["items"]:
            pods[pod["metadata"]["name"]] = pod
        if not first_model:
            found = space.cluster.client().list_objects_v2(Bucket=space.bucket, Prefix="models/models/", MaxKeys=1)
            first_model = time.monotonic() - began if found.get("KeyCount") else 0.0
        assert time.monotonic() - began < 420, "the run did not end"
        time.sleep(1)
    state = space.finished("nightly")
    assert state == "COMPLETED", space.driver_log("nightly")
    report = space.result("models")
    print(
        f"\nhelm install to first model: {first_model:.0f} s, to the end: {time.monotonic() - began:.0f} s; the run itself {report['seconds']:.1f} s"
    )
    return report


def test_helm_install_completes_with_as_many_models_as_partitions_and_all_verify_from_outside(
    space: Space, run: dict[str, Any]
) -> None:
    assert run["totals"]["trained"] == run["totals"]["planned"] == len(SLOPES)
    listed = space.cluster.client().list_objects_v2(Bucket=space.bucket, Prefix="models/models/")["Contents"]
    assert len(listed) == len(SLOPES)
    assert f"{len(SLOPES)} models checked" in space.cluster.manyfit("verify", f"s3://{space.bucket}/models")
    shown = json.loads(
        space.cluster.manyfit("show", f"s3://{space.bucket}/models", "shop-07", "--json", "--allow-version-skew")
    )
    assert shown["learnt"]["coef_"]["x"] == pytest.approx(8.0)


def test_at_least_two_executors_uploaded_models(space: Space, run: dict[str, Any]) -> None:
    workers = {row["worker"].rpartition(":")[0] for row in space.outcomes("models", run["run"])}

    assert len(workers) >= 2
    assert not any("driver" in worker for worker in workers)


def test_the_run_shuffled_nothing(run: dict[str, Any]) -> None:
    assert run["spark"]["shuffle_read_bytes"] == run["spark"]["shuffle_write_bytes"] == 0


def test_the_run_id_is_the_application_with_a_digest(run: dict[str, Any]) -> None:
    name, _, digest = run["run"].rpartition("-")

    assert name == "nightly"
    assert len(digest) == 12


def test_a_namespace_that_enforces_restricted_admits_every_pod(
    space: Space, run: dict[str, Any], pods: dict[str, Any]
) -> None:
    roles = [pod["metadata"]["labels"].get("spark-role") for pod in pods.values()]

    assert roles.count("driver") == 1
    assert roles.count("executor") >= 2
    events = space.cluster.kubectl("-n", space.name, "get", "events", "-o", "json")
    assert "violates PodSecurity" not in events
    for pod in pods.values():
        for container in pod["spec"]["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_an_executor_has_no_token_of_the_api_server(run: dict[str, Any], pods: dict[str, Any]) -> None:
    for pod in pods.values():
        mounts = [
            mount["mountPath"] for container in pod["spec"]["containers"] for mount in container.get("volumeMounts", [])
        ]
        token = any(path.startswith("/var/run/secrets/kubernetes.io") for path in mounts)
        assert token == (pod["metadata"]["labels"]["spark-role"] == "driver")


def test_the_drivers_account_can_do_what_it_must_and_nothing_else(space: Space, run: dict[str, Any]) -> None:
    account = f"system:serviceaccount:{space.name}:nightly-driver"

    def may(*arguments: str) -> bool:
        try:
            said = space.cluster.kubectl("auth", "can-i", *arguments, f"--as={account}", "-n", space.name)
        except Failed:
            return False
        return said.strip() == "yes"

    for verb in ("create", "get", "list", "watch", "delete"):
        assert may(verb, "pods"), verb
    refused = [
        ("get", "secrets"),
        ("list", "secrets"),
        ("create", "secrets"),
        ("create", "pods/exec"),
        ("create", "rolebindings"),
    ]
    refused += [
        ("get", "nodes"),
        ("create", "serviceaccounts/token"),
        ("delete", "sparkapplications"),
        ("update", "networkpolicies"),
    ]
    for verb, resource in refused:
        assert not may(verb, resource), (verb, resource)
    executor = f"system:serviceaccount:{space.name}:nightly-executor"
    listed = space.cluster.kubectl("auth", "can-i", "--list", f"--as={executor}", "-n", space.name)
    assert not any(line.startswith(("pods", "secrets", "configmaps")) for line in listed.splitlines())


def test_no_secret_value_is_in_any_pod_config_map_application_or_log(
    space: Space, run: dict[str, Any], pods: dict[str, Any]
) -> None:
    secret = space.cluster.s3["AWS_SECRET_ACCESS_KEY"]
    everything = json.dumps(pods)
    for kind in ("configmaps", "sparkapplications", "events", "pods"):
        everything += space.cluster.kubectl("-n", space.name, "get", kind, "-o", "json")
    for pod in space.cluster.get("-n", space.name, "pods")["items"]:
        everything += space.cluster.kubectl("-n", space.name, "logs", pod["metadata"]["name"], "--tail=-1")
    listed = space.cluster.client().list_objects_v2(Bucket=space.bucket, Prefix="models/runs/")["Contents"]
    for each in listed:
        body = space.cluster.client().get_object(Bucket=space.bucket, Key=each["Key"])["Body"].read()
        assert secret.encode() not in body, each["Key"]

    assert secret not in everything


def test_the_drivers_log_is_json_lines_and_ends_with_the_result(space: Space, run: dict[str, Any]) -> None:
    ours = [
        line for line in space.driver_log("nightly").splitlines() if line.startswith("{") and '"logger": "job.' in line
    ]
    last = json.loads(ours[-1])

    assert last["event"] == "result"
    assert last["exit_code"] == 0
    assert last["trained"] == len(SLOPES)


def test_helm_test_passes(space: Space, run: dict[str, Any]) -> None:
    said = space.cluster.helm("test", "nightly", "-n", space.name, "--timeout", "180s")

    assert "Succeeded" in said
    assert "Failed" not in said


def test_an_unchanged_upgrade_runs_nothing_and_a_new_run_id_trains_only_what_changed(
    space: Space, values: dict[str, Any], run: dict[str, Any]
) -> None:
    before = space.application("nightly")["status"]
    space.install("nightly", values)
    time.sleep(15)
    after = space.application("nightly")["status"]
    assert after["submissionID"] == before["submissionID"]
    assert after["applicationState"]["state"] == "COMPLETED"

    space.put("nightly", {"shop-03": 77.0})
    values = {**values, "job": {**values["job"], "run": {"id": "second"}}}
    space.install("nightly", values)
    wait(
        "a new submission", lambda: space.application("nightly")["status"]["submissionID"] != before["submissionID"], 60
    )
    assert space.finished("nightly") == "COMPLETED"
    report = space.result("models")
    assert report["run"] != run["run"]
    assert (report["totals"]["trained"], report["totals"]["unchanged"]) == (1, len(SLOPES) - 1)


def test_helm_uninstall_leaves_nothing_behind(space: Space, run: dict[str, Any]) -> None:
    space.cluster.helm("uninstall", "nightly", "-n", space.name, "--wait")

    def left() -> list[str]:
        kinds = "sparkapplications,pods,services,configmaps,secrets,serviceaccounts,roles,rolebindings,networkpolicies,poddisruptionbudgets"
        names = space.cluster.kubectl("-n", space.name, "get", kinds, "-o", "name").split()
        return [name for name in names if "nightly" in name]

    wait("everything to be gone", lambda: not left(), 90)
