"""What is done to jobs while they run. Each is done once, beside others; tests look at what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import yaml

from tests.e2e.harness import CHART, Failed, Space, wait

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
    for name in MISTAKES:
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


ALL: dict[str, Callable[[Space], Any]] = {
    act.__name__: act for act in (scheduled, lost_driver, lost_executors, mistaken, poisoned, applied)
}
