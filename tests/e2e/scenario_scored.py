"""The cluster applies the models that it has trained, and loses an executor while it does."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.harness import Space, wait

SLOPES = {f"shop-{number:02d}": number + 1.0 for number in range(24)}
ROWS = 30
UNKNOWN = "shop-without-model"
SLOW = """
import time
from sklearn.linear_model import LinearRegression

class Slow(LinearRegression):
    def predict(self, X):
        time.sleep(0.7)
        return super().predict(X)

def fit(frame, key):
    return Slow().fit(frame[["x"]], frame["y"])
"""


def scored(space: Space) -> dict[str, Any]:
    """A training, and a scoring one of whose executors is deleted when it has finished something; what was seen."""
    space.put("scored", SLOPES)
    code = {"code": {"files": {"recipe.py": SLOW}}}
    recipe = {"function": "recipe:fit", "features": ["x"], "target": "y", "allow": ["recipe"]}
    space.install("trains", {**space.values("scored", "scored-models", recipe=recipe), **code})
    space.put("new", {**SLOPES, UNKNOWN: 1.0}, rows=ROWS)
    values = space.values("new", "scored-out")
    values["job"] |= {"models": {"uri": f"s3://{space.bucket}/scored-models/"}, "score": {"actual": "y"}}
    del values["job"]["recipe"]
    endpoint = ("--storage.endpoint", values["job"]["storage"]["endpoint"])
    asks = ["manyfit", "history", f"s3://{space.bucket}/scored-out", "--json", *endpoint]
    values["job"]["output"]["after_release"] = asks
    space.completed("trains")
    space.install("scores", {**values, **code})
    wait("the first predictions", lambda: space.segments("scored-out") >= 1, 300)
    label = {"sparkoperator.k8s.io/app-name": "scores"}

    def running() -> list[dict[str, Any]]:
        pods = space.pods.labelled(spark_role="executor", **label)
        return [pod["metadata"] for pod in pods if pod["status"]["phase"] == "Running"]

    deleted = space.pods.until("a running executor", running, 60)[0]
    space.kubectl("delete", "pod", deleted["name"], "--grace-period=1", "--wait=false")
    state = space.state("scores")
    space.completed("scores")
    [driver] = space.pods.labelled(spark_role="driver", **label)
    ever = space.pods.labelled(spark_role="executor", **label)
    return {
        "deleted": deleted["uid"],
        "executors": {pod["metadata"]["uid"] for pod in ever},
        "state when one was deleted": state,
        "report": space.result("scored-out"),
        "message": json.loads(driver["status"]["containerStatuses"][0]["state"]["terminated"]["message"]),
    }
