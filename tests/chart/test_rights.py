"""Who may do what at the API server, and what is a secret where."""

from __future__ import annotations

import base64
import json
import re

import pytest
import yaml

from tests.chart import sparkpods
from tests.chart.rendering import ROOT, case, cases, render

EVERY_CASE = pytest.mark.parametrize("name", cases())

# The golden rules: what Spark's driver calls (KubernetesClusterSchedulerBackend, ExecutorPodsAllocator), nothing else.
DRIVER = [
    {
        "apiGroups": [""],
        "resources": ["pods"],
        "verbs": ["create", "get", "list", "watch", "patch", "delete", "deletecollection"],
    }
]


@pytest.mark.parametrize("name", sorted(set(cases()) - {"bare", "everything"}))
def test_the_driver_manages_pods_and_nothing_else(name: str) -> None:
    rendered = case(name)
    assert rendered.one("Role")["rules"] == DRIVER
    account = rendered.application["spec"]["driver"]["serviceAccount"]
    [binding] = rendered.kind("RoleBinding")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": "jobs"}]
    assert binding["roleRef"]["name"] == rendered.one("Role")["metadata"]["name"]


@EVERY_CASE
def test_nothing_is_granted_to_executors_or_beyond_the_namespace(name: str) -> None:
    rendered = case(name)
    assert not {"ClusterRole", "ClusterRoleBinding"} & {each["kind"] for each in rendered.objects}
    executor = rendered.application["spec"]["executor"]["serviceAccount"]
    assert executor != rendered.application["spec"]["driver"]["serviceAccount"]
    bound = [subject["name"] for binding in rendered.kind("RoleBinding") for subject in binding["subjects"]]
    assert executor not in bound
    for role in rendered.kind("Role"):
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert not {"secrets", "pods/exec", "serviceaccounts/token"} & set(rule["resources"])


@EVERY_CASE
def test_only_the_driver_and_the_test_of_its_rights_get_a_token(name: str) -> None:
    rendered = case(name)
    assert all(each["automountServiceAccountToken"] is False for each in rendered.kind("ServiceAccount"))
    with_token = {
        name.removeprefix("nightly-")
        for name, pod in sparkpods.pods(rendered).items()
        if pod["spec"]["automountServiceAccountToken"]
    }
    assert {each for each in with_token if not each.endswith("test-permissions")} == {"driver"}


def test_permissions_the_driver_would_need_for_other_things_are_configured_away() -> None:
    # each of these, left at its default, makes Spark call something that the Role does not grant
    for name in cases():
        conf = case(name).application["spec"]["sparkConf"]
        assert conf["spark.kubernetes.executor.disableConfigMap"] == "true"
        assert conf["spark.kubernetes.driver.service.deleteOnTermination"] == "false"
        assert conf["spark.kubernetes.driver.ownPersistentVolumeClaim"] == "false"
        assert conf["spark.kubernetes.driver.reusePersistentVolumeClaim"] == "false"


@EVERY_CASE
def test_credentials_are_only_ever_references(name: str) -> None:
    rendered = case(name)
    suspicious = re.compile("(?i)secret|password|access_?key|token|account_key")
    for pod in sparkpods.pods(rendered).values():
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
            for variable in container.get("env", []):
                assert not (suspicious.search(variable["name"]) and "value" in variable), variable["name"]
    conf = rendered.application["spec"]["sparkConf"]
    assert not [
        each for each in conf if re.search(r"(?i)(secret|access)[._]key$|password$|authenticate\.secret$", each)
    ]
    for argument in rendered.application["spec"]["arguments"]:
        assert not re.search(r"AKIA[0-9A-Z]{16}|://[^/\"]*:[^/\"]*@", argument)


def test_the_stores_keys_reach_driver_executors_and_check_from_the_named_secret() -> None:
    for name, pod in sparkpods.pods(case("in-cluster-store")).items():
        if name.endswith("permissions"):
            continue
        env = {each["name"]: each for each in pod["spec"]["containers"][0]["env"]}
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            reference = env[variable]["valueFrom"]["secretKeyRef"]
            assert (reference["name"], reference["key"]) == ("s3", variable)
        assert env["AWS_SESSION_TOKEN"]["valueFrom"]["secretKeyRef"]["optional"] is True
        assert "envFrom" not in pod["spec"]["containers"][0]


