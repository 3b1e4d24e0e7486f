"""deploy/manifests: the chart rendered with values that are written in the same folder, for those who use no Helm."""

from __future__ import annotations

import re
import subprocess

import yaml
from schema import CHART

from tests.support.built import find_helm

MANIFESTS = CHART.parent.parent / "manifests"
NAMESPACE = "manyfit"

#: file -> release name, values files
RENDERED = {
    "application.yaml": ("gapminder", ["values.yaml"]),
    "scheduled.yaml": ("gapminder-nightly", ["values.yaml", "values-scheduled.yaml"]),
}

HEADER = """\
# Made from the chart in deploy/helm/manyfit by `make chart`; a test keeps them equal. What to change first: image, job,
# and the two Secrets that it names (deploy/manifests/README.md). The namespace is set by kustomization.yaml.
"""


def helm() -> str:
    """The helm to use: ``$HELM``, the one on the path, or the one that ``make tools`` built."""
    found = find_helm()
    if not found:
        raise SystemExit("helm is not there: `make tools` builds it, or name yours by HELM=/path/to/helm")
    return found


def template(release: str, values: list[str], *, program: str) -> str:
    """What ``kubectl apply`` needs: the chart's objects without Helm's hooks and labels."""
    command = [program, "template", release, str(CHART), "--namespace", NAMESPACE, "--set", "tests.enabled=false"]
    for file in values:
        command += ["--values", str(MANIFESTS / file)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    documents = []
    for document in re.split(r"^---\n", text, flags=re.MULTILINE):
        lines = [line for line in document.splitlines() if not line.startswith("# Source:")]
        lines = [line for line in lines if "app.kubernetes.io/managed-by: Helm" not in line]
        if yaml.safe_load(kept := "\n".join(lines)):
            documents.append(kept.strip() + "\n")
    return HEADER + "---\n" + "---\n".join(documents)


def render(file: str, program: str | None = None) -> str:
    """The text of one manifest."""
    release, values = RENDERED[file]
    return template(release, values, program=program or helm())
