"""One cluster for all end-to-end tests, one namespace and bucket for each module, and one finished run to look at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import REPOSITORY, Cluster, Space, bare, given


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs a cluster and takes its time."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster of KUBECONFIG, or else the bare one, which ends with the tests."""
    kubeconfig = os.environ.get("KUBECONFIG")
    found, end = given(kubeconfig) if kubeconfig else bare()
    yield found
    end()


@pytest.fixture(scope="session")
def space(cluster: Cluster) -> Iterator[Space]:
    """The namespace of the tests."""
    made = Space.make(cluster, REPOSITORY / "build/e2e")
    yield made
    made.delete()