def test_the_secret_between_driver_and_executors_is_in_its_secret_and_nowhere_else() -> None:
    rendered = case("minimal")
    secret = rendered.one("Secret")["data"]["secret"]
    assert len(base64.b64decode(secret)) >= 32
    for form in (secret, base64.b64decode(secret).decode()):
        assert rendered.text.count(form) <= 1
        assert form not in json.dumps(rendered.application)

    spec = rendered.application["spec"]
    assert spec["sparkConf"]["spark.authenticate.secret.file"] == "/etc/manyfit/rpc/secret"
    for role in ("driver", "executor"):
        template = spec[role]["template"]["spec"]
        [volume] = [each for each in template["volumes"] if each["name"] == "rpc-secret"]
        assert volume["secret"]["secretName"] == rendered.one("Secret")["metadata"]["name"]
        assert volume["secret"]["defaultMode"] == 0o440
        [mount] = [each for each in template["containers"][0]["volumeMounts"] if each["name"] == "rpc-secret"]
        assert mount == {"name": "rpc-secret", "mountPath": "/etc/manyfit/rpc", "readOnly": True}


def test_an_executor_knows_that_it_may_read_the_secrets_file() -> None:
    # seen on a cluster: without it every executor ends with "A secret key must be specified"
    for name in cases():
        env = case(name).application["spec"]["executor"]["template"]["spec"]["containers"][0]["env"]
        options = {each["name"]: each.get("value", "") for each in env}.get("JDK_JAVA_OPTIONS", "")
        assert ("-Dspark.master=k8s" in options) is (name != "bare")


def test_a_mounted_secret_can_be_read_by_the_process_and_by_no_more_than_needed() -> None:
    def modes(name: str) -> set[int]:
        volumes = case(name).application["spec"]["driver"]["template"]["spec"]["volumes"]
        return {each["secret"].get("defaultMode") for each in volumes if each["name"] == "rpc-secret"}

    assert modes("minimal") == {0o440}
    nobody = render({"job": case("minimal").document, "security": {"fsGroup": None}})
    volumes = nobody.application["spec"]["driver"]["template"]["spec"]["volumes"]
    assert {each["secret"]["defaultMode"] for each in volumes if "secret" in each} == {0o444}


def test_a_secret_that_exists_is_used_and_none_is_made() -> None:
    rendered = case("everything")
    assert rendered.kind("Secret") == []
    volumes = rendered.application["spec"]["executor"]["template"]["spec"]["volumes"]
    assert [each["secret"]["secretName"] for each in volumes if each["name"] == "rpc-secret"] == ["shared"]


@EVERY_CASE
def test_what_driver_and_executors_say_is_encrypted_with_an_authenticating_cipher(name: str) -> None:
    conf = case(name).application["spec"]["sparkConf"]
    if name != "bare":
        assert conf["spark.authenticate"] == conf["spark.network.crypto.enabled"] == "true"
        assert conf["spark.network.crypto.cipher"] == "AES/GCM/NoPadding"
        assert conf["spark.network.crypto.saslFallback"] == "false"


def test_spark_redacts_what_looks_like_a_credential() -> None:
    pattern = re.compile(case("minimal").application["spec"]["sparkConf"]["spark.redaction.regex"])
    for setting in (
        "spark.hadoop.fs.s3a.access.key", "spark.hadoop.fs.s3a.secret.key", "spark.hadoop.fs.s3a.session.token",
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "spark.ssl.keyStorePassword",
    ):  # fmt: skip
        assert pattern.search(setting), setting


def test_the_web_page_is_off_unless_asked_for() -> None:
    for name in set(cases()) - {"observed"}:
        assert case(name).application["spec"]["sparkConf"]["spark.ui.enabled"] == "false"


def test_helm_test_pods_are_hooks_that_clean_up_and_use_the_drivers_account() -> None:
    rendered = render({"job": case("minimal").document})
    for pod in rendered.kind("Pod"):
        assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
        # Helm leaves hooks behind when it uninstalls
        assert "hook-succeeded" in pod["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
        assert pod["spec"]["serviceAccountName"] == rendered.application["spec"]["driver"]["serviceAccount"]
        assert pod["spec"]["containers"][0]["image"] == rendered.application["spec"]["image"]
    check = next(each for each in rendered.kind("Pod") if each["metadata"]["name"].endswith("check"))
    arguments = check["spec"]["containers"][0]["args"]
    assert arguments[:3] == ["manyfit", "check", "--document"]
    assert json.loads(arguments[3]) == rendered.document


def test_a_deployers_role_has_every_kind_that_a_release_has_and_what_its_role_grants() -> None:
    role = yaml.safe_load((ROOT / "docs/reference/policies/deployer.yaml").read_text())
    granted = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    manage = ("create", "get", "patch", "delete")
    plurals = {"NetworkPolicy": "networkpolicies"}
    needed = {("", "pods", verb) for verb in DRIVER[0]["verbs"]}
    for name in cases():
        for each in case(name).objects:
            group, slash, _ = each["apiVersion"].rpartition("/")
            resource = plurals.get(each["kind"], f"{each['kind'].lower()}s")
            needed |= {(group if slash else "", resource, verb) for verb in manage}
    assert needed - granted == set()
    assert not any("*" in right for right in granted)
    assert not [right for right in granted if right[1] in ("pods/exec", "serviceaccounts/token")]
