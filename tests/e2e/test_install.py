"""helm install on a real cluster, and everything that one finished run shows; then upgrade, uninstall."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import Future
from datetime import datetime
from typing import Any

import pytest

from tests.e2e.harness import ARTIFACTS, TERMINAL, Space, wait
from tests.e2e.measure import Memory
from tests.e2e.watch import Object

SLOPES = {f"shop-{number:02d}": number + 1.0 for number in range(24)}


@pytest.fixture(scope="session")
def event_log(space: Space) -> bool:
    """A volume for the event log, where the cluster has one to give."""
    claim: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    if space.cluster.volumes:
        folder = space.cluster.volumes / space.name
        folder.mkdir(parents=True)
        folder.chmod(0o777)
        volume = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": str(folder)}}
        metadata = {"name": space.name}
        space.cluster.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": volume})
        claim |= {"storageClassName": "", "volumeName": space.name}
    elif "(default)" not in space.cluster.kubectl("get", "storageclass"):
        return False
    metadata = {"name": "events", "namespace": space.name}
    space.cluster.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": claim})
    return True


@pytest.fixture(scope="session")
def values(space: Space, event_log: bool) -> dict[str, Any]:
    """The values of the release."""
    made = space.values("nightly", "models")
    # the work is too short for an executor that comes late
    made["sparkConf"] = {
        "spark.scheduler.minRegisteredResourcesRatio": "1.0",
        "spark.scheduler.maxRegisteredResourcesWaitingTime": "180s",
        "spark.eventLog.compress": "false",  # to be searched
    }
    made["executor"]["deleteOnTermination"] = False  # their logs are read
    made["eventLog"] = {"enabled": event_log, "claimName": "events"}
    return made


@pytest.fixture(scope="session")
def measured(space: Space, values: dict[str, Any]) -> dict[str, Any]:
    """One finished run of a fresh release on a cluster that does nothing else, with its times; its report."""
    space.put("nightly", SLOPES)
    memory = Memory(space, space.cluster.groups) if space.cluster.groups else None
    if memory:
        memory.start()
    began = time.monotonic()
    space.install("nightly", values)
    times = {"helm": time.monotonic() - began}
    wait("the first model", lambda: space.objects("models/models/") or space.state("nightly") in TERMINAL, 420, 0.2)
    times["first model"] = time.monotonic() - began
    space.completed("nightly")
    times["completed"] = time.monotonic() - began
    report = space.result("models")
    times["the job's own"] = report["seconds"]
    times |= steps(space, "nightly")
    held = memory.end() if memory else {}
    if os.environ.get("E2E_MEASURE"):  # needs Java here
        job = json.dumps(space.document("nightly", "local", spark={"master": "local[2]"}))
        began = time.monotonic()
        space.cluster.manyfit("run", "--document", job)
        times["a local run"] = time.monotonic() - began
        times["a local run, the job's own"] = space.result("local")["seconds"]
    seconds = {name: round(each, 1) for name, each in times.items()}
    facts = {"seconds": seconds, "phases": report["phases"], "MB": held, "start": space.cluster.seconds}
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    text = json.dumps(facts, indent=1)
    (ARTIFACTS / "measured.json").write_text(text)
    print(f"\n{text}")
    return report


def steps(space: Space, name: str) -> dict[str, float]:
    """Where the time goes before the first fit, by the API server's clock."""

    def clock(text: str) -> float:
        return datetime.fromisoformat(text).timestamp()

    pods = space.pods.labelled(**{"sparkoperator.k8s.io/app-name": name})
    driver = next(pod for pod in pods if pod["metadata"]["labels"]["spark-role"] == "driver")
    executors = [clock(pod["metadata"]["creationTimestamp"]) for pod in pods if pod is not driver]
    asked = clock(space.applications.named(name)["metadata"]["creationTimestamp"])
    made = clock(driver["metadata"]["creationTimestamp"])
    return {"the operator submits": made - asked, "the driver starts, plans, asks for executors": min(executors) - made}


@pytest.fixture(scope="module")
def run(measured: dict[str, Any], begun: dict[str, Future[Any]]) -> dict[str, Any]:
    """The same report; from here on other jobs run, too."""
    return measured


@pytest.fixture(scope="module")
def pods(space: Space, run: dict[str, Any]) -> list[Object]:
    """Every pod of the run."""
    return space.pods.labelled(**{"sparkoperator.k8s.io/app-name": "nightly"})


def test_helm_install_completes_with_as_many_models_as_partitions_and_all_verify_from_outside(
    space: Space, run: dict[str, Any]
) -> None:
    assert run["totals"]["trained"] == run["totals"]["planned"] == len(SLOPES)
    assert len(space.objects("models/models/")) == len(SLOPES)
    uri = f"s3://{space.bucket}/models"
    assert f"{len(SLOPES)} models checked" in space.cluster.manyfit("verify", uri)
    shown = json.loads(space.cluster.manyfit("show", uri, "shop-07", "--json", "--allow-version-skew"))
    assert shown["learnt"]["coef_"]["x"] == pytest.approx(8.0)
    assert json.loads(space.cluster.manyfit("status", uri, "--json"))["result"]["totals"] == run["totals"]


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


