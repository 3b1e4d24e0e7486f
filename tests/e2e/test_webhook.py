"""The operator's webhooks may be off: everything that they would apply is in the pod templates."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from tests.e2e import clusters
from tests.e2e.harness import Space
from tests.support.skips import DOES_NOT_APPLY


@pytest.fixture
def without(space: Space, begun: dict[str, Future[Any]]) -> Iterator[None]:
    """The operator without its webhooks, when all else has ended."""
    if not space.cluster.groups:
        pytest.skip(f"{DOES_NOT_APPLY}the operator of a cluster that was given is not ours to change")
    for each in begun.values():
        each.exception()
    clusters.webhook(False)
    yield
    clusters.webhook(True)


def test_without_the_operators_webhooks_the_same_values_do_the_same(space: Space, without: None) -> None:
    assert "spark-operator" not in space.cluster.kubectl("get", "mutatingwebhookconfigurations", "-o", "name")
    space.put("plainly", {"a": 1.0, "b": 2.0})
    space.install("plainly", space.values("plainly", "plainly-out"))

    space.completed("plainly")
    assert space.result("plainly-out")["totals"]["trained"] == 2
    for pod in space.pods.labelled(**{"sparkoperator.k8s.io/app-name": "plainly"}):
        names = {each["name"] for each in pod["spec"]["containers"][0]["env"]}
        assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= names
