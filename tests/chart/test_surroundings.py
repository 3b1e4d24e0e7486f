"""Proxies, registries, monitors, labels, further objects: what a cluster's owners ask of every chart."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from job.config.settings import MetricsSettings
from tests.chart import sparkpods
from tests.chart.network import INTERNET, Net
from tests.chart.reachability import Place
from tests.chart.rendering import CHART, MINIMAL, Object, Refused, case, cases, minimal, render
from tests.support.series import asked, series

EVERY_CASE = pytest.mark.parametrize("name", cases())


def env(pod: Object) -> dict[str, str]:
    """The variables of our container that have a value."""
    return {each["name"]: each["value"] for each in pod["spec"]["containers"][0].get("env", []) if "value" in each}


def test_a_proxy_reaches_driver_executors_and_the_check_in_both_spellings() -> None:
    for name, pod in sparkpods.pods(case("proxied")).items():
        if name.endswith("permissions"):  # it talks to the API server only
            assert not env(pod)
            continue
        variables = env(pod)
        assert (
            variables["HTTPS_PROXY"]
            == variables["http_proxy"]
            == variables["HTTP_PROXY"]
            == "http://proxy.example:3128"
        )
        assert variables["https_proxy"] == "http://another.example:8080", "the user's own variable wins"
        near = variables["NO_PROXY"].split(",")
        assert near == variables["no_proxy"].split(",")
        # by its name, which Spark uses, and by its number, which Java's client finds in the environment
        assert {"kubernetes.default.svc", "$(KUBERNETES_SERVICE_HOST)", ".svc", "127.0.0.1", "10.244.0.0/16"} <= set(
            near
        )


def test_without_a_proxy_no_variable_speaks_of_one() -> None:
    for pod in sparkpods.pods(case("minimal")).values():
        assert not [name for name in env(pod) if "proxy" in name.lower()]


def test_a_proxy_is_open_in_the_network_policy_and_nothing_beside_it() -> None:
    net = Net(case("proxied"))
    for own in (net.driver, net.executor, net.test):
        assert net(own, INTERNET, 3128)
        assert not net(own, INTERNET, 8080)
    inside = Net(render(minimal({"proxy": {"https": "http://squid.egress.svc:3128"}})))
    assert inside(inside.executor, Place(labels={"app": "squid"}, namespace="egress"), 3128)
    assert not inside(inside.executor, INTERNET, 3128)


@pytest.mark.parametrize(
    ("endpoint", "proxied"),
    [
        ("", True),
        ("https://minio.example", True),
        ("http://minio.data.svc:9000", False),
        ("https://minio.near.example:9000", False),
        ("https://near.example", False),
    ],
)
def test_sparks_own_reader_takes_the_proxy_only_for_a_store_that_is_far_away(endpoint: str, proxied: bool) -> None:
    values = {"proxy": {"https": "http://proxy.example:3128", "noProxy": [".near.example", "near.example"]}}
    storage = {"endpoint": endpoint} if endpoint else {}
    conf = render(minimal({**values, "job": {"storage": storage}})).application["spec"]["sparkConf"]
    found = (conf.get("spark.hadoop.fs.s3a.proxy.host"), conf.get("spark.hadoop.fs.s3a.proxy.port"))
    assert found == (("proxy.example", "3128") if proxied else (None, None))


@pytest.mark.parametrize(
    ("image", "parent", "expected"),
    [
        ({}, {}, "manyfit:0.1.0"),
        ({"registry": "ghcr.io", "repository": "a/b"}, {}, "ghcr.io/a/b:0.1.0"),
        (
            {"registry": "ghcr.io", "repository": "a/b", "tag": "x"},
            {"imageRegistry": "mirror:5000/"},
            "mirror:5000/a/b:x",
        ),
        ({"repository": "a/b"}, {"imageRegistry": "", "other": {"x": 1}}, "a/b:0.1.0"),
    ],
)
def test_the_registry_of_a_parent_chart_is_honoured(image: Object, parent: Object, expected: str) -> None:
    rendered = render(minimal({"image": image, "global": parent}))
    assert rendered.application["spec"]["image"] == expected
    assert {pod["spec"]["containers"][0]["image"] for pod in rendered.kind("Pod")} == {expected}


def test_pull_secrets_of_a_parent_chart_are_added_everywhere() -> None:
    rendered = case("proxied")
    assert rendered.application["spec"]["imagePullSecrets"] == ["mirror", "other"]
    for pod in rendered.kind("Pod"):
        assert pod["spec"]["imagePullSecrets"] == [{"name": "mirror"}, {"name": "other"}]


def test_a_parents_condition_is_accepted_and_says_no_only_there() -> None:
    assert render(minimal({"enabled": True}))
    with pytest.raises(Refused, match="condition of a parent chart"):
        render(minimal({"enabled": False}))


@pytest.mark.parametrize("enabled", [True, False])
def test_a_parent_chart_switches_it_on_and_off_and_names_the_registry(enabled: bool, tmp_path: Path) -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
    dependency = {"name": "manyfit", "version": version, "condition": "manyfit.enabled"}
    parent = {"apiVersion": "v2", "name": "platform", "version": "1.0.0", "dependencies": [dependency]}
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(parent))
    shutil.copytree(CHART, tmp_path / "charts/manyfit")
    values = {"global": {"imageRegistry": "mirror.example"}, "manyfit": {**MINIMAL, "enabled": enabled}}

    rendered = render(values, chart=tmp_path)

    assert [each["spec"]["image"] for each in rendered.kind("SparkApplication")] == (
        [f"mirror.example/manyfit:{version}"] if enabled else []
    )
    assert bool(rendered.objects) is enabled


@EVERY_CASE
def test_kubectl_logs_shows_our_container_where_there_are_others(name: str) -> None:
    for role in ("driver", "executor"):
        template = case(name).application["spec"][role]["template"]
        chosen = template["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"]
        assert chosen in [each["name"] for each in template["spec"]["containers"]]
        assert chosen == f"spark-kubernetes-{role}"


def test_an_annotation_of_the_users_wins_over_ours() -> None:
    mine = {"kubectl.kubernetes.io/default-container": "logs", "prometheus.io/scrape": "false"}
    values = {"metrics": {"enabled": True}, "pods": {"annotations": mine}}
    annotations = render(minimal(values)).application["spec"]["driver"]["template"]["metadata"]["annotations"]
    assert mine.items() <= annotations.items()
    assert annotations["prometheus.io/port"] == "4040"


def test_a_native_sidecar_is_an_init_container_that_stays() -> None:
    containers = case("everything").application["spec"]["driver"]["template"]["spec"]["initContainers"]
    assert [each.get("restartPolicy") for each in containers] == ["Always", None]


def test_what_is_said_of_all_pods_holds_for_those_of_helm_test_too() -> None:
    values = {
        "pods": {
            "annotations": {"sidecar.istio.io/inject": "false"},
            "labels": {"team": "a"},
            "priorityClassName": "batch",
            "schedulerName": "custom",
            "runtimeClassName": "gvisor",
            "dnsPolicy": "Default",
            "tolerations": [{"key": "batch", "operator": "Exists"}],
        },
        "tests": {"resources": {"limits": {"cpu": "1"}}},
    }
    pods = sparkpods.pods(render(minimal(values)))
    assert len(pods) == 4
    for name, pod in pods.items():
        assert pod["metadata"]["annotations"]["sidecar.istio.io/inject"] == "false", name
        assert pod["metadata"]["labels"]["team"] == "a"
        spec = pod["spec"]
        found = [spec.get(each) for each in ("priorityClassName", "schedulerName", "runtimeClassName", "dnsPolicy")]
        assert found == ["batch", "custom", "gvisor", "Default"], name
        assert spec["tolerations"][0]["key"] == "batch"
        if "-test-" in name:  # a quota on limits.cpu
            assert spec["containers"][0]["resources"]["limits"] == {"cpu": "1", "memory": "1Gi"}


def test_groups_profiles_and_devices_arrive_in_every_pod_or_container() -> None:
    pods = sparkpods.pods(case("everything"))
    profile = {"type": "Localhost", "localhostProfile": "profiles/manyfit.json"}
    for pod in pods.values():
        assert pod["spec"]["securityContext"]["supplementalGroups"] == [3000]
        assert pod["spec"]["securityContext"]["seccompProfile"] == profile
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
            assert container["securityContext"]["seccompProfile"] == profile
    for role, device in (("driver", "smarter-devices/fuse"), ("executor", "nvidia.com/gpu")):
        resources = pods[role]["spec"]["containers"][0]["resources"]
        assert resources["limits"][device] == resources["requests"][device] == 1
        assert "memory" in resources["limits"]
    assert pods["driver"]["spec"]["containers"][0]["resources"]["limits"]["ephemeral-storage"] == "2Gi"


@pytest.mark.parametrize("resource", ["cpu", "memory", "ephemeral-storage"])
def test_a_resource_that_has_a_value_of_its_own_is_not_set_twice(resource: str) -> None:
    with pytest.raises(Refused, match=f"/executor/extendedResources/{resource}': value must be 'in this chart: "):
        render(minimal({"executor": {"extendedResources": {resource: 1}}}))


def test_roots_group_is_allowed_and_root_is_not() -> None:
    values = {"security": {"runAsUser": None, "runAsGroup": 0, "fsGroup": 0}}
    for pod in sparkpods.pods(render(minimal(values))).values():
        assert (pod["spec"]["securityContext"]["runAsGroup"], pod["spec"]["securityContext"]["fsGroup"]) == (0, 0)
    with pytest.raises(Refused, match="/security/runAsUser"):
        render(minimal({"security": {"runAsUser": 0}}))


def test_openshifts_dns_answers() -> None:
    labels = {"dns.operator.openshift.io/daemonset-dns": "default"}
    for name in ("minimal", "proxied"):
        net = Net(case(name))
        assert net(net.executor, Place(labels=labels, namespace="openshift-dns"), 5353, "UDP")
        assert not net(net.executor, Place(labels={"app": "other"}, namespace="openshift-dns"), 5353, "UDP")


def test_who_is_named_by_extra_ingress_reaches_driver_and_executors() -> None:
    net = Net(case("everything"))
    agent = Place(labels={"app": "agent"}, namespace="agents")
    for own in (net.driver, net.executor):
        assert net(agent, own, 8778)
        assert not net(agent, own, 7078)
        assert not net(Place(labels={"app": "agent"}, namespace="others"), own, 8778)


@EVERY_CASE
def test_services_that_spark_and_the_operator_make_carry_the_labels_of_the_release(name: str) -> None:
    spec = case(name).application["spec"]
    labels = spec["sparkUIOptions"]["serviceLabels"]
    prefix = "spark.kubernetes.driver.service.label."
    service = {key.removeprefix(prefix): value for key, value in spec["sparkConf"].items() if key.startswith(prefix)}
    assert service == labels
    own = {key: value for key, value in case(name).application["metadata"]["labels"].items() if "kueue" not in key}
    assert service == own


@pytest.mark.parametrize("where", ["commonLabels", "pods", "driver", "executor"])
@pytest.mark.parametrize("label", ["name", "instance", "component", "managed-by"])
def test_a_label_that_policies_select_by_is_refused_and_not_dropped(where: str, label: str) -> None:
    labels = {f"app.kubernetes.io/{label}": "mine"}
    with pytest.raises(Refused, match=f"{where}.* has app.kubernetes.io/{label}, which the chart sets"):
        render(minimal({where: labels if where == "commonLabels" else {"labels": labels}}))


def test_other_recommended_labels_are_everywhere() -> None:
    rendered = case("everything")
    for pod in sparkpods.pods(rendered).values():
        assert pod["metadata"]["labels"]["app.kubernetes.io/part-of"] == "forecasts"


def test_further_objects_are_part_of_the_release_as_mappings_and_as_text() -> None:
    rendered = case("everything")
    assert rendered.one("ConfigMap", "nightly-notes")["data"] == {"who": "gapminder"}
    assert rendered.one("ConfigMap", "written-out")["metadata"]["namespace"] == "jobs"


def test_a_pod_monitor_scrapes_both_pages_and_knows_the_release() -> None:
    monitor = case("observed").one("PodMonitor")
    assert monitor["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    pod = sparkpods.driver(case("observed").application)
    assert monitor["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert set(monitor["spec"]["podTargetLabels"]) <= pod["metadata"]["labels"].keys()
    ports = {each["name"]: each["containerPort"] for each in pod["spec"]["containers"][0]["ports"]}
    assert "manyfit" in ports
    paths = {each["path"] for each in monitor["spec"]["podMetricsEndpoints"] if ports[each["port"]] == 4040}
    assert paths == {"/metrics/prometheus/", "/metrics/executors/prometheus/"}
    assert case("minimal").kind("PodMonitor") == []


def test_alerts_are_about_the_pods_of_this_release_and_no_other() -> None:
    def pods(name: str) -> dict[str, str]:
        [group] = case(name).one("PrometheusRule")["spec"]["groups"]
        return {rule["alert"]: re.findall(r'pod=~"([^"]+)"', rule["expr"])[0] for rule in group["rules"]}

    rules = pods("scheduled")
    assert set(rules) == {"ManyfitRunFailed", "ManyfitNoExecutor", "ManyfitNoRunEndedWell"}
    driver, executor = rules["ManyfitRunFailed"], rules["ManyfitNoExecutor"]
    assert driver == rules["ManyfitNoRunEndedWell"]
    # as seen on a cluster
    assert re.fullmatch(driver, "nightly-driver")
    assert re.fullmatch(driver, "nightly-1763910000000000000-driver")
    assert re.fullmatch(executor, "nightly-1763910000000000000-615164a2266c136a-exec-12")
    assert re.fullmatch(executor, "nightly-615164a2266c136a-exec-1")
    for other in ("nightly-2nd-driver", "weekly-driver", "nightly-exec-1", "nightly-x-615164a2266c136a-exec-1"):
        assert not re.fullmatch(driver, other)
        assert not re.fullmatch(executor, other)
    text = case("scheduled").text
    assert "describe pod {{ $labels.pod }} says why" in text
    assert case("minimal").kind("PrometheusRule") == []


def test_the_run_serves_its_metrics_on_the_port_that_monitor_pod_and_policy_name() -> None:
    rendered = case("observed")
    document = json.loads(rendered.application["spec"]["arguments"][2])
    assert document["metrics"] == {"enabled": True}
    port = MetricsSettings().port
    pod = sparkpods.driver(rendered.application)
    assert {"name": "manyfit", "containerPort": port, "protocol": "TCP"} in pod["spec"]["containers"][0]["ports"]
    assert [each["port"] for each in rendered.one("PodMonitor")["spec"]["podMetricsEndpoints"]].count("manyfit") == 1
    policies = rendered.kind("NetworkPolicy")
    open_ports = [
        each["port"] for policy in policies for rule in policy["spec"].get("ingress", []) for each in rule["ports"]
    ]
    assert port in open_ports
    off = render(minimal({"metrics": {"enabled": True}, "job": {"metrics": {"enabled": False}}}))
    assert "containerPort: 8090" not in off.text
    assert "port: manyfit" not in off.text


def test_alerts_on_the_run_itself_ask_for_series_that_it_has() -> None:
    [group] = case("observed").one("PrometheusRule")["spec"]["groups"]
    rules = {rule["alert"]: rule["expr"] for rule in group["rules"]}
    assert {"ManyfitManyFailed", "ManyfitStuck"} <= rules.keys()
    for name in ("ManyfitManyFailed", "ManyfitStuck"):
        assert asked(rules[name])
        assert asked(rules[name]) <= series().keys()
    assert "> 0.05 *" in rules["ManyfitManyFailed"]


def test_a_metric_has_one_name_in_every_release() -> None:
    conf = case("observed").application["spec"]["sparkConf"]
    assert conf["spark.metrics.namespace"] == "manyfit"


@pytest.mark.parametrize("policy", ["Forbid", "Replace", "Allow"])
def test_a_schedule_may_wait_replace_or_overlap(policy: str) -> None:
    rendered = render(minimal({"schedule": {"cron": "@daily", "concurrencyPolicy": policy}}))
    assert rendered.one("ScheduledSparkApplication")["spec"]["concurrencyPolicy"] == policy
