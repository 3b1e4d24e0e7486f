"""Makes the schema files beside it from the Go modules that hold the originals; run after changing a version below.

``python deploy/helm/schemas/refresh.py`` needs Go and its module proxy. Kept here are the types without their
descriptions, because the originals weigh 0.8 to 4 MB. All three projects are licensed under Apache-2.0:

- ``sparkoperator.json.gz``: the custom resources of github.com/kubeflow/spark-operator
- ``monitoring.json.gz``: those of github.com/prometheus-operator/prometheus-operator that the chart renders
- ``kubernetes.json.gz``: the objects that the chart renders, from k8s.io/kubernetes' OpenAPI document
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
OPERATOR = "github.com/kubeflow/spark-operator/v2@v2.5.2"
KUBERNETES = "k8s.io/kubernetes@v1.34.4"
MONITORING = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
POD_SECURITY = "k8s.io/pod-security-admission@v0.34.4"
"""Nothing is kept of it: the chart's tests compare their own checker with its fixtures."""

OBJECTS = (
    "io.k8s.api.core.v1.ConfigMap",
    "io.k8s.api.core.v1.Pod",
    "io.k8s.api.core.v1.PodTemplateSpec",
    "io.k8s.api.core.v1.Secret",
    "io.k8s.api.core.v1.ServiceAccount",
    "io.k8s.api.networking.v1.NetworkPolicy",
    "io.k8s.api.policy.v1.PodDisruptionBudget",
    "io.k8s.api.rbac.v1.Role",
    "io.k8s.api.rbac.v1.RoleBinding",
)

INTEGER_OR_TEXT = {"type": ["integer", "string"]}
QUANTITY = {"type": ["number", "string"]}


def module(version: str) -> Path:
    """The folder of a Go module, downloaded if need be."""
    command = ["go", "mod", "download", "-json", version]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, cwd="/").stdout
    return Path(json.loads(answer)["Dir"])


def strict(schema: Any) -> Any:
    """The schema without descriptions, and closed: a field that is not named would be dropped by the API server."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string") or schema.get("format") == "int-or-string":
        return INTEGER_OR_TEXT
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return {"type": "object"}
    # "description" that is a mapping is a field of that name
    made = {
        name: strict(each)
        for name, each in schema.items()
        if not (name == "description" and isinstance(each, str)) and not name.startswith("x-kubernetes-")
    }
    if isinstance(made.get("properties"), dict) and made.get("type") == "object":
        made.setdefault("additionalProperties", False)
    if made.get("format") in {"int32", "int64", "date-time", "byte", "double"}:
        del made["format"]
    return made


def custom_resources() -> dict[str, Any]:
    """Kind to schema, for the operator's two kinds."""
    return _kinds(sorted((module(OPERATOR) / "config/crd/bases").glob("*sparkapplications.yaml")))


def monitors() -> dict[str, Any]:
    """Kind to schema, for what Prometheus' operator reads."""
    folder = module(MONITORING) / "example/prometheus-operator-crd"
    return _kinds([folder / f"monitoring.coreos.com_{kind}.yaml" for kind in ("podmonitors", "prometheusrules")])


def _kinds(files: list[Path]) -> dict[str, Any]:
    kinds = {}
    for file in files:
        resource = yaml.load(file.read_text(), yaml.CSafeLoader)
        [version] = resource["spec"]["versions"]
        kinds[resource["spec"]["names"]["kind"]] = strict(version["schema"]["openAPIV3Schema"])
    for schema in kinds.values():
        schema["properties"]["metadata"] = {"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}
    return kinds


def objects() -> dict[str, Any]:
    """Definitions of `OBJECTS` and all they refer to."""
    definitions = json.loads((module(KUBERNETES) / "api/openapi-spec/swagger.json").read_text())["definitions"]
    made: dict[str, Any] = {}
    todo = list(OBJECTS)
    while todo:
        name = todo.pop()
        if name not in made:
            made[name] = strict(definitions[name])
            todo += re.findall(r'"#/definitions/([^"]+)"', json.dumps(made[name]))
    made["io.k8s.apimachinery.pkg.api.resource.Quantity"] = QUANTITY
    return made


def pack(schema: dict[str, Any]) -> bytes:
    """Equal schemas give equal bytes."""
    text = json.dumps(schema, sort_keys=True, separators=(",", ":"))
    return gzip.compress(text.encode(), 9, mtime=0)


def load(name: str) -> dict[str, Any]:
    """One of the files: ``sparkoperator``, ``monitoring`` or ``kubernetes``."""
    schema: dict[str, Any] = json.loads(gzip.decompress((HERE / f"{name}.json.gz").read_bytes()))
    return schema


def main() -> int:
    """Write the files."""
    for name, schema in (
        ("sparkoperator", custom_resources()),
        ("monitoring", monitors()),
        ("kubernetes", objects()),
    ):
        (HERE / f"{name}.json.gz").write_bytes(pack(schema))
        print(f"{name}.json.gz: {len(schema)} types")
    return 0


if __name__ == "__main__":
    sys.exit(main())
