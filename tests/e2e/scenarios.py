"""What is done to jobs while they run. Each is done once, beside others; tests look at what came of it."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Callable
from typing import Any

import yaml

from tests.e2e.authority import issued
from tests.e2e.harness import CHART, HERE, Failed, Space, wait
from tests.e2e.scenario_scored import scored
from tests.e2e.scenario_tables import shuffled, tables

SLOW = """
import time
from sklearn.linear_model import LinearRegression

def fit(frame, key):
    time.sleep(0.7)
    return LinearRegression().fit(frame[["x"]], frame["y"])
"""
POISON = """
import os
import time
from pathlib import Path
from sklearn.linear_model import LinearRegression

def fit(frame, key):
    if key == "shop-3":  # takes the whole executor with it, as the kernel does when memory runs out
        for each in Path("/proc").glob("[0-9]*"):
            if (each / "comm").read_text() == "java\\n":
                os.kill(int(each.name), 9)
        time.sleep(60)  # the end comes from outside
    return LinearRegression().fit(frame[["x"]], frame["y"])
"""
UNEVEN = """
import time
from sklearn.linear_model import LinearRegression

def fit(frame, key):
    time.sleep(50 if key == "shop-00" else 0.5)
    return LinearRegression().fit(frame[["x"]], frame["y"])
"""
SCRAPE = """
import sys
import urllib.request

for path in sys.argv[1:]:
    print(urllib.request.urlopen(f"http://127.0.0.1:{path}", timeout=20).read().decode())
"""
SLOPES = {f"shop-{number:02d}": number + 1.0 for number in range(40)}
OURS = {"function": "recipe:fit", "allow": ["recipe"]}

MISTAKES: dict[str, tuple[dict[str, Any], int, str]] = {
    "no-bucket": ({"input": {"uri": "s3://no-such-bucket-here/in/"}}, 4, "no-such-bucket-here"),
    "no-rights": ({}, 5, "credentials"),
    "bad-recipe": (
        {"recipe": {"target": "y", "estimator": {"_target_": "sklearn.linear_model.LinearRegresion"}}},
        2,
        "LinearRegression",
    ),
}
"""What is wrong in the job, the exit code, and a word that the reason has."""


def _slow(space: Space, name: str) -> dict[str, Any]:
    """A job whose fits take long enough to be disturbed."""
    space.put(name, SLOPES)
    return {**space.values(name, f"{name}-out", recipe=OURS), "code": {"files": {"recipe.py": SLOW}}}


def lost_executors(space: Space) -> list[str]:
    """When the first models are there, one executor's pod is deleted and the other one's Java killed; their uids."""
    space.install("lost-executors", _slow(space, "lost-executors"))
    wait("the first models", lambda: space.segments("lost-executors-out") >= 2, 300)

    def running() -> list[dict[str, Any]]:
        pods = space.pods.labelled(spark_role="executor", **{"sparkoperator.k8s.io/app-name": "lost-executors"})
        found = [pod["metadata"] for pod in pods if pod["status"]["phase"] == "Running"]
        return found if len(found) > 1 else []

    deleted, crashed = space.pods.until("two running executors", running, 60)[:2]
    kill = "for each in /proc/[0-9]*; do read -r name <$each/comm; [ $name != java ] || kill -9 ${each#/proc/}; done"
    space.kubectl("exec", crashed["name"], "--", "bash", "-c", kill)
    space.kubectl("delete", "pod", deleted["name"], "--grace-period=0", "--force")
    space.completed("lost-executors")
    return [deleted["uid"], crashed["uid"]]


def lost_driver(space: Space) -> None:
    """The driver's pod is deleted when the first models are there."""
    values = _slow(space, "lost-driver")
    values["retries"] |= {"onFailure": 3, "onFailureInterval": 3}
    space.install("lost-driver", values)
    wait("the first models", lambda: space.segments("lost-driver-out") >= 2, 300)
    space.kubectl("delete", "pod", "lost-driver-driver", "--grace-period=0", "--force")
    space.applications.until(
        "the second driver",
        lambda: space.applications.named("lost-driver")["status"].get("executionAttempts", 1) > 1,
        240,
    )
    space.completed("lost-driver")


