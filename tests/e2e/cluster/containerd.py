"""The cluster's containerd: which images it has, and handing it those it lacks, without a registry.

Images lie as `image.py` wrote them: one folder each, every layer uncompressed in a file that is named by its digest.
"""

import hashlib
import io
import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from place import CACHE, CONTAINERD, IMAGE
from shell import Failed, run

FILES = CACHE / "images" / "files"


def folder(tag: str) -> Path:
    return FILES / tag.replace("/", "_").replace(":", "_")


def manifest(tag: str) -> bytes:
    path = folder(tag) / "manifest.json"
    if not path.exists():
        raise Failed(f"{tag} is not built: image.py build {tag}")
    return path.read_bytes()


def blobs(tag: str) -> list[str]:
    listed = json.loads(manifest(tag))
    return [listed["config"]["digest"], *(layer["digest"] for layer in listed["layers"])]


def ctr(*arguments: str) -> list[str]:
    return ["ctr", "--address", str(CONTAINERD), "--namespace", "k8s.io", *arguments]


def layout(tags: list[str], have: set[str]) -> Iterator[tuple[str, bytes | Path]]:
    """The files of an OCI layout that holds these images without the blobs that the receiver has."""
    listed, sent = [], set(have)
    for tag in tags:
        content = manifest(tag)
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        listed.append({
            "mediaType": json.loads(content).get("mediaType", "application/vnd.oci.image.manifest.v1+json"), "size": len(content),
            "digest": digest, "annotations": {"io.containerd.image.name": tag, "org.opencontainers.image.ref.name": tag},
        })  # fmt: skip
        yield digest, content
        for reference in blobs(tag):
            if reference not in sent:
                sent.add(reference)
                yield reference, folder(tag) / reference.split(":")[1]
    yield "oci-layout", b'{"imageLayoutVersion": "1.0.0"}'
    yield "index.json", json.dumps({"schemaVersion": 2, "manifests": listed}).encode()


def load(images: tuple[str, ...] = (IMAGE,)) -> list[str]:
    """Imports those images that containerd does not have as they are here: only the blobs it lacks."""
    there = {words[0]: words[2] for words in (line.split() for line in run(*ctr("images", "ls")).splitlines()[1:])}
    wanted = [tag for tag in images if there.get(tag) != "sha256:" + hashlib.sha256(manifest(tag)).hexdigest()]
    if not wanted:
        return []
    have = set(run(*ctr("content", "ls", "-q")).split())
    with tempfile.TemporaryFile() as said:
        importing = subprocess.Popen(ctr("images", "import", "-"), stdin=subprocess.PIPE, stdout=said, stderr=said)
        assert importing.stdin
        try:
            with tarfile.open(fileobj=importing.stdin, mode="w|") as archive:
                for name, content in layout(wanted, have):
                    item = tarfile.TarInfo(name.replace("sha256:", "blobs/sha256/"))
                    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as stream:
                        item.size = stream.seek(0, os.SEEK_END)
                        stream.seek(0)
                        archive.addfile(item, stream)
            importing.stdin.close()
        except BrokenPipeError:  # its words are below
            pass
        if importing.wait():
            said.seek(0)
            raise Failed(f"containerd did not take {' '.join(wanted)}: {said.read().decode()[-2000:]}")
    return wanted
