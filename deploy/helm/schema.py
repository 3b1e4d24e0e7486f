"""values.schema.json, made from the three things that know: values.yaml, the job's settings, Kubernetes' own types.

A default in values.yaml tells the type of a value, its ``# --`` comment the description. What a default cannot tell
(an empty list of what?) is in `TYPES`; a value that neither tells, or a type for a value that is gone, is an error.
Every object is closed: a mistyped name is refused by ``helm install`` before anything happens.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import hints
import yaml
from schemas.refresh import load

from job.config.schema import job_schema
from job.config.score_settings import ScoringSettings

CHART = Path(__file__).parent / "manyfit"
Schema = dict[str, Any]

NAME = {"type": "string", "pattern": r"^$|^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", "maxLength": 253}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
CPU = {"type": ["string", "number"], "exclusiveMinimum": 0, "pattern": r"^$|^[0-9]+(\.[0-9]+)?$|^[0-9]+m$"}
MEMORY = {"type": "string", "pattern": r"^[1-9][0-9]*(m|g|Mi|Gi)$"}
QUANTITY = {"type": "string", "pattern": r"^[1-9][0-9]*(\.[0-9]+)?(k|M|G|T|Ki|Mi|Gi|Ti)?$"}
PORTS = {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 65535}}
ID = {"type": ["integer", "null"], "minimum": 1}
GROUP = {"type": ["integer", "null"], "minimum": 0}
"""0 is root's group and not root: OpenShift's images belong to it."""
NATURAL = {"type": "integer", "minimum": 0}
POSITIVE = {"type": "integer", "minimum": 1}


def kubernetes(name: str, group: str = "core/v1") -> Schema:
    """A reference to one of Kubernetes' types."""
    return {"$ref": f"#/definitions/io.k8s.api.{group.replace('/', '.')}.{name}"}


def many(item: Schema) -> Schema:
    """A list of one type."""
    return {"type": "array", "items": item}


RESOURCES = {
    "type": "object",
    "additionalProperties": {**QUANTITY, "type": ["string", "integer"], "minimum": 1},
    # Spark sets these; a bare "not" would not say where
    "patternProperties": {
        "^cpu$": {"const": "in this chart: cores, coreRequest, coreLimit"},
        "^memory$": {"const": "in this chart: memory, overhead, and workerMemory of the executor"},
        "^ephemeral-storage$": {"const": "in this chart: ephemeralStorage"},
    },
}
PROXY = {"type": "string"}
"""What is wrong with one the templates say: the schema would repeat a password."""
PEERS = many(kubernetes("NetworkPolicyPeer", "networking/v1"))
POD: dict[str, Schema] = {
    "annotations": TEXTS,
    "labels": TEXTS,
    "env": many(kubernetes("EnvVar")),
    "envFrom": many(kubernetes("EnvFromSource")),
    "volumes": many(kubernetes("Volume")),
    "volumeMounts": many(kubernetes("VolumeMount")),
    "nodeSelector": TEXTS,
    "tolerations": many(kubernetes("Toleration")),
    "affinity": kubernetes("Affinity"),
    "topologySpreadConstraints": many(kubernetes("TopologySpreadConstraint")),
    "priorityClassName": NAME,
}
PROCESS: dict[str, Schema] = POD | {
    "cores": POSITIVE,
    "coreRequest": CPU,
    "coreLimit": CPU,
    "memory": MEMORY,
    "overhead": MEMORY,
    "ephemeralStorage": {"anyOf": [{"const": ""}, QUANTITY]},
    "extendedResources": RESOURCES,
    "initContainers": many(kubernetes("Container")),
    "sidecars": many(kubernetes("Container")),
}
CREDENTIAL: Schema = {
    "type": "object",
    "required": ["name", "key"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
        "key": {"type": "string", "minLength": 1},
        "optional": {"type": "boolean"},
    },
}

