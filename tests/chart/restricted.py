"""The Pod Security Standard "restricted", written from its text (it contains "baseline").

`violations` of a pod: one line each, empty if an enforcing namespace would admit it. test_restricted.py compares it
with the fixtures of Kubernetes' own implementation. A Windows pod is judged like any other. Kubernetes' standard says nothing about a read-only root file
system or resources; those are our own demands, in `demands`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Pod = dict[str, Any]

VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start", "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
}  # fmt: skip
SELINUX = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
SECCOMP = {"RuntimeDefault", "Localhost"}
APPARMOR = "container.apparmor.security.beta.kubernetes.io/"


def containers(pod: Pod) -> list[Pod]:
    """All containers, however they are called."""
    spec = pod["spec"]
    return [each for kind in ("initContainers", "containers", "ephemeralContainers") for each in spec.get(kind) or []]


def violations(pod: Pod) -> list[str]:
    """What an enforcing namespace would refuse."""
    return [*_of_pod(pod), *(line for each in containers(pod) for line in _of_container(each, pod["spec"]))]


def _security(thing: Pod) -> Pod:
    return thing.get("securityContext") or {}


def _of_pod(pod: Pod) -> Iterator[str]:
    spec = pod["spec"]
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield f"{name} is set"
    for volume in spec.get("volumes") or []:
        # a volume without a source is an emptyDir
        for kind in volume.keys() - {"name"} - VOLUMES:
            yield f"volume {volume['name']} is a {kind}"
    for sysctl in _security(spec).get("sysctls") or []:
        if sysctl["name"] not in SYSCTLS:
            yield f"sysctl {sysctl['name']}"
    for name, value in (pod["metadata"].get("annotations") or {}).items():
        if name.startswith(APPARMOR) and not (value in ("", "runtime/default") or value.startswith("localhost/")):
            yield f"AppArmor {value}"
    yield from _either("pod", _security(spec))


def _either(where: str, security: Pod) -> Iterator[str]:
    """What is forbidden for a pod and for a container alike."""
    options = security.get("seLinuxOptions") or {}
    if options.get("type", "") not in SELINUX:
        yield f"{where}: SELinux type {options['type']}"
    for name in ("user", "role"):
        if options.get(name):
            yield f"{where}: SELinux {name}"
    if (security.get("windowsOptions") or {}).get("hostProcess"):
        yield f"{where}: hostProcess"
    if security.get("runAsUser") == 0:
        yield f"{where}: runs as root"
    kind = (security.get("appArmorProfile") or {}).get("type", "RuntimeDefault")
    if kind not in SECCOMP:
        yield f"{where}: AppArmor {kind}"
    kind = (security.get("seccompProfile") or {}).get("type", "RuntimeDefault")
    if kind not in SECCOMP:
        yield f"{where}: seccomp {kind}"


def _of_container(container: Pod, spec: Pod) -> Iterator[str]:
    name, security, above = container["name"], _security(container), _security(spec)
    yield from _either(name, security)
    if security.get("privileged"):
        yield f"{name}: privileged"
    if security.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: allowPrivilegeEscalation is not false"
    if security.get("procMount", "Default") != "Default":
        yield f"{name}: procMount"
    capabilities = security.get("capabilities") or {}
    if "ALL" not in (capabilities.get("drop") or []):
        yield f"{name}: does not drop ALL"
    if added := set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}:
        yield f"{name}: adds {sorted(added)}"
    if security.get("runAsNonRoot", above.get("runAsNonRoot")) is not True:
        yield f"{name}: runAsNonRoot is not true"
    if not (security.get("seccompProfile") or above.get("seccompProfile")):
        yield f"{name}: no seccomp profile"
    for port in container.get("ports") or []:
        if port.get("hostPort"):
            yield f"{name}: hostPort {port['hostPort']}"
    hooks = (container.get("lifecycle") or {}).values()
    probes = [container.get(probe) for probe in ("livenessProbe", "readinessProbe", "startupProbe")]
    for handler in [*hooks, *(probe for probe in probes if probe)]:
        for kind in ("httpGet", "tcpSocket"):
            if (handler.get(kind) or {}).get("host"):
                yield f"{name}: {kind} of another host"


def demands(pod: Pod) -> list[str]:
    """What we ask for beyond the standard."""
    made = []
    spec = pod["spec"]
    for container in containers(pod):
        name = container["name"]
        if not _security(container).get("readOnlyRootFilesystem"):
            made.append(f"{name}: the root file system can be written")
        resources = container.get("resources") or {}
        memory = [resources.get(kind, {}).get("memory") for kind in ("requests", "limits")]
        if None in memory:
            made.append(f"{name}: memory has no request or no limit")
    for volume in spec["volumes"]:
        if "emptyDir" in volume and not (volume["emptyDir"] or {}).get("sizeLimit"):
            made.append(f"volume {volume['name']} has no size limit")
    if spec.get("enableServiceLinks") is not False:
        made.append("services of the namespace appear as variables")
    if "automountServiceAccountToken" not in spec:
        made.append("whether the pod gets a token is left to the account")
    return made
