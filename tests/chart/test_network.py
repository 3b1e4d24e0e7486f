"""Who reaches whom: the policies of a release, read by a checker that knows their rules."""

from __future__ import annotations

import dataclasses

import pytest

from tests.chart.network import DNS, FOREIGNER, INTERNET, INTERNET6, METADATA, NODE_DNS, STRANGER, Net
from tests.chart.reachability import Place, reaches
from tests.chart.rendering import case, cases, minimal, render

WITH_POLICIES = sorted(set(cases()) - {"bare"})


@pytest.mark.parametrize("name", WITH_POLICIES)
def test_driver_and_executors_reach_each_other_on_sparks_ports_only(name: str) -> None:
    net = Net(case(name))
    conf = case(name).application["spec"]["sparkConf"]
    rpc, driver_blocks, blocks = (
        int(conf[f"spark.{each}port"]) for each in ("driver.", "driver.blockManager.", "blockManager.")
    )
    assert net(net.executor, net.driver, rpc)
    assert net(net.executor, net.driver, driver_blocks)
    assert net(net.driver, net.executor, blocks)
    assert net(net.executor, net.executor, blocks)
    assert not net(net.executor, net.driver, 22)
    assert not net(net.driver, net.executor, 22)
    assert not net(net.executor, net.driver, 4040)


@pytest.mark.parametrize("name", WITH_POLICIES)
def test_nobody_else_gets_in(name: str) -> None:
    net = Net(case(name))
    for outsider in (STRANGER, FOREIGNER, INTERNET, net.other):
        for own in (net.driver, net.executor, net.test):
            for port in (7078, 7079, 4040, 22):
                assert not net(outsider, own, port)


@pytest.mark.parametrize("name", WITH_POLICIES)
def test_a_pod_of_the_release_that_is_neither_is_cut_off(name: str) -> None:
    net = Net(case(name))
    labels = {key: value for key, value in (net.driver.labels or {}).items() if key != "app.kubernetes.io/component"}
    own = dataclasses.replace(net.driver, labels=labels)
    for other, port, protocol in ((INTERNET, 443, "TCP"), (DNS, 53, "UDP"), (net.executor, 7079, "TCP")):
        assert not net(own, other, port, protocol)
        assert not net(other, own, port, protocol)


@pytest.mark.parametrize("name", WITH_POLICIES)
def test_everyone_resolves_names_and_nobody_reaches_strangers(name: str) -> None:
    net = Net(case(name))
    for own in (net.driver, net.executor, net.test):
        assert net(own, DNS, 53, "UDP")
        assert net(own, DNS, 53)
        assert net(own, NODE_DNS, 53, "UDP")
        assert not net(own, DNS, 8080)
        assert not net(own, STRANGER, 80)
        assert not net(own, FOREIGNER, 80)
        assert not net(own, INTERNET, 22)
        assert not net(own, INTERNET, 80)
    assert not net(net.executor, net.test, 80)
    assert not net(net.driver, net.other, 7079)


@pytest.mark.parametrize("name", sorted(set(WITH_POLICIES) - {"code"}))
def test_the_nodes_identity_is_out_of_reach(name: str) -> None:
    net = Net(case(name))
    for own in (net.driver, net.executor, net.test):
        for address in ("169.254.169.254", "169.254.170.2", "fd00:ec2::254"):
            for port in (80, 443, 6443, 988, 9000):
                assert not net(own, Place(address=address), port), address


def test_workload_identity_opens_its_own_address_and_no_other() -> None:
    gke = Net(case("code"))
    assert gke(gke.executor, METADATA, 80)
    assert gke(gke.executor, Place(address="169.254.169.252"), 988)
    assert not gke(gke.executor, METADATA, 443)
    eks = Net(case("everything"))
    assert eks(eks.executor, Place(address="169.254.170.23"), 80)
    assert not eks(eks.executor, METADATA, 80)