GLOBAL: Schema = {
    "type": "object",
    "properties": {
        "imageRegistry": {"type": ["string", "null"]},
        "imagePullSecrets": {
            "type": ["array", "null"],
            "items": {"anyOf": [NAME, {"type": "object", "required": ["name"], "properties": {"name": NAME}}]},
        },
    },
}

TYPES: dict[str, Schema] = {
    "fullnameOverride": {"type": "string", "pattern": "^$|^[a-z]([-a-z0-9]*[a-z0-9])?$", "maxLength": 40},
    "image.registry": {"type": "string", "pattern": r"^$|^[^@\s/][^@\s]*$"},
    "image.repository": {"type": "string", "minLength": 1, "pattern": r"^[^@\s]+$"},
    "image.tag": {"type": "string", "pattern": r"^$|^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$"},
    "image.digest": {"type": "string", "pattern": "^$|^sha256:[0-9a-f]{64}$"},
    "image.pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "image.pullSecrets": many(NAME),
    "sparkVersion": {"type": "string", "pattern": r"^4\.[0-9]+\.[0-9]+$"},
    "schedule.cron": {
        "type": "string",
        "pattern": r"^$|^@(yearly|monthly|weekly|daily|hourly|every [0-9a-z]+)$|^(\S+\s+){4}\S+$",
    },
    "schedule.concurrencyPolicy": {"enum": ["Forbid", "Replace", "Allow"]},
    "schedule.successfulRunHistoryLimit": POSITIVE,
    "schedule.failedRunHistoryLimit": POSITIVE,
    "retries.onFailure": NATURAL,
    "retries.onFailureInterval": POSITIVE,
    "retries.onSubmissionFailure": NATURAL,
    "retries.onSubmissionFailureInterval": POSITIVE,
    "timeToLiveSeconds": {"type": ["integer", "null"], "minimum": 1},
    "executor.instances": POSITIVE,
    "executor.workerMemory": MEMORY,
    "executor.terminationGracePeriodSeconds": NATURAL,
    "pods.schedulerName": NAME,
    "pods.runtimeClassName": NAME,
    "pods.hostAliases": many(kubernetes("HostAlias")),
    "pods.dnsPolicy": {"enum": ["ClusterFirst", "Default", "None"]},
    "pods.dnsConfig": kubernetes("PodDNSConfig"),
    "dynamicAllocation.minExecutors": NATURAL,
    "dynamicAllocation.maxExecutors": POSITIVE,
    "dynamicAllocation.initialExecutors": {"type": ["integer", "null"], "minimum": 0},
    "dynamicAllocation.idleTimeout": {"type": "string", "pattern": "^[1-9][0-9]*(s|m|min|h)$"},
    "sparkConf": {
        "type": "object",
        "patternProperties": {r"^spark\.\S+$": {"type": ["string", "number", "boolean"]}},
        "additionalProperties": False,
    },
    "credentials.secretName": NAME,
    "credentials.env": many(CREDENTIAL),
    "credentials.files.secretName": NAME,
    "credentials.files.mountPath": {"type": "string", "pattern": "^/[^:]*[^:/]$"},
    "credentials.files.env": TEXTS,
    "caBundle.configMapName": NAME,
    "caBundle.secretName": NAME,
    "caBundle.key": {"type": "string", "pattern": "^[-._a-zA-Z0-9]+$"},
    "proxy.http": PROXY,
    "proxy.https": PROXY,
    "proxy.noProxy": many({"type": "string", "pattern": r"^[^\s,]+$"}),
    "serviceAccount.annotations": TEXTS,
    "serviceAccount.driver.name": NAME,
    "serviceAccount.driver.annotations": TEXTS,
    "serviceAccount.executor.name": NAME,
    "serviceAccount.executor.annotations": TEXTS,
    "rbac.extraRules": many(kubernetes("PolicyRule", "rbac/v1")),
    "security.runAsUser": ID,
    "security.runAsGroup": GROUP,
    "security.fsGroup": GROUP,
    "security.supplementalGroups": many(NATURAL),
    "security.seccompProfile": kubernetes("SeccompProfile"),
    "security.rpc.existingSecret": NAME,
    "networkPolicy.dns.ports": PORTS,
    "networkPolicy.dns.to": PEERS,
    "networkPolicy.apiServer.ports": PORTS,
    "networkPolicy.apiServer.to": PEERS,
    "networkPolicy.storage.ports": PORTS,
    "networkPolicy.storage.to": PEERS,
    "networkPolicy.metadata": {"enum": ["none", "gke", "eks-pod-identity", "instance"]},
    "networkPolicy.extraIngress": many(kubernetes("NetworkPolicyIngressRule", "networking/v1")),
    "networkPolicy.extraEgress": many(kubernetes("NetworkPolicyEgressRule", "networking/v1")),
    "scratch.tmp": QUANTITY,
    "scratch.workDir": QUANTITY,
    "scratch.local": QUANTITY,
    "code.files": {
        "type": "object",
        "patternProperties": {r"^[A-Za-z_][A-Za-z0-9_]*\.py$": {"type": "string"}},
        "additionalProperties": False,
    },
    "code.configMapName": NAME,
    "eventLog.dir": {"type": "string", "pattern": r"^$|^[a-z0-9]+:/\S+$"},
    "eventLog.claimName": NAME,
    "ui.from": PEERS,
    "metrics.from": PEERS,
    "metrics.path": {"type": "string", "pattern": "^/"},
    "metrics.podMonitor.labels": TEXTS,
    "metrics.podMonitor.interval": {"type": "string", "pattern": "^[1-9][0-9]*(s|m|h)$"},
    "metrics.prometheusRule.labels": TEXTS,
    "metrics.prometheusRule.alertLabels": TEXTS,
    "metrics.prometheusRule.failedFor": {"type": "string", "pattern": "^[0-9]+(s|m|h)$"},
    "metrics.prometheusRule.noExecutorFor": {"type": "string", "pattern": "^[0-9]+(s|m|h)$"},
    "metrics.prometheusRule.failedShare": {"type": "number", "minimum": 0, "maximum": 1},
    "metrics.prometheusRule.stuckFor": {"type": "string", "pattern": "^[1-9][0-9]*(s|m|h)$"},
    "metrics.prometheusRule.noSuccessForHours": {"type": ["integer", "null"], "minimum": 1},
    "log.format": {"enum": ["json", "text"]},
    "kueue.queueName": NAME,
    "commonLabels": TEXTS,
    "commonAnnotations": TEXTS,
    "tests.resources": kubernetes("ResourceRequirements"),
    "extraObjects": many({"type": ["object", "string"], "required": ["apiVersion", "kind", "metadata"]}),
}
for _role in ("driver", "executor"):
    TYPES |= {f"{_role}.{name}": schema for name, schema in PROCESS.items()}
