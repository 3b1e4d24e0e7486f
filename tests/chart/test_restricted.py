"""Every pod of a release is admitted by a namespace that enforces Pod Security "restricted", and mutants are not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.chart import modules, sparkpods
from tests.chart.rendering import Object, case, cases
from tests.chart.restricted import demands, violations


def pods() -> list[tuple[str, Object]]:
    return [(f"{name}/{pod}", each) for name in cases() for pod, each in sparkpods.pods(case(name)).items()]


def test_every_pod_of_every_case_is_restricted() -> None:
    assert {name: violations(pod) for name, pod in pods() if violations(pod)} == {}


def test_every_pod_has_a_read_only_root_limits_and_sizes() -> None:
    assert {name: demands(pod) for name, pod in pods() if demands(pod)} == {}


def container(pod: Object) -> Object:
    made: Object = pod["spec"]["containers"][0]
    return made


def security(pod: Object) -> Object:
    made: Object = container(pod)["securityContext"]
    return made


MUTANTS: dict[str, Callable[[Object], object]] = {
    "root": lambda pod: pod["spec"]["securityContext"].update(runAsUser=0),
    "maybe-root": lambda pod: (pod["spec"]["securityContext"].pop("runAsNonRoot"), security(pod).pop("runAsNonRoot")),
    "no-seccomp": lambda pod: (
        pod["spec"]["securityContext"].pop("seccompProfile"),
        security(pod).pop("seccompProfile"),
    ),
    "seccomp-off": lambda pod: security(pod).update(seccompProfile={"type": "Unconfined"}),
    "keeps-capabilities": lambda pod: security(pod).pop("capabilities"),
    "adds-a-capability": lambda pod: security(pod)["capabilities"].update(add=["NET_RAW"]),
    "escalation": lambda pod: security(pod).pop("allowPrivilegeEscalation"),
    "privileged": lambda pod: security(pod).update(privileged=True),
    "host-path": lambda pod: pod["spec"]["volumes"].append({"name": "h", "hostPath": {"path": "/"}}),
    "host-network": lambda pod: pod["spec"].update(hostNetwork=True),
    "host-pid": lambda pod: pod["spec"].update(hostPID=True),
    "host-port": lambda pod: container(pod).update(ports=[{"containerPort": 1, "hostPort": 1}]),
    "selinux": lambda pod: security(pod).update(seLinuxOptions={"type": "spc_t"}),
    "proc": lambda pod: security(pod).update(procMount="Unmasked"),
    "apparmor": lambda pod: security(pod).update(appArmorProfile={"type": "Unconfined"}),
    "sysctl": lambda pod: pod["spec"]["securityContext"].update(sysctls=[{"name": "kernel.msgmax", "value": "1"}]),
    "careless-init-container": lambda pod: pod["spec"].update(initContainers=[{"name": "i", "image": "i"}]),
}


@pytest.mark.parametrize("mutant", MUTANTS)
@pytest.mark.parametrize("role", ["driver", "executor", "nightly-test-check"])
def test_a_mutant_is_refused(mutant: str, role: str) -> None:
    pod = copy.deepcopy(sparkpods.pods(case("minimal"))[role])
    MUTANTS[mutant](pod)
    assert violations(pod) != []


@pytest.mark.parametrize(
    "mutant",
    [
        lambda pod: security(pod).update(readOnlyRootFilesystem=False),
        lambda pod: container(pod)["resources"]["limits"].clear(),
        lambda pod: pod["spec"]["volumes"][0].update(emptyDir={}),
        lambda pod: pod["spec"].pop("enableServiceLinks"),
        lambda pod: pod["spec"].pop("automountServiceAccountToken"),
    ],
)
def test_a_mutant_of_our_own_demands_is_noticed(mutant: Callable[[Object], object]) -> None:
    pod = copy.deepcopy(sparkpods.pods(case("minimal"))["driver"])
    mutant(pod)
    assert demands(pod) != []


def fixtures() -> Path:
    """The cases of Kubernetes' own implementation, for the newest version that it knows."""
    folder = modules.module(modules.refresh().POD_SECURITY) / "test/testdata/restricted"
    return max(folder.glob("v1.*"), key=lambda path: int(path.name[3:]))


def test_the_checker_agrees_with_kubernetes_own_fixtures() -> None:
    folder = fixtures()
    wrong = []
    for path in sorted(folder.glob("*/*.yaml")):
        if "windows" in path.name:
            continue
        verdict = violations(yaml.safe_load(path.read_text()))
        if (path.parent.name == "pass") != (not verdict):
            wrong.append(f"{path.parent.name}/{path.name}: {verdict}")
    assert wrong == []
    assert len(list(folder.glob("*/*.yaml"))) > 50