def test_only_the_driver_reaches_the_api_server() -> None:
    net = Net(case("in-cluster-store"))
    assert net(net.driver, INTERNET, 6443)
    assert net(net.driver, INTERNET, 443)
    assert net(net.test, INTERNET, 6443)
    assert not net(net.executor, INTERNET, 6443)
    assert not net(net.executor, INTERNET, 443)

    net = Net(case("everything"))
    assert net(net.driver, Place(address="10.96.0.1"), 443)
    assert not net(net.driver, Place(address="10.96.0.2"), 443)
    assert not net(net.executor, Place(address="10.96.0.1"), 443)


def test_a_store_in_the_cluster_opens_its_namespace_and_nothing_outside() -> None:
    net = Net(case("in-cluster-store"))
    store = Place(labels={"app": "minio"}, namespace="storage")
    for own in (net.driver, net.executor, net.test):
        assert net(own, store, 9000)
        assert not net(own, dataclasses.replace(store, namespace="other"), 9000)
        assert not net(own, INTERNET, 9000)


def test_a_store_on_the_internet_is_reached_by_https_in_both_address_families() -> None:
    net = Net(case("minimal"))
    for own in (net.driver, net.executor):
        assert net(own, INTERNET, 443)
        assert net(own, INTERNET6, 443)
        assert not net(own, INTERNET, 9000)
        assert not net(own, FOREIGNER, 443)


def test_the_port_of_an_endpoint_is_opened() -> None:
    net = Net(case("observed"))
    assert net(net.executor, Place(address="10.1.2.3"), 8333)
    assert net(net.executor, INTERNET, 443), "the input has no endpoint: it is AWS"


@pytest.mark.parametrize(
    ("endpoint", "place", "port"),
    [
        ("http://s3.s3:9000", INTERNET, 9000),
        ("http://minio.data.svc:9000", Place(labels={}, namespace="data"), 9000),
        ("http://minio.data.svc/", Place(labels={}, namespace="data"), 9000),
        ("https://minio.example.com", INTERNET, 443),
        ("http://minio.example.com", INTERNET, 80),
        ("http://minio.example.com:8080/", INTERNET, 8080),
        ("https://10.0.0.7:9443", Place(address="10.0.0.7"), 9443),
        ("https://[2001:db8::9]:9443", INTERNET6, 9443),
    ],
)
def test_endpoints_are_understood(endpoint: str, place: Place, port: int) -> None:
    net = Net(render(minimal({"job": {"storage": {"endpoint": endpoint}}})))
    assert net(net.executor, place, port)
    assert not net(net.executor, place, 22) or place.labels is not None


def test_storage_can_be_narrowed_to_its_addresses() -> None:
    net = Net(case("everything"))
    assert net(net.executor, Place(address="10.20.3.4"), 9000)
    assert not net(net.executor, Place(address="10.21.3.4"), 9000)
    assert not net(net.executor, INTERNET, 443)
    assert net(net.executor, Place(labels={}, namespace="proxy"), 3128)


def test_metrics_and_page_are_open_to_those_named() -> None:
    net = Net(case("observed"))
    assert net(Place(labels={"app": "prometheus"}, namespace="prometheus"), net.driver, 4040)
    assert net(Place(labels={"app": "proxy"}, namespace="jobs"), net.driver, 4040)
    assert not net(Place(labels={"app": "proxy"}, namespace="elsewhere"), net.driver, 4040)
    assert not net(Place(labels={"app": "prometheus"}, namespace="prometheus"), net.executor, 4040)


def test_the_checker_sees_a_hole() -> None:
    # with the policies gone, or one rule widened, the tests above would fail
    rendered = case("minimal")
    net = Net(rendered)
    assert reaches([], STRANGER, net.driver, 22)
    [driver] = [each for each in net.policies if each["metadata"]["name"].endswith("-driver")]
    wide = {**driver, "spec": {**driver["spec"], "ingress": [{}]}}
    assert reaches([*net.policies, wide], STRANGER, net.driver, 22)
