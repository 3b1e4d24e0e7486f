"""A release's pods and policies, and the places around them, for the tests of who reaches whom."""

from __future__ import annotations

import dataclasses

from tests.chart import sparkpods
from tests.chart.reachability import Place, reaches
from tests.chart.rendering import Rendered

INTERNET = Place(address="203.0.113.9")
INTERNET6 = Place(address="2001:db8::9")
METADATA = Place(address="169.254.169.254")
DNS = Place(labels={"k8s-app": "kube-dns"}, namespace="kube-system")
NODE_DNS = Place(address="169.254.20.10")
STRANGER = Place(labels={"app": "stranger"}, namespace="jobs")
FOREIGNER = Place(labels={"app": "stranger"}, namespace="elsewhere")


class Net:
    """A release's pods and policies."""

    def __init__(self, rendered: Rendered) -> None:
        self.policies = rendered.kind("NetworkPolicy")
        pods = sparkpods.pods(rendered)
        self.driver, self.executor, self.test = (
            Place(
                labels=next(pod for name, pod in pods.items() if name.endswith(end))["metadata"]["labels"],
                namespace="jobs",
            )
            for end in ("driver", "executor", "test-check")
        )
        # an executor of another release in the same namespace
        self.other = dataclasses.replace(
            self.executor, labels={**(self.executor.labels or {}), "app.kubernetes.io/instance": "other"}
        )

    def __call__(self, source: Place, target: Place, port: int, protocol: str = "TCP") -> bool:
        return reaches(self.policies, source, target, port, protocol)
