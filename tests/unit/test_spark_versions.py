"""The range of Spark that the project promises is what its lock, its image and its chart hold, and both ends are tested."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pyspark
import yaml

from job.engine.spark import jars
from tests.support import locked

ROOT = Path(__file__).parents[2]
POM = "{http://maven.apache.org/POM/4.0.0}"


def line(version: str) -> tuple[int, int]:
    """Major and minor version."""
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def test_the_lock_holds_both_ends_of_the_range_that_is_promised() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (promised,) = [each for each in project["dependencies"] if each.startswith("pyspark")]
    found = re.fullmatch(r"pyspark>=(\d+\.\d+),<(\d+\.\d+)", promised)
    assert found, promised
    oldest, newest = locked.sparks()
    major, minor = line(newest)
    assert (line(oldest), (major, minor + 1)) == (line(found[1]), line(found[2]))


def test_continuous_integration_tests_the_oldest_line_too() -> None:
    assert re.search(r"^step \S+ make test-spark-oldest$", (ROOT / ".ci/run").read_text(), re.MULTILINE)


def test_the_image_has_the_modules_of_s3a_for_the_spark_in_it() -> None:
    (client,) = (Path(pyspark.__file__).parent / "jars").glob("hadoop-client-api-*.jar")
    root = ElementTree.parse(ROOT / "docker/s3a.xml").getroot()
    hadoop, sdk = root.findtext(f".//{POM}hadoop"), root.findtext(f".//{POM}awssdk")
    assert (f"hadoop-client-api-{hadoop}", jars.SDK[str(hadoop)]) == (client.stem, sdk)
    # hadoop-aws is without what its own POM names there: these stand in the file by themselves.
    named = {each.findtext(f"{POM}artifactId") for each in root.iter(f"{POM}dependency")}
    ours = {each.split(":")[1] for each in jars.coordinates(str(hadoop))}
    assert named - ours == {"analyticsaccelerator-s3", "wildfly-openssl"}
    assert ours <= named


def test_chart_and_manifests_name_the_newest_spark() -> None:
    newest = locked.sparks()[-1]
    assert (
        yaml.safe_load((ROOT / "deploy/helm/manyfit/values.yaml").read_text(encoding="utf-8"))["sparkVersion"] == newest
    )
    manifests = [*(ROOT / "deploy/manifests").glob("*.yaml"), ROOT / "tests/e2e/cluster/manifests/smoke.yaml"]
    named = {
        (path.name, version)
        for path in manifests
        for version in re.findall(r"sparkVersion: \"?([\d.]+)", path.read_text(encoding="utf-8"))
    }
    assert named == {(name, newest) for name in ("application.yaml", "scheduled.yaml", "smoke.yaml")}
