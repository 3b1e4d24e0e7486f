"""What the chart renders, for every values file of the table in values/."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from job.config.score_settings import ScoringSettings
from job.config.settings import JobSettings
from tests.chart import sparkpods
from tests.chart.rendering import Object, case, cases, minimal, render, schemas

EVERY_CASE = pytest.mark.parametrize("name", cases())

TYPES = {
    "ConfigMap": "core.v1.ConfigMap",
    "Pod": "core.v1.Pod",
    "Secret": "core.v1.Secret",
    "ServiceAccount": "core.v1.ServiceAccount",
    "NetworkPolicy": "networking.v1.NetworkPolicy",
    "PodDisruptionBudget": "policy.v1.PodDisruptionBudget",
    "Role": "rbac.v1.Role",
    "RoleBinding": "rbac.v1.RoleBinding",
}

# What the operator hands to spark-submit by itself. Every other field of driver and executor is only applied by its
# webhook (internal/controller/sparkapplication/submission.go), and would be lost where that is off.
SUBMITTED = {
    "cores", "coreRequest", "coreLimit", "memory", "memoryOverhead", "javaOptions", "serviceAccount", "template",
    "instances", "deleteOnTermination",
}  # fmt: skip


def errors(schema: Any, thing: Object) -> list[str]:
    validator = jsonschema.Draft7Validator({**schema, "definitions": schemas("kubernetes")})
    return [f"{error.json_path}: {error.message}"[:300] for error in validator.iter_errors(thing)]


def of_type(name: str, thing: Object) -> list[str]:
    return errors({"$ref": f"#/definitions/io.k8s.api.{name}"}, thing)


def containers(rendered_pod: Object) -> list[Object]:
    return [*rendered_pod["spec"].get("initContainers", []), *rendered_pod["spec"]["containers"]]


@EVERY_CASE
def test_every_object_is_what_the_api_server_and_the_operator_know(name: str) -> None:
    for each in case(name).objects:
        kind = each["kind"]
        if kind in TYPES:
            assert of_type(TYPES[kind], each) == [], kind
        else:
            assert errors({**schemas("sparkoperator"), **schemas("monitoring")}[kind], each) == [], kind


@EVERY_CASE
def test_pod_templates_and_the_pods_that_spark_makes_of_them_are_pods(name: str) -> None:
    # the operator's schema leaves templates open, so that a typo in them would go unnoticed
    spec = case(name).application["spec"]
    for role in ("driver", "executor"):
        assert of_type("core.v1.PodTemplateSpec", spec[role]["template"]) == []
    for pod in sparkpods.pods(case(name)).values():
        assert of_type("core.v1.Pod", pod) == []


@EVERY_CASE
def test_nothing_depends_on_the_operators_webhook(name: str) -> None:
    spec = case(name).application["spec"]

    for role in ("driver", "executor"):
        assert spec[role].keys() <= SUBMITTED
    # what the webhook would set by default
    assert (spec["mode"], spec["type"], spec["pythonVersion"]) == ("cluster", "Python", "3")
    assert spec["restartPolicy"]["type"] in ("OnFailure", "Never")
    assert {"cores", "memory", "memoryOverhead"} <= spec["driver"].keys() & spec["executor"].keys()
    assert spec["executor"]["instances"] >= 1
    assert "volumes" not in spec
    assert "nodeSelector" not in spec


@EVERY_CASE
def test_the_job_document_is_one_that_the_job_accepts(name: str) -> None:
    kind = ScoringSettings if name == "scoring" else JobSettings
    assert kind.model_validate(case(name).document)


def test_the_document_arrives_exactly_as_written() -> None:
    text = """it's $(HOME) & $$ <b>é</b> "quoted" \\ back\nline ☃"""
    rendered = render(minimal({"job": {"recipe": {"version": text}, "input": {"schema": {"a b": "int64"}}}}))
    assert rendered.document["recipe"]["version"] == text
    # the kubelet would replace $(HOME) and $$
    assert "$" not in rendered.application["spec"]["arguments"][2]


def test_large_numbers_in_the_document_stay_whole_numbers() -> None:
    rendered = render(minimal({"job": {"artifact": {"max_bytes": 4000000000}, "run": {"seed": 4294967295}}}))
    assert rendered.document["artifact"]["max_bytes"] == 4000000000
    assert '"seed":4294967295' in rendered.application["spec"]["arguments"][2]


