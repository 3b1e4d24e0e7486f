"""Writes what is in the image as CycloneDX 1.6: Debian packages, Python, its distributions, Java's runtime, every jar.

Run inside of the image by its build: ``sbom.py OUTPUT``. It reads only what is installed, so it cannot
drift from it, and holds no time and no random number: equal images have equal lists.
"""

import hashlib
import json
import platform
import re
import sys
import uuid
import zipfile
from importlib import metadata
from pathlib import Path
from urllib.parse import quote

Component = dict[str, object]


def component(kind: str, name: str, version: str, purl: str, **more: object) -> Component:
    return {"type": kind, "name": name, "version": version, "purl": purl, "bom-ref": purl, **more}


def debian(status: Path = Path("/var/lib/dpkg/status")) -> list[Component]:
    found = []
    for paragraph in status.read_text(encoding="utf-8").split("\n\n") if status.exists() else []:
        fields = dict(re.findall(r"^(Package|Version|Architecture|Status): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status") == "install ok installed":
            name, version = fields["Package"], fields["Version"]
            purl = f"pkg:deb/debian/{name}@{quote(version, safe='')}?arch={fields['Architecture']}"
            found.append(component("library", name, version, purl))
    return found


def interpreter(base: Path = Path(sys.base_prefix)) -> list[Component]:
    """Python itself, where no Debian package is: the official images compile it into /usr/local."""
    if base == Path("/usr"):
        return []
    version = platform.python_version()
    return [component("platform", "python", version, f"pkg:generic/python@{version}")]


def python() -> list[Component]:
    found = []
    for distribution in metadata.distributions():
        name, version = distribution.metadata["Name"], distribution.version
        said = distribution.metadata.get_all("License-Expression") or []
        more: dict[str, object] = {"licenses": [{"expression": expression} for expression in said]} if said else {}
        found.append(component("library", name, version, f"pkg:pypi/{name.lower()}@{quote(version, safe='')}", **more))
    return found


def java(release: Path = Path("/opt/java/release")) -> list[Component]:
    fields = dict(re.findall(r'^(\w+)="(.*)"$', release.read_text(), re.MULTILINE)) if release.exists() else {}
    version = fields.get("JAVA_VERSION", "")
    return [component("platform", "openjdk", version, f"pkg:generic/openjdk@{version}")] if version else []


def jar(path: Path) -> Component:
    """Its Maven coordinates, if it says them (a shaded jar says several: only the one of its own name counts)."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    name, version = re.fullmatch(r"(.+?)(?:-(\d[\w.+-]*))?", path.stem).groups()  # type: ignore[union-attr]
    group = None
    with zipfile.ZipFile(path) as archive:
        for entry in archive.namelist():
            match = re.fullmatch(r"META-INF/maven/([^/]+)/([^/]+)/pom\.properties", entry)
            if match and path.stem.startswith(match[2]):
                group = match[1]
                said = re.search(r"^version=(.+)$", archive.read(entry).decode(), re.MULTILINE)
                name, version = match[2], said[1].strip() if said else version
                break
    version = version or ""
    purl = f"pkg:maven/{group}/{name}@{version}" if group else f"pkg:generic/{name}@{version}"
    more = {"group": group} if group else {}
    return component(
        "library",
        name,
        version,
        f"{purl}?file={quote(path.name)}",
        **more,
        hashes=[{"alg": "SHA-256", "content": digest}],
    )


def main(output: Path) -> None:
    jars = [jar(path) for path in sorted(Path("/opt/spark/jars").glob("*.jar"))]
    parts = sorted([*debian(), *interpreter(), *python(), *java(), *jars], key=lambda part: str(part["purl"]))
    identity = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(parts, sort_keys=True))
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{identity}",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": "manyfit", "version": metadata.version("manyfit")}},
        "components": parts,
    }
    output.write_text(json.dumps(bom, indent=1) + "\n", encoding="utf-8")
    print(f"{len(parts)} components in {output}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
