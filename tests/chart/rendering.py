"""Renders the chart with the real helm, and hands out the objects."""

from __future__ import annotations

import functools
import gzip
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.built import find_helm

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/manyfit"
CASES = Path(__file__).parent / "values"
OPERATOR = "sparkoperator.k8s.io/v1beta2"

Object = dict[str, Any]


class Refused(Exception):
    """Helm did not render; the text is what the user sees."""


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """What helm made of one set of values."""

    text: str
    """The YAML stream"""

    @functools.cached_property
    def objects(self) -> list[Object]:
        return [each for each in yaml.load_all(self.text, yaml.CSafeLoader) if each]

    def kind(self, kind: str) -> list[Object]:
        """All objects of one kind."""
        return [each for each in self.objects if each["kind"] == kind]

    def one(self, kind: str, name: str | None = None) -> Object:
        """The only object of a kind (and name)."""
        found = [each for each in self.kind(kind) if name in (None, each["metadata"]["name"])]
        assert len(found) == 1, f"{len(found)} objects of kind {kind} named {name}"
        return found[0]

    @property
    def application(self) -> Object:
        """The SparkApplication; of a scheduled one, what a firing creates."""
        if scheduled := self.kind("ScheduledSparkApplication"):
            metadata = scheduled[0]["metadata"]
            fired = {**metadata, "name": f"{metadata['name']}-1763910000000000000"}
            return {
                **scheduled[0],
                "kind": "SparkApplication",
                "metadata": fired,
                "spec": scheduled[0]["spec"]["template"],
            }
        return self.one("SparkApplication")

    @property
    def document(self) -> Object:
        """The job document that the driver reads, as the kubelet hands it over."""
        arguments = self.application["spec"]["arguments"]
        document: Object = json.loads(arguments[arguments.index("--document") + 1])
        return document


def render(
    *values: Object | Path,
    release: str = "nightly",
    namespace: str = "jobs",
    chart: Path = CHART,
    flags: tuple[str, ...] = (),
) -> Rendered:
    """``helm template`` with values given as mappings or files, later ones win."""
    program = find_helm()
    assert program
    command = [program, "template", release, str(chart), "--namespace", namespace, *flags]
    given = None
    for each in values:
        if isinstance(each, Path):
            command += ["--values", str(each)]
        else:
            assert given is None, "only one mapping"
            given = json.dumps(each)
            command += ["--values", "-"]
    done = subprocess.run(command, input=given, capture_output=True, text=True)
    if done.returncode:
        raise Refused(done.stderr)
    return Rendered(text=done.stdout)


@functools.cache
def case(name: str) -> Rendered:
    """A values file of the table, rendered once."""
    release = "a-release-name-that-is-40-characters-xyz" if name == "long-name" else "nightly"
    return render(CASES / f"{name}.yaml", release=release)


def cases() -> list[str]:
    """The table of values files."""
    return sorted(path.stem for path in CASES.glob("*.yaml"))


@functools.cache
def schemas(name: str) -> Any:
    """``kubernetes``, ``sparkoperator`` or ``monitoring``: see deploy/helm/schemas/refresh.py."""
    return json.loads(gzip.decompress((ROOT / f"deploy/helm/schemas/{name}.json.gz").read_bytes()))


MINIMAL: Object = {
    "job": {
        "input": {"uri": "s3://raw/gapminder/"},
        "recipe": {"target": "lifeExp", "estimator": {"_target_": "sklearn.linear_model.LinearRegression"}},
        "output": {"uri": "s3://models/gapminder/"},
    }
}

SCORING: Object = {
    "job": {
        "models": {"uri": "s3://models/gapminder/"},
        "input": {"uri": "s3://new/gapminder/"},
        "output": {"uri": "s3://predictions/gapminder/"},
    }
}


def merged(below: Object, above: Object) -> Object:
    """Two sets of values, as helm merges them."""
    made = dict(below)
    for name, each in above.items():
        both = isinstance(each, dict) and isinstance(made.get(name), dict)
        made[name] = merged(made[name], each) if both else each
    return made


def minimal(values: Object) -> Object:
    """Values on top of the smallest job."""
    return merged(MINIMAL, values)