TYPES |= {f"pods.{name}": schema for name, schema in POD.items()}

#: Names of columns. Helm's YAML reads the column `y` as true, the job's own does not; the templates say so in words.
COLUMNS = (
    "recipe.target",
    "recipe.features",
    "recipe.sample_weight",
    "input.key",
    "input.keys",
    "score.keep",
    "score.actual",
)

COMMENT = re.compile(r"^( *)# -- (.*)$")
KEY = re.compile(r"^( *)([A-Za-z]\w*):")


def descriptions(text: str) -> dict[str, str]:
    """The ``# --`` comment above each value, by the value's path."""
    made: dict[str, str] = {}
    above: list[str] = []
    comment: list[str] = []
    for line in text.splitlines():
        if match := COMMENT.match(line):
            comment = [match[2]]
        elif comment and line.strip().startswith("# "):
            comment.append(line.strip()[2:])
        elif match := KEY.match(line):
            above = [*above[: len(match[1]) // 2], match[2]]
            if comment:
                made[".".join(above)] = " ".join(comment)
            comment = []
    return made


def values_schema() -> Schema:
    """The whole schema, draft 7: what every Helm 3 understands."""
    text = (CHART / "values.yaml").read_text()
    told = descriptions(text)
    used: set[str] = set()
    schema = _typed(yaml.safe_load(text), "", told, used)
    if unused := TYPES.keys() - used:
        raise SystemExit(f"TYPES names values that values.yaml does not have: {sorted(unused)}")
    schema["required"].remove("job")
    schema["properties"]["job"] = _either() | {"description": told["job"]}
    # what a parent chart hands down; whatever else it says there is for others
    schema["properties"] |= {"global": GLOBAL, "enabled": {"type": "boolean"}}
    hints.add(schema)
    definitions = load("kubernetes")
    needed = {name: definitions[name] for name in _reached(schema, definitions)}
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "manyfit", **schema, "definitions": needed}


def _typed(value: Any, path: str, told: dict[str, str], used: set[str]) -> Schema:
    if path in TYPES:
        used.add(path)
        made = dict(TYPES[path])
        # beside a $ref, draft 7 ignores everything
        return {"description": told[path], **({"allOf": [made]} if "$ref" in made else made)}
    if isinstance(value, dict) and (value or path == "job"):
        inner = {name: _typed(each, f"{path}.{name}".lstrip("."), told, used) for name, each in value.items()}
        # `driver: null` takes the default away, and would be an obscure error of a template
        needed = [name for name, each in inner.items() if "null" not in each.get("type", "")]
        return {"type": "object", "additionalProperties": False, "required": needed, "properties": inner}
    kinds = {bool: "boolean", int: "integer", str: "string"}
    if type(value) not in kinds:
        raise SystemExit(f"values.yaml: {path} is {value!r}: say in TYPES what it may be")
    if path not in told:
        raise SystemExit(f"values.yaml: {path} has no '# --' comment")
    return {"type": kinds[type(value)], "description": told[path]}


def _either() -> Schema:
    """The document of a training, or of a scoring where it names ``models`` or ``score``."""
    training, scoring = _document(job_schema()), _document(job_schema(ScoringSettings))
    for name in sorted(training["properties"].keys() - scoring["properties"].keys()):
        text = f"{name} is for training, models and score are for scoring: two releases"
        scoring["properties"][name] = {"const": text}
    own = sorted(scoring["properties"].keys() - training["properties"].keys())
    training["patternProperties"] = {hints.slips(name): {"const": f"did you mean {name}?"} for name in own}
    named = [{"required": [name]} for name in own]
    return {"type": "object", "if": {"anyOf": named}, "then": scoring, "else": training}


def _document(schema: Schema) -> Schema:
    """One document. What it must have is asked for by the templates, with examples: a bare chart still lints."""
    schema = _seven(schema)
    for name in ("$schema", "required", "title"):
        schema.pop(name, None)
    for path in COLUMNS:
        section, _, name = path.partition(".")
        if setting := schema["properties"].get(section, {"properties": {}})["properties"].get(name):
            _or_boolean(setting)
    return schema


def _or_boolean(schema: Schema) -> None:
    for branch in schema["anyOf"]:
        if branch.get("type") == "array":
            branch["items"] = {"type": ["string", "boolean"]}
    schema["anyOf"].append({"type": "boolean"})


def _seven(schema: Any) -> Any:
    if isinstance(schema, dict):
        # the same text twice in one file helps nobody
        return {name: _seven(each) for name, each in schema.items() if name != "default"}
    return [_seven(each) for each in schema] if isinstance(schema, list) else schema


def _reached(schema: Schema, definitions: dict[str, Any]) -> list[str]:
    seen: set[str] = set()
    todo = [json.dumps(schema)]
    while todo:
        for name in re.findall(r'"#/definitions/([^"]+)"', todo.pop()):
            if name not in seen:
                seen.add(name)
                todo.append(json.dumps(definitions[name]))
    return sorted(seen)


def render() -> str:
    """The file's text."""
    return json.dumps(values_schema(), indent=1, ensure_ascii=False) + "\n"
