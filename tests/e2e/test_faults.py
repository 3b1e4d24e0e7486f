"""What goes wrong on a cluster: lost executors and drivers, poison, mistakes. Each ends right, or says what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.e2e.harness import REPOSITORY, Space, wait

SLOW = """
import time
from sklearn.linear_model import LinearRegression

def fit(frame, key):
    time.sleep(0.7)
    return LinearRegression().fit(frame[["x"]], frame["y"])
"""
SLOPES = {f"shop-{number:02d}": number + 1.0 for number in range(40)}


def slow(space: Space, prefix: str) -> dict[str, Any]:
    """A job whose fits take long enough to be disturbed."""
    space.put(prefix, SLOPES)
    values = space.values(prefix, f"{prefix}-out", recipe={"function": "recipe:fit", "allow": ["recipe"]})
    values["code"] = {"files": {"recipe.py": SLOW}}
    return values


def checked(space: Space, out: str) -> dict[str, Any]:
    """Every partition has one model that verifies; the report of the last run."""
    report = space.result(out)
    assert report["totals"]["trained"] + report["totals"]["unchanged"] == report["totals"]["planned"] == len(SLOPES)
    assert f"{len(SLOPES)} models checked" in space.cluster.manyfit("verify", f"s3://{space.bucket}/{out}")
    listed = space.cluster.client().list_objects_v2(Bucket=space.bucket, Prefix=f"{out}/models/")["Contents"]
    assert len(listed) == len(SLOPES), (
        "equal work has equal bytes and one name: a doubled model would be a second object"
    )
    return report


def test_an_executor_deleted_in_the_middle_loses_and_doubles_nothing(space: Space) -> None:
    space.install("lost-executor", slow(space, "lost-executor"))
    wait("the first models", lambda: space.segments("lost-executor-out") >= 2, 240)
    selector = "spark-role=executor,sparkoperator.k8s.io/app-name=lost-executor"
    pods = space.cluster.get("-n", space.name, "pods", "-l", selector)["items"]
    running = [pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] == "Running"]
    space.cluster.kubectl("-n", space.name, "delete", "pod", running[0], "--grace-period=0", "--force")

    assert space.finished("lost-executor") == "COMPLETED"
    checked(space, "lost-executor-out")


def test_a_driver_deleted_in_the_middle_is_started_again_by_the_operator_and_resumes(space: Space) -> None:
    values = slow(space, "lost-driver")
    values["retries"] |= {"onFailure": 3, "onFailureInterval": 3}
    space.install("lost-driver", values)
    wait("the first models", lambda: space.segments("lost-driver-out") >= 2, 240)
    space.cluster.kubectl("-n", space.name, "delete", "pod", "lost-driver-driver", "--grace-period=0", "--force")
    wait("the second driver", lambda: space.application("lost-driver")["status"].get("executionAttempts", 1) > 1, 180)

    assert space.finished("lost-driver") == "COMPLETED"
    report = checked(space, "lost-driver-out")
    assert report["run"].startswith("lost-driver-")
    runs = space.cluster.client().list_objects_v2(
        Bucket=space.bucket, Prefix="lost-driver-out/runs/lost-driver-", Delimiter="/"
    )
    assert len(runs["CommonPrefixes"]) == 1, "the retry is the same run"
    assert report["totals"]["adopted"] > 0, "what the first driver had finished is taken over"


def test_one_poisoned_partition_is_named_and_the_others_arrive(space: Space) -> None:
    space.put("poison", {f"shop-{number}": number + 1.0 for number in range(8)})
    poison = "import os\n" + SLOW.replace("time.sleep(0.7)", 'os._exit(9) if key == "shop-3" else None')
    recipe = {"function": "recipe:fit", "allow": ["recipe"]}
    values = space.values("poison", "poison-out", recipe=recipe, run={"max_failed": 1})
    values["code"] = {"files": {"recipe.py": poison}}
    space.install("poison", values)

    assert space.finished("poison") == "COMPLETED"
    report = space.result("poison-out")
    assert (report["totals"]["trained"], report["totals"]["failed"]) == (7, 1)
    assert report["examples"][0]["key"] == "shop-3"
    assert report["examples"][0]["reason"] == "worker_died"


MISTAKES: dict[str, tuple[dict[str, Any], int, str]] = {
    "no-bucket": ({"input": {"uri": "s3://no-such-bucket-here/in/"}}, 4, "no-such-bucket-here"),
    "no-rights": ({}, 4, "credentials"),
    "bad-recipe": (
        {"recipe": {"target": "y", "estimator": {"_target_": "sklearn.linear_model.LinearRegresion"}}},
        2,
        "LinearRegression",
    ),
}


@pytest.fixture(scope="module")
def mistaken(space: Space) -> None:
    """All three at once: each needs a driver only."""
    space.put("mistakes", {"a": 1.0})
    space.secret("wrong", "e2e", "not-the-right-secret")
    for name, (job, _, _) in MISTAKES.items():
        values = space.values("mistakes", f"{name}-out", **job)
        if name == "no-rights":
            values["credentials"] = {"secretName": "wrong"}
        space.install(name, values)


@pytest.mark.parametrize("name", list(MISTAKES))
def test_a_mistake_ends_as_failed_with_its_exit_code_and_one_readable_reason(
    space: Space, mistaken: None, name: str
) -> None:
    _, code, word = MISTAKES[name]

    assert space.finished(name) == "FAILED"
    pod = space.cluster.get("-n", space.name, "pod", f"{name}-driver")
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert ended["exitCode"] == code
    assert word in ended["message"], "kubectl describe shows the termination message"
    ours = [line for line in space.driver_log(name).splitlines() if line.startswith("{") and '"exit_code"' in line]
    assert word in json.loads(ours[-1])["message"]
    assert "Traceback" not in space.driver_log(name)


def test_kubectl_apply_of_the_plain_manifest_does_the_same_as_helm(space: Space) -> None:
    space.put("plain", {f"shop-{number}": number + 1.0 for number in range(6)})
    values = space.values("plain", "plain-out")
    values["security"] = {"rpc": {"enabled": False}}
    rendered = space.cluster.helm(
        "template",
        "plain",
        REPOSITORY / "deploy/helm/manyfit",
        "-n",
        space.name,
        "-f",
        "-",
        text=yaml.safe_dump(values),
    )
    objects = [
        each
        for each in yaml.safe_load_all(rendered)
        if each and "helm.sh/hook" not in each["metadata"].get("annotations", {})
    ]
    space.cluster.kubectl("-n", space.name, "apply", "-f", "-", text=yaml.safe_dump_all(objects))

    assert space.finished("plain") == "COMPLETED"
    assert space.result("plain-out")["totals"]["trained"] == 6


def test_a_schedule_fires_and_each_firing_is_a_run_of_its_own(space: Space) -> None:
    space.put("cron", {"a": 1.0, "b": 2.0})
    values = space.values("cron", "cron-out")
    values["schedule"] = {"cron": "* * * * *"}
    values["executor"]["instances"] = 1
    space.install("cron", values)

    def firings() -> list[dict[str, Any]]:
        every = space.cluster.get("-n", space.name, "sparkapplications")["items"]
        return [each for each in every if each["metadata"]["name"].startswith("cron-")]

    name = wait("the first firing", lambda: firings() and firings()[0]["metadata"]["name"], 120)
    assert space.finished(name) == "COMPLETED"
    space.cluster.helm("uninstall", "cron", "-n", space.name)
    report = space.result("cron-out")
    assert report["run"].startswith(f"{name}-")
    assert report["totals"]["trained"] == 2