def poisoned(space: Space) -> dict[str, Any]:
    """One partition kills every executor that fits it; the report."""
    space.put("poison", {f"shop-{number}": number + 1.0 for number in range(8)})
    values = space.values("poison", "poison-out", recipe=OURS, run={"max_failed": 1})
    values["executor"]["deleteOnTermination"] = False
    space.install("poison", {**values, "code": {"files": {"recipe.py": POISON}}})
    space.completed("poison")
    return space.result("poison-out")


def mistaken(space: Space) -> None:
    """Wrong credentials, a missing bucket and a bad setting, at the same time: each needs a driver only."""
    space.put("mistakes", {"a": 1.0})
    space.secret("wrong", {"AWS_ACCESS_KEY_ID": "e2e", "AWS_SECRET_ACCESS_KEY": "not-the-right-secret"})
    for name, (job, _, _) in MISTAKES.items():
        values = space.values("mistakes", f"{name}-out", **job)
        if name == "no-rights":
            values["credentials"] = {"secretName": "wrong"}
        space.install(name, values)
    again = space.values("mistakes", "tried-again-out", **MISTAKES["bad-recipe"][0])
    space.install("tried-again", {**again, "retries": {**again["retries"], "onFailure": 1, "onFailureInterval": 3}})
    for name in (*MISTAKES, "tried-again"):
        space.finished(name)


def applied(space: Space) -> dict[str, Any]:
    """The plain manifest, by ``kubectl apply`` instead of helm; the report."""
    space.put("plain", {f"shop-{number}": number + 1.0 for number in range(6)})
    space.secret("plain-rpc", {"secret": "0123456789abcdef" * 4})
    values = {**space.values("plain", "plain-out"), "security": {"rpc": {"existingSecret": "plain-rpc"}}}
    rendered = space.cluster.helm("template", "plain", CHART, "-n", space.name, "-f", "-", text=json.dumps(values))
    objects = [each for each in yaml.safe_load_all(rendered) if each]
    hooks = [each for each in objects if "helm.sh/hook" in each["metadata"].get("annotations", {})]
    space.cluster.apply(*(each for each in objects if each not in hooks))
    space.completed("plain")
    return space.result("plain-out")


def scheduled(space: Space) -> tuple[str, dict[str, Any], list[list[str]]]:
    """A schedule of every minute fires, and its code is upgraded while the firing runs.

    The name of the application that fired, its report, and which ConfigMaps with code there were: before the upgrade, after it,
    and after an upgrade when the firing had ended.
    """
    space.put("cron", {f"shop-{number:02d}": number + 1.0 for number in range(20)})
    values = {**space.values("cron", "cron-out", recipe=OURS), "schedule": {"cron": "* * * * *"}}
    values["executor"]["instances"] = 1
    space.install("cron", {**values, "code": {"files": {"recipe.py": SLOW}}})

    def firing() -> str:
        names = [each["metadata"]["name"] for each in space.applications.every.values()]
        return next((name for name in names if name.startswith("cron-")), "")

    def code() -> list[str]:
        return [name for name in space.kubectl("get", "configmaps", "-o", "name").split() if "/cron-code-" in name]

    name = space.applications.until("the first firing", firing, 150)
    wait("its first models", lambda: space.segments("cron-out") >= 1, 300)
    seen = [code()]
    newer = {**values, "code": {"files": {"recipe.py": f"{SLOW}\n# newer\n"}}}
    newer["schedule"]["suspend"] = True
    space.install("cron", newer)
    seen.append(code())
    state = space.finished(name)
    if state != "COMPLETED":
        raise Failed(f"{name} is {state}: {space.keep(name)}")
    report = space.result("cron-out")
    space.install("cron", newer)
    seen.append(code())
    space.cluster.helm("uninstall", "cron", "-n", space.name)
    return name, report, seen


