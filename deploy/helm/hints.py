"""Hints for names that the chart does not have: the nearest one that it has, and where other charts' names are here.

Helm checks values against the schema before any template runs, and of an unknown name it says only "not allowed". A
property that can only be refused, `{"const": "did you mean instances?"}`, makes it say more: "at '/executor/instance':
value must be 'did you mean instances?'". Nothing that was refused is accepted.
"""

from __future__ import annotations

import re
from typing import Any

Schema = dict[str, Any]

_ROLES = "pods.{0} (or driver.{0}, executor.{0})"

#: Where other charts' names are found here: the place (empty: at the top), their name, ours.
HABITS: dict[str, dict[str, str]] = {
    "": {
        "affinity": _ROLES.format("affinity"),
        "annotations": "commonAnnotations, or pods.annotations",
        "args": "job",
        "command": "job",
        "config": "job",
        "cron": "schedule.cron",
        "dnsConfig": "pods.dnsConfig",
        "dnsPolicy": "pods.dnsPolicy",
        "env": _ROLES.format("env"),
        "envFrom": _ROLES.format("envFrom"),
        "existingSecret": "credentials.secretName",
        "extraDeploy": "extraObjects",
        "extraEnv": _ROLES.format("env"),
        "extraEnvVars": _ROLES.format("env"),
        "extraManifests": "extraObjects",
        "extraVolumeMounts": _ROLES.format("volumeMounts"),
        "extraVolumes": _ROLES.format("volumes"),
        "hostAliases": "pods.hostAliases",
        "imagePullPolicy": "image.pullPolicy",
        "imagePullSecrets": "image.pullSecrets",
        "ingress": "ui.enabled and kubectl port-forward; Spark's page has no login",
        "initContainers": "driver.initContainers, executor.initContainers",
        "labels": "commonLabels, or pods.labels",
        "nameOverride": "fullnameOverride",
        "nodeSelector": _ROLES.format("nodeSelector"),
        "podAnnotations": _ROLES.format("annotations"),
        "podDisruptionBudget": "driver.podDisruptionBudget",
        "podLabels": _ROLES.format("labels"),
        "podMonitor": "metrics.podMonitor",
        "podSecurityContext": "security",
        "priorityClassName": _ROLES.format("priorityClassName"),
        "replicaCount": "executor.instances",
        "replicas": "executor.instances",
        "resources": "driver.cores, driver.memory, driver.overhead, executor.cores, executor.workerMemory",
        "runtimeClassName": "pods.runtimeClassName",
        "schedulerName": "pods.schedulerName",
        "securityContext": "security",
        "service": "ui.enabled and kubectl port-forward; Spark's page has no login",
        "serviceMonitor": "metrics.podMonitor",
        "sidecars": "driver.sidecars, executor.sidecars",
        "tolerations": _ROLES.format("tolerations"),
        "topologySpreadConstraints": _ROLES.format("topologySpreadConstraints"),
        "volumeMounts": _ROLES.format("volumeMounts"),
        "volumes": _ROLES.format("volumes"),
    },
    "driver": {
        "instances": "there is one driver",
        "podAnnotations": "driver.annotations",
        "podLabels": "driver.labels",
        "resources": "driver.cores, coreRequest, coreLimit, memory, overhead, ephemeralStorage, extendedResources",
    },
    "executor": {
        "podAnnotations": "executor.annotations",
        "podLabels": "executor.labels",
        "replicas": "executor.instances",
        "resources": (
            "executor.cores, coreRequest, coreLimit, memory, overhead, workerMemory, ephemeralStorage, "
            "extendedResources"
        ),
    },
    "image": {
        "imagePullSecrets": "image.pullSecrets",
        "name": "image.repository",
        "sha": "image.digest",
        "version": "image.tag",
    },
}


def add(schema: Schema) -> None:
    """Put both kinds of hints into a schema of values, in place."""
    for place, names in HABITS.items():
        properties = schema["properties"][place]["properties"] if place else schema["properties"]
        for name, ours in names.items():
            if name in properties:
                raise SystemExit(f"hints.HABITS: {place}.{name} is a value of ours")
            properties[name] = {"const": f"in this chart: {ours}"}
    _near(schema, {"": frozenset(HABITS[""]), **{place: frozenset(names) for place, names in HABITS.items()}}, "")


def _near(schema: Any, habits: dict[str, frozenset[str]], path: str) -> None:
    """The nearest name, for every closed mapping; what people put into Kubernetes' own types is not looked at."""
    if isinstance(schema, list):
        for each in schema:
            _near(each, habits, path)
        return
    if not isinstance(schema, dict):
        return
    properties = schema.get("properties")
    if isinstance(properties, dict) and schema.get("additionalProperties") is False:
        own = [name for name in properties if name not in habits.get(path, ())]
        patterns = {name: slips(name) for name in own if len(name) > 3}
        taken = [*properties]
        hints = {
            pattern: {"const": f"did you mean {name}?"}
            for name, pattern in patterns.items()
            if not any(re.search(pattern, other) for other in taken)
        }
        if hints:
            schema["patternProperties"] = {**schema.get("patternProperties", {}), **hints}
    for name, each in (properties or {}).items() if isinstance(properties, dict) else ():
        _near(each, habits, f"{path}.{name}".lstrip("."))
    for keyword in ("anyOf", "allOf", "oneOf", "then", "else", "items", "additionalProperties"):
        _near(schema.get(keyword), habits, path)


def slips(name: str) -> str:
    """A pattern for a name with one slip: a letter too many, missing, wrong, two exchanged; not for the name itself."""
    made = "."
    for at in range(len(name) - 1, -1, -1):
        letter, rest = re.escape(name[at]), re.escape(name[at + 1 :])
        ways = [f"[^{letter}]{rest}", rest, f"[^{letter}]{letter}{rest}"]
        if rest and name[at] != name[at + 1]:
            ways.append(re.escape(name[at + 1]) + letter + re.escape(name[at + 2 :]))
        made = f"({'|'.join(ways)}|{letter}{made})"
    return f"^{made}$"


def table() -> str:
    """Markdown: from other charts' names to ours."""
    lines = ["| elsewhere | here |", "|---|---|"]
    for place, names in HABITS.items():
        lines += [f"| `{f'{place}.{name}' if place else name}` | {ours} |" for name, ours in names.items()]
    return "\n".join(lines)