def test_a_namespace_that_enforces_restricted_admits_every_pod(space: Space, pods: list[Object]) -> None:
    roles = [pod["metadata"]["labels"]["spark-role"] for pod in pods]

    assert (roles.count("driver"), roles.count("executor")) == (1, 2)
    assert "violates PodSecurity" not in space.kubectl("get", "events", "-o", "json")
    for pod in pods:
        for container in pod["spec"]["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_an_executor_has_no_token_of_the_api_server(pods: list[Object]) -> None:
    for pod in pods:
        mounts = [mount["mountPath"] for each in pod["spec"]["containers"] for mount in each.get("volumeMounts", [])]
        token = any(path.startswith("/var/run/secrets/kubernetes.io") for path in mounts)
        assert token == (pod["metadata"]["labels"]["spark-role"] == "driver")


def test_no_secret_value_is_in_any_object_log_or_event_log(
    space: Space, run: dict[str, Any], pods: list[Object], event_log: bool
) -> None:
    rpc = space.cluster.kubectl(
        "-n", space.name, "get", "secret", "nightly-rpc", "-o", "go-template={{.data.secret|base64decode}}"
    )
    secrets = [space.cluster.s3["AWS_SECRET_ACCESS_KEY"], rpc]
    assert len(rpc) >= 32
    everything = {"pods as they were": json.dumps(pods)}
    for kind in ("configmaps", "sparkapplications", "events", "pods"):
        everything[kind] = space.kubectl("get", kind, "-o", "json")
    for pod in pods:
        name = pod["metadata"]["name"]
        everything[f"log of {name}"] = space.kubectl("logs", name, "--tail=-1")
    for name in space.objects("models/"):
        body = space.s3.get_object(Bucket=space.bucket, Key=name)["Body"].read()
        everything[name] = body.decode("latin-1")
    if event_log:
        everything["event log"] = read_event_log(space)
        assert "SparkListenerApplicationEnd" in everything["event log"]

    for what, text in everything.items():
        for secret in secrets:
            assert secret not in text, what


def read_event_log(space: Space) -> str:
    """What the driver wrote into the volume, by way of a pod that prints it."""
    restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True}
    container = {
        "name": "cat",
        "image": space.cluster.image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["bash", "-c", "find /events -type f | xargs cat"],
        "securityContext": {**restricted, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumeMounts": [{"name": "events", "mountPath": "/events"}],
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": [{"name": "events", "persistentVolumeClaim": {"claimName": "events"}}],
    }
    metadata = {"name": "events", "namespace": space.name}
    space.cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    space.pods.until(
        "the reader", lambda: space.pods.named("events").get("status", {}).get("phase") == "Succeeded", 300
    )
    return space.kubectl("logs", "events", "--tail=-1")


def test_the_drivers_log_is_json_lines_and_ends_with_the_result(space: Space, run: dict[str, Any]) -> None:
    lines = [line for line in space.driver_log("nightly").splitlines() if line.startswith("{")]
    last = [each for each in map(json.loads, lines) if str(each.get("logger", "")).startswith("job.")][-1]

    assert last["event"] == "result"
    assert last["exit_code"] == 0
    assert last["trained"] == len(SLOPES)


def test_helm_test_passes(space: Space, run: dict[str, Any]) -> None:
    said = space.cluster.helm("test", "nightly", "-n", space.name, "--timeout", "540s")

    assert "Succeeded" in said
    assert "Failed" not in said


def test_an_unchanged_upgrade_runs_nothing_and_a_new_run_id_trains_only_what_changed(
    space: Space, values: dict[str, Any], run: dict[str, Any]
) -> None:
    before = space.applications.named("nightly")
    space.install("nightly", values)
    time.sleep(10)  # that nothing happens can only be waited for
    after = space.applications.named("nightly")
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert after["status"]["submissionID"] == before["status"]["submissionID"]
    assert space.state("nightly") == "COMPLETED"

    space.put("nightly", {"shop-03": 77.0})
    space.install("nightly", {**values, "job": {**values["job"], "run": {"id": "second"}}})

    def again() -> bool:
        now = space.applications.named("nightly").get("status", {}).get("submissionID")
        return bool(now) and now != before["status"]["submissionID"]

    space.applications.until("a new submission", again, 300)
    space.completed("nightly")
    report = space.result("models")
    assert report["run"] != run["run"]
    assert (report["totals"]["trained"], report["totals"]["unchanged"]) == (1, len(SLOPES) - 1)


def test_values_that_have_run_before_get_the_recorded_result_and_train_nothing(
    space: Space, values: dict[str, Any], run: dict[str, Any]
) -> None:
    before, version = space.applications.named("nightly")["status"]["submissionID"], space.result("models")["version"]
    space.put("nightly", {"shop-05": 55.0})  # is not looked at
    space.install("nightly", values)

    def again() -> bool:
        now = space.applications.named("nightly").get("status", {}).get("submissionID")
        return bool(now) and now != before

    space.applications.until("a new submission", again, 300)
    space.completed("nightly")
    assert f"the run {run['run']} has ended already" in space.driver_log("nightly")
    assert space.result("models")["version"] == version


def test_helm_uninstall_leaves_nothing_behind(space: Space, run: dict[str, Any]) -> None:
    space.cluster.helm("uninstall", "nightly", "-n", space.name, "--wait")
    kinds = "sparkapplications,pods,services,configmaps,secrets,serviceaccounts,roles,rolebindings,networkpolicies,poddisruptionbudgets"

    def left() -> list[str]:
        return [name for name in space.kubectl("get", kinds, "-o", "name").split() if "nightly" in name]

    wait("everything to be gone", lambda: not left(), 300, 2)
