"""One cluster and one namespace for all end-to-end tests; what they only look at runs once, and beside each other."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import harness, scenarios
from tests.e2e.clusters import bare, given
from tests.e2e.harness import ARTIFACTS, Cluster, Space

ORDER = ("test_install", "test_faults", "test_scoring", "test_options", "test_rights", "test_webhook")
"""The first run is measured on a cluster that does nothing else; rights are counted when all has happened."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs a cluster and takes its time."""
    ours = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.e2e)
        item.add_marker(pytest.mark.timeout(3600))  # the first one has the cluster's start in it
    places = [place for place, item in enumerate(items) if item in ours]
    for place, item in zip(places, sorted(ours, key=lambda item: ORDER.index(item.path.stem)), strict=True):
        items[place] = item


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster of KUBECONFIG, or else the bare one, which ends with the tests."""
    shutil.rmtree(ARTIFACTS, ignore_errors=True)
    # a test run that is told to end takes its cluster with it
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    kubeconfig = os.environ.get("KUBECONFIG")
    with given(kubeconfig) if kubeconfig else bare() as found:
        yield found
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def space(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Space]:
    """The namespace of the tests."""
    made = Space(cluster)
    yield made
    harness.OVER.set()
    if request.session.testsfailed:
        made.keep_all()
        print(f"\nlogs and events are in {ARTIFACTS}")
    made.delete()


@pytest.fixture(scope="session")
def begun(space: Space, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Any]]]:
    """The scenarios that the chosen tests look at, some at a time; a fixture of its name waits for its end."""
    wanted = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    if not space.cluster.image_s3a:
        wanted.discard("tables")
    if os.environ.get("E2E_NAMESPACE"):
        wanted.discard("refused")
    if not space.cluster.s3_image:
        wanted.discard("trusted")
    if "measured" in wanted:
        request.getfixturevalue("measured")  # on a cluster that does nothing else
    busy = os.getloadavg()[0] > 2 * (os.cpu_count() or 1)
    pool = ThreadPoolExecutor(2 if busy else 3)
    yield {name: pool.submit(act, space) for name, act in scenarios.ALL.items() if name in wanted}
    pool.shutdown(wait=False, cancel_futures=True)