@EVERY_CASE
def test_names_are_accepted_by_kubernetes_the_operator_and_spark(name: str) -> None:
    rendered = case(name)
    for each in rendered.objects:
        given = each["metadata"]["name"]
        assert re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", given), given
        assert len(given) <= 63, given
        assert each["metadata"]["namespace"] == "jobs"
    # a firing's name is a label's value, too
    assert len(rendered.application["metadata"]["name"]) <= 63
    for each in rendered.objects:
        for label, value in each["metadata"].get("labels", {}).items():
            assert re.fullmatch(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?", value), label


@EVERY_CASE
def test_the_applications_labels_do_not_hide_the_pods_own(name: str) -> None:
    # the operator copies them onto both kinds of pods, where they win over the template's
    labels = case(name).application["metadata"]["labels"]
    assert "app.kubernetes.io/component" not in labels
    assert not any("version" in label or "chart" in label for label in labels)


@EVERY_CASE
def test_no_two_variables_volumes_or_mounts_have_one_name(name: str) -> None:
    for pod in sparkpods.pods(case(name)).values():
        volumes = [each["name"] for each in pod["spec"]["volumes"]]
        assert len(volumes) == len(set(volumes))
        for container in containers(pod):
            for kind, key in (("env", "name"), ("volumeMounts", "mountPath")):
                names = [each[key] for each in container.get(kind, [])]
                assert len(names) == len(set(names)), container["name"]
            assert {each["name"] for each in container.get("volumeMounts", [])} <= set(volumes)


@EVERY_CASE
def test_a_service_of_any_name_cannot_disturb_the_job(name: str) -> None:
    # a Service manyfit-x-driver-svc would appear as MANYFIT_X_DRIVER_SVC_SERVICE_HOST: an unknown setting, exit code 2
    assert all(pod["spec"]["enableServiceLinks"] is False for pod in sparkpods.pods(case(name)).values())


@EVERY_CASE
def test_the_job_learns_its_application_from_the_pod_and_its_image(name: str) -> None:
    rendered = case(name)
    env = {each["name"]: each for each in sparkpods.driver(rendered.application)["spec"]["containers"][0]["env"]}

    path = env["MANYFIT_RUN__APPLICATION"]["valueFrom"]["fieldRef"]["fieldPath"]
    label = re.fullmatch(r"metadata\.labels\['(.*)'\]", path)
    assert label
    assert label[1] in sparkpods.driver(rendered.application)["metadata"]["labels"]
    assert env["MANYFIT_RUN__IMAGE"]["value"] == rendered.application["spec"]["image"]


def test_executors_get_no_settings_of_the_job() -> None:
    for name in cases():
        env = [each["name"] for each in sparkpods.executor(case(name).application)["spec"]["containers"][0]["env"]]
        assert set(env).isdisjoint({"MANYFIT_RUN__APPLICATION", "MANYFIT_RUN__IMAGE"})


@EVERY_CASE
def test_every_process_computes_with_one_thread(name: str) -> None:
    for role in (sparkpods.driver, sparkpods.executor):
        env = {each["name"]: each.get("value") for each in role(case(name).application)["spec"]["containers"][0]["env"]}
        assert {env[each] for each in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")} == {"1"}


def test_executor_memory_holds_java_and_a_python_worker_for_each_core() -> None:
    spec = case("spot").application["spec"]

    assert spec["executor"]["memory"] == "1024m"
    assert spec["executor"]["memoryOverhead"] == f"{640 + 4 * 2560}m"
    assert case("spot").document["run"]["memory"] == f"{2560 * 9 // 10}MiB"
    assert spec["driver"]["memoryOverhead"] == "3072m"


def test_a_memory_limit_of_the_job_is_left_alone() -> None:
    assert case("scheduled").document["run"]["memory"] == "2GiB"


def test_dynamic_allocation_asks_for_at_least_one_executor_to_start_with() -> None:
    spec = case("spot").application["spec"]
    assert spec["dynamicAllocation"] == {
        "enabled": True, "initialExecutors": 0, "minExecutors": 0, "maxExecutors": 50, "shuffleTrackingEnabled": True,
    }  # fmt: skip
    assert spec["executor"]["instances"] == 1


def test_spot_executors_hand_over_before_the_node_goes() -> None:
    spec = case("spot").application["spec"]
    assert spec["sparkConf"]["spark.decommission.enabled"] == "true"
    assert spec["sparkConf"]["spark.kubernetes.executor.terminationGracePeriodSeconds"] == "110s"
    assert spec["executor"]["template"]["spec"]["terminationGracePeriodSeconds"] == 110
    env = {each["name"]: each.get("value") for each in spec["executor"]["template"]["spec"]["containers"][0]["env"]}
    assert int(str(env["MANYFIT_DECOMMISSION_SECONDS"])) < 110
    assert "spark.decommission.enabled" not in case("minimal").application["spec"]["sparkConf"]


def test_a_schedule_never_overlaps_and_keeps_the_queue_and_labels() -> None:
    scheduled = case("scheduled").one("ScheduledSparkApplication")
    assert scheduled["spec"]["concurrencyPolicy"] == "Forbid"
    assert (scheduled["spec"]["schedule"], scheduled["spec"]["timeZone"]) == ("0 3 * * *", "Europe/Vienna")
    assert scheduled["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "nightly"
    assert scheduled["metadata"]["labels"]["team"] == "forecasting"


def test_new_code_is_a_new_config_map_and_so_a_new_run() -> None:
    def names(text: str) -> tuple[str, str]:
        rendered = render(minimal({"code": {"files": {"recipe.py": text}}}))
        [volume] = [
            each["configMap"]["name"]
            for each in rendered.application["spec"]["executor"]["template"]["spec"]["volumes"]
            if each["name"] == "code"
        ]
        return rendered.one("ConfigMap", volume)["metadata"]["name"], json.dumps(rendered.application["spec"])

    assert names("a = 1\n") == names("a = 1\n")
    assert names("a = 1\n")[0] != names("a = 2\n")[0]


def test_code_is_importable_on_driver_executors_and_in_the_check() -> None:
    for name, pod in sparkpods.pods(case("code")).items():
        if name.endswith("permissions"):
            continue
        container = pod["spec"]["containers"][0]
        assert {"name": "PYTHONPATH", "value": "/opt/manyfit/code"} in container["env"]
        assert {"name": "code", "mountPath": "/opt/manyfit/code", "readOnly": True} in container["volumeMounts"]


def test_the_event_log_goes_where_the_models_go() -> None:
    conf = case("observed").application["spec"]["sparkConf"]
    assert conf["spark.eventLog.dir"] == "s3a://logs/spark/"
    assert conf["spark.hadoop.fs.s3a.endpoint"] == "http://10.1.2.3:8333"
    assert conf["spark.hadoop.fs.s3a.path.style.access"] == "false"
    assert conf["spark.hadoop.fs.s3a.connection.ssl.enabled"] == "false"
    assert conf["spark.hadoop.fs.s3a.endpoint.region"] == "eu-west-1"
    assert conf["spark.hadoop.fs.s3a.aws.credentials.provider"].endswith("WebIdentityTokenFileCredentialsProvider")

    conf = case("everything").application["spec"]["sparkConf"]
    assert conf["spark.eventLog.dir"] == "file:///var/log/spark"
    driver, executor = (
        case("everything").application["spec"][role]["template"]["spec"] for role in ("driver", "executor")
    )
    assert "event-log" in {each["name"] for each in driver["volumes"]}
    assert "event-log" not in {each["name"] for each in executor["volumes"]}


def test_metrics_are_served_by_the_driver_and_announced_on_its_pod() -> None:
    spec = case("observed").application["spec"]
    assert spec["sparkConf"]["spark.ui.enabled"] == "true"
    annotations = spec["driver"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == "4040"
    assert (
        annotations["prometheus.io/path"].rstrip("/")
        == spec["sparkConf"]["spark.metrics.conf.*.sink.prometheusServlet.path"]
    )


def test_no_number_of_refused_or_lost_executors_ends_a_run() -> None:
    # seen on a cluster: a quota that refused two of two pods ended the run after 21 seconds, 40 refusals later
    conf = case("minimal").application["spec"]["sparkConf"]
    assert int(conf["spark.executor.maxNumFailures"]) == 2**31 - 1
    assert conf["spark.executor.failuresValidityInterval"] == "10m"


def test_the_users_spark_settings_win() -> None:
    conf = case("observed").application["spec"]["sparkConf"]
    assert conf["spark.ui.killEnabled"] == "true"
    assert conf["spark.task.maxFailures"] == "8"


def test_the_users_additions_arrive() -> None:
    spec = case("everything").application["spec"]
    for role, own in (("driver", "DRIVER_ONLY"), ("executor", "EXECUTOR_ONLY")):
        template = spec[role]["template"]
        pod, container = template["spec"], template["spec"]["containers"][0]
        names = {each["name"] for each in container["env"]}
        assert {"TZ", "HTTPS_PROXY", own} <= names
        assert {"configMapRef": {"name": "settings"}} in container["envFrom"]
        assert {"shared"} <= {each["name"] for each in pod["volumes"]}
        assert pod["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
        assert pod["tolerations"][0]["key"] == "batch"
        assert pod["schedulerName"] == "custom"
        assert pod["runtimeClassName"] == "gvisor"
        assert template["metadata"]["labels"]["owner"] == "me"
        assert template["metadata"]["annotations"]["sidecar.istio.io/inject"] == "false"
    assert spec["driver"]["template"]["spec"]["priorityClassName"] == "batch"
    assert spec["executor"]["template"]["spec"]["priorityClassName"] == "preemptible"
    assert "nodeAffinity" in spec["driver"]["template"]["spec"]["affinity"]
    assert "podAntiAffinity" in spec["executor"]["template"]["spec"]["affinity"]
    assert spec["driver"]["template"]["metadata"]["annotations"]["note"] == "driver"
    assert "karpenter.sh/do-not-disrupt" not in spec["driver"]["template"]["metadata"]["annotations"]
    assert spec["timeToLiveSeconds"] == 86400
    assert spec["restartPolicy"] == {"type": "Never"}
    assert case("everything").document["storage"]["ca"] == "/etc/other/ca.pem"


def test_a_variable_of_the_users_wins_over_the_charts_and_a_roles_over_all_pods() -> None:
    values = {
        "pods": {"env": [{"name": "TZ", "value": "UTC"}, {"name": "OMP_NUM_THREADS", "value": "4"}]},
        "driver": {"env": [{"name": "TZ", "value": "Europe/Vienna"}]},
    }
    spec = render(minimal(values)).application["spec"]
    for role, zone in (("driver", "Europe/Vienna"), ("executor", "UTC")):
        env = [(each["name"], each.get("value")) for each in spec[role]["template"]["spec"]["containers"][0]["env"]]
        assert [value for name, value in env if name == "OMP_NUM_THREADS"] == ["4"]
        assert [value for name, value in env if name == "TZ"] == [zone]


def test_azure_workload_identity_marks_the_pods() -> None:
    rendered = render(minimal({"serviceAccount": {"annotations": {"azure.workload.identity/client-id": "0"}}}))
    for pod in sparkpods.pods(rendered).values():
        assert pod["metadata"]["labels"]["azure.workload.identity/use"] == "true"


def test_a_suspended_application_is_not_started_and_others_do_not_mention_it() -> None:
    assert case("everything").application["spec"]["suspend"] is True
    # Kueue sets and clears this field; an upgrade must not fight it
    assert "suspend" not in case("minimal").application["spec"]


def _settings_of_spark() -> bytes:
    import pyspark

    found = []
    for jar in (Path(pyspark.__file__).parent / "jars").glob("spark-*.jar"):
        with zipfile.ZipFile(jar) as archive:
            found += [
                archive.read(each)
                for each in archive.namelist()
                if each.endswith(".class") and re.search("config|conf/|network|Conf|Config", each, re.IGNORECASE)
            ]
    return b"".join(found)


def test_every_spark_setting_is_one_that_the_pinned_spark_knows() -> None:
    known = _settings_of_spark()
    names = {name for each in cases() for name in case(each).application["spec"]["sparkConf"]}
    unknown = [
        name
        for name in sorted(names)
        if not name.startswith(("spark.hadoop.", "spark.metrics.conf."))
        and re.sub(r"(?<=\.service\.label\.).*", "", name).encode() not in known
    ]
    assert unknown == []