def elastic(space: Space) -> dict[str, Any]:
    """As many executors as there is work for, on nodes that may be taken away, behind a proxy that is dead; what was seen."""
    space.put("elastic", SLOPES)
    values = space.values("elastic", "elastic-out", recipe=OURS, metrics={"linger": 1})
    values |= {
        "code": {"files": {"recipe.py": UNEVEN}},
        "dynamicAllocation": {"enabled": True, "minExecutors": 1, "maxExecutors": 2, "idleTimeout": "5s"},
        "metrics": {"enabled": True},
        # the API server and the store are excepted by the chart itself
        "proxy": dict.fromkeys(("http", "https"), "http://proxy.invalid:3128"),
    }
    values["driver"]["podDisruptionBudget"] = True
    values["executor"] |= {"spot": True, "terminationGracePeriodSeconds": 60}
    space.install("elastic", values)
    label = {"sparkoperator.k8s.io/app-name": "elastic"}

    def executors() -> list[dict[str, Any]]:
        return space.pods.labelled(spark_role="executor", **label)

    def running() -> list[dict[str, Any]]:
        found = [pod for pod in executors() if pod["status"]["phase"] == "Running"]
        return [pod for pod in found if pod["metadata"]["uid"] not in space.pods.deleted]

    seen: dict[str, Any] = {}
    wait("the first models", lambda: space.segments("elastic-out") >= 1, 300)
    space.pods.until("a second executor", lambda: len(running()) > 1, 120)
    paths = ("4040/metrics/prometheus/", "4040/metrics/executors/prometheus/", "8090/metrics")
    seen["metrics"] = space.kubectl("exec", "elastic-driver", "--", "python", "-c", SCRAPE, *paths)
    budget = space.cluster.get("-n", space.name, "poddisruptionbudget", "elastic-driver")
    seen["budget"] = budget["status"]
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": "elastic-driver", "namespace": space.name},
    }
    where = f"/api/v1/namespaces/{space.name}/pods/elastic-driver/eviction"
    try:
        space.kubectl("create", "--raw", where, "-f", "-", text=json.dumps(eviction))
    except Failed as refused:
        seen["eviction"] = str(refused)
    # while the slow partition is being fitted, the other executor has nothing to do
    space.pods.until(
        "an executor to be given back",
        lambda: any(pod["metadata"]["uid"] in space.pods.deleted for pod in executors()),
        180,
    )
    seen["state when one was given back"] = space.state("elastic")
    space.completed("elastic")
    seen["report"] = space.result("elastic-out")
    [driver] = space.pods.labelled(spark_role="driver", **label)
    [container] = driver["status"]["containerStatuses"]
    seen["message"] = container["state"]["terminated"]["message"]
    seen["events"] = space.kubectl("get", "events", "-o", "json")
    return seen


def drained(space: Space) -> str:
    """A node is drained: one executor's pod is told to go in the middle; the log of it."""
    values = _slow(space, "drained")
    values["executor"] |= {"spot": True, "terminationGracePeriodSeconds": 60}
    space.install("drained", values)
    wait("the first models", lambda: space.segments("drained-out") >= 2, 300)
    label = {"sparkoperator.k8s.io/app-name": "drained"}

    def running() -> list[str]:
        pods = space.pods.labelled(spark_role="executor", **label)
        return [pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] == "Running"]

    name = space.pods.until("a running executor", running, 60)[0]
    space.kubectl("delete", "pod", name, "--wait=false")
    said = ""
    with contextlib.suppress(Failed):  # it goes while it is followed
        said = space.kubectl("logs", "-f", name)
    space.completed("drained")
    return said


def rescheduled(space: Space) -> dict[str, str]:
    """The times of a schedule that never fires here are changed; the next time by the operator, and what Helm said."""
    space.put("later", {"a": 1.0})
    values = {**space.values("later", "later-out"), "schedule": {"cron": "0 3 1 1 *", "timeZone": "UTC"}}
    space.install("later", values)

    def upcoming() -> str:
        status = space.cluster.get("-n", space.name, "scheduledsparkapplication", "later").get("status", {})
        return str(status.get("nextRun") or "")

    seen = {"first": str(wait("the operator's next time", upcoming, 120))}
    seen["notes"] = space.install("later", {**values, "schedule": {"cron": "0 4 2 2 *", "timeZone": "UTC"}})
    [command] = [line.strip() for line in seen["notes"].splitlines() if " patch scheduledsparkapplication " in line]
    space.cluster.kubectl(*shlex.split(command)[1:])
    try:
        seen["second"] = str(wait("the new next time", lambda: (at := upcoming()) != seen["first"] and at, 60))
    finally:
        space.cluster.helm("uninstall", "later", "-n", space.name)
    return seen


def refused(space: Space) -> str:
    """A quota has room for the driver only, then for one of two executors; what ``manyfit status`` says meanwhile."""
    own = Space(space.cluster)
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small", "namespace": own.name}}
    try:
        own.cluster.apply({**quota, "spec": {"hard": {"pods": "1"}}})
        own.put("refused", {"a": 1.0, "b": 2.0})
        own.install("refused", own.values("refused", "refused-out"))

        def status() -> str:
            said = " ".join(own.cluster.manyfit("status", f"s3://{own.bucket}/refused-out").split())
            return said if "no executor" in said else ""

        said = str(wait("status to say that there is no executor", status, 240, 2))
        own.cluster.apply({**quota, "spec": {"hard": {"pods": "2"}}})
        own.completed("refused")
        return said
    finally:
        own.delete()


def trusted(space: Space) -> str:
    """A store whose certificate is of an authority that nobody else knows; the driver's log."""
    assert space.cluster.s3_image
    host = f"s3-tls.{space.name}.svc"
    made = issued(host)
    space.secret("s3-tls", {name: made[name] for name in ("tls.crt", "tls.key")})
    authority = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "company-ca", "namespace": space.name}}
    space.cluster.apply({**authority, "data": {"ca.crt": made["ca.crt"]}})
    text = (HERE / "s3_tls.yaml").read_text()
    for name, value in (("NAMESPACE", space.name), ("SERVER", space.cluster.s3_image), ("IMAGE", space.cluster.image)):
        text = text.replace(name, value)
    space.kubectl("apply", "-f", "-", text=text)
    space.pods.until(
        "the store to be filled", lambda: space.pods.named("fill").get("status", {}).get("phase") == "Succeeded", 300
    )
    values = space.values("trusted", "trusted-out")
    values["job"] |= {
        "input": {"uri": "s3://trusted/in/"},
        "output": {"uri": "s3://trusted/out/"},
        "storage": {"endpoint": f"https://{host}:9443", "region": "us-east-1"},
    }
    values |= {"caBundle": {"configMapName": "company-ca"}, "networkPolicy": {"storage": {"ports": [9443]}}}
    space.install("trusted", values)
    space.completed("trusted")
    return space.driver_log("trusted")


def deployed(space: Space) -> str:
    """Somebody with the Role of docs/reference/policies/deployer.yaml and nothing else handles a release; what she was refused."""
    account = {"kind": "ServiceAccount", "name": "deployer", "namespace": space.name}
    role = yaml.safe_load((CHART.parents[2] / "docs/reference/policies/deployer.yaml").read_text())
    bound = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role["metadata"]["name"]}
    where = {"namespace": space.name}
    space.cluster.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "deployer", **where}},
        {**role, "metadata": {**role["metadata"], **where}},
        {
            "apiVersion": role["apiVersion"],
            "kind": "RoleBinding",
            "metadata": {"name": "deployer", **where},
            "roleRef": bound,
            "subjects": [account],
        },
    )
    she = ("--kube-as-user", f"system:serviceaccount:{space.name}:deployer", "-n", space.name)
    values = {**space.values("deployed", "deployed-out"), "suspend": True}
    values["driver"]["podDisruptionBudget"] = True

    def upgrade(**more: Any) -> str:
        text = json.dumps({**values, **more})
        return space.cluster.helm("upgrade", "--install", "deployed", CHART, "-f", "-", *she, text=text)

    upgrade()
    upgrade(commonLabels={"team": "a"}, code={"files": {"recipe.py": SLOW}})
    wider = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["deletecollection"]}]
    try:
        upgrade(rbac={"extraRules": wider})
        refused = ""
    except Failed as failure:
        refused = str(failure)
    space.cluster.helm("uninstall", "deployed", "--wait", *she)
    return refused


ALL: dict[str, Callable[[Space], Any]] = {
    act.__name__: act
    for act in (
        scheduled,
        elastic,
        lost_driver,
        lost_executors,
        scored,
        drained,
        mistaken,
        tables,
        shuffled,
        poisoned,
        applied,
        rescheduled,
        deployed,
        trusted,
        refused,
    )
}
