"""The images of the test cluster: built with buildah without a daemon, handed to containerd without a registry.

    image.py build            builds what has changed
    image.py load [IMAGE...]  and imports it into the running cluster (default: manyfit's own)
    image.py list

Images are kept with their layers uncompressed, each under its digest: an unchanged layer is neither written nor
imported again, so a change of the project's code costs its own small layer only.
"""

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import tools
from containerd import FILES, blobs, folder, load
from place import CACHE, HERE, IMAGE, IMAGE_S3A, OPERATOR_IMAGE, REPOSITORY, S3_SERVER
from shell import Failed, guarded, run

KEYS = CACHE / "images" / "keys.json"
STORAGE = ("--root", str(CACHE / "images" / "storage"), "--runroot", str(CACHE / "images" / "run"))
BASE, BUILD = "localhost/manyfit-base:e2e", "localhost/manyfit-build:e2e"
STAGES = ("uv", "java", "dependencies", "jre")
"""Stages of the Dockerfile that get a name, so that clearing away what has none leaves the cache whole."""
UV, JRE = "localhost/manyfit-uv:e2e", "localhost/manyfit-jre:e2e"
OPERATOR_SPARK = "4.0.4"
"""What the operator's release names as SPARK_IMAGE in its Dockerfile."""
BINARIES = {"coredns": "coredns", "versitygw": "versitygw", "pause": "pause", "minio": "minio"}
SCRIPTS = (
    "docker/entrypoint.sh",
    "docker/decom.sh",
    "docker/main.py",
    "docker/sbom.py",
    "docker/s3a.xml",
    "docker/s3a.sha256",
    "docker/build.txt",
)
PROJECT = (*SCRIPTS, "job", "README.md", "LICENSE")
PINS = ("docker/Dockerfile", "docker/uv.txt", "docker/trim.py", "pyproject.toml", "uv.lock")


def buildah(*arguments: str | Path) -> str:
    temporary = CACHE / "images" / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    return run(
        "nice",
        "-n",
        "10",
        "buildah",
        *STORAGE,
        *arguments,
        env={"TMPDIR": str(temporary), "BUILDAH_ISOLATION": "chroot"},
    )


def digest(*parts: object) -> str:
    """A key of strings, and of files and folders by content."""
    total = hashlib.sha256()
    for part in parts:
        if not isinstance(part, Path):
            total.update(b"\0" + str(part).encode())
            continue
        files = (
            [p for p in sorted(part.rglob("*")) if p.is_file() and "__pycache__" not in p.parts]
            if part.is_dir()
            else [part]
        )
        for path in files:  # not the path itself: two checkouts of equal files share the cache
            total.update(b"\0" + path.relative_to(part.parent).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:20]


def mirror() -> tuple[str, ...]:
    """The machine's own Debian mirror; with none, debootstrap takes Debian's."""
    for path in (*Path("/etc/apt/sources.list.d").glob("*.sources"), Path("/etc/apt/sources.list")):
        for line in path.read_text().splitlines() if path.exists() else []:
            words = line.split()
            if words[:1] in (["URIs:"], ["deb"]) and "/debian" in line and "security" not in line:
                return tuple(word for word in words if word.startswith("http"))[:1]
    return ()


def authority() -> tuple[str, ...]:
    """The machine's certificate authorities, for downloads during a build only (behind a proxy they are its own)."""
    stores = {
        "ca": os.environ.get("SSL_CERT_FILE") or os.environ.get("PIP_CERT") or "/etc/ssl/certs/ca-certificates.crt",
        "java-ca": "/etc/ssl/certs/java/cacerts",
    }
    return tuple(
        word for name, path in stores.items() if Path(path).is_file() for word in ("--secret", f"id={name},src={path}")
    )


def build_base() -> None:
    """Debian 12 with Python and tini (what a job runs on), and the same with a JDK (what builds it)."""
    container = buildah("from", "scratch").strip()
    root = Path(buildah("mount", container).strip())
    try:
        run(
            "nice",
            "-n",
            "10",
            "debootstrap",
            "--variant=minbase",
            "--include=ca-certificates,python3,tini,libnss-wrapper",
            "bookworm",
            root,
            *mirror(),
        )
        commit = ("--timestamp", "0", "-q")
        sources = root / "etc/apt/sources.list"
        kept = sources.read_text()
        sources.write_text("")
        for unneeded in (
            "var/cache/apt",
            "var/lib/apt/lists",
            "usr/share/doc",
            "usr/share/man",
            "usr/share/locale",
            "var/log",
            "var/cache/debconf",
        ):
            shutil.rmtree(root / unneeded, ignore_errors=True)
            (root / unneeded).mkdir()
        buildah("commit", *commit, container, BASE)
        sources.write_text(kept)
        install = "apt-get update -qq && mkdir -p /usr/share/man/man1 && apt-get install -y -qq --no-install-recommends openjdk-17-jdk-headless python3-venv"
        buildah(
            "run", "--network", "host", container, "--", "sh", "-c", f"export DEBIAN_FRONTEND=noninteractive; {install}"
        )
        buildah("commit", *commit, container, BUILD)
    finally:
        buildah("rm", container)


def build(context: Path, dockerfile: Path, tag: str, target: str = "", **arguments: str) -> None:
    words = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
    buildah(
        "build", "--quiet", "--layers", "--force-rm", "--network", "host", "--timestamp", "0", "--ignorefile", "/dev/null" if context != REPOSITORY
        else REPOSITORY / "docker/Dockerfile.dockerignore", *authority(), *words, *(("--target", target) if target else ()),
        "-f", dockerfile, "-t", tag, context,
    )  # fmt: skip


def build_project(tag: str, target: str) -> None:
    try:
        revision = run("git", "-C", REPOSITORY, "describe", "--always", "--dirty").strip()
    except Failed:  # an archive without history, or a repository without a commit
        revision = "unknown"
    version = re.search(r'__version__ = "(.+)"', (REPOSITORY / "job/__init__.py").read_text())
    arguments = {
        "BASE_IMAGE": BASE,
        "BUILD_IMAGE": BUILD,
        "REVISION": revision,
        "VERSION": version[1] if version else "0",
    }
    build(REPOSITORY, REPOSITORY / "docker/Dockerfile", tag, target, **arguments)


def build_binary(tag: str, program: Path, dockerfile: str, **arguments: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(program, Path(folder) / "program")
        for name in ("data", "tmp"):
            (Path(folder) / name).mkdir()
            (Path(folder) / name).chmod(0o1777)
        build(Path(folder), HERE / "images" / dockerfile, tag, **arguments)


def recipes(images: tuple[str, ...]) -> dict[str, tuple[str, Callable[[], None]]]:
    """What each image depends on, in the order of building."""
    base, dockerfile = digest("bookworm"), REPOSITORY / "docker/Dockerfile"
    pins = digest(base, *(REPOSITORY / name for name in PINS))
    project = digest(pins, *(REPOSITORY / name for name in PROJECT))
    everything: dict[str, tuple[str, Callable[[], None]]] = {
        BASE: (base, build_base),
        **{f"localhost/manyfit-{stage}:e2e": (pins, partial(build_project, f"localhost/manyfit-{stage}:e2e", stage)) for stage in STAGES},
        IMAGE: (project, partial(build_project, IMAGE, "manyfit")),
        IMAGE_S3A: (project, partial(build_project, IMAGE_S3A, "s3a")),
        OPERATOR_IMAGE: (
            digest(base, tools.path("spark-operator"), HERE / "images/operator.Dockerfile", dockerfile),
            partial(
                build_binary, OPERATOR_IMAGE, tools.path("spark-operator"), "operator.Dockerfile",
                UV_IMAGE=UV, JRE_IMAGE=JRE, SPARK_VERSION=OPERATOR_SPARK,
            ),
        ),
    }  # fmt: skip
    for name, tool in BINARIES.items():
        tag = f"localhost/{name}:e2e"
        if tag in images:
            program = tools.path(tool)
            everything[tag] = (
                digest(program, HERE / "images/binary.Dockerfile"),
                partial(build_binary, tag, program, "binary.Dockerfile"),
            )
    needed = {*images, BASE}
    if {OPERATOR_IMAGE, IMAGE, IMAGE_S3A} & needed:
        needed |= {f"localhost/manyfit-{stage}:e2e" for stage in STAGES}
    return {tag: everything[tag] for tag in everything if tag in needed}


CLUSTER = (*(f"localhost/{name}:e2e" for name in ("pause", "coredns", S3_SERVER)), OPERATOR_IMAGE, IMAGE)


def build_all(images: tuple[str, ...] = CLUSTER) -> list[str]:
    """Builds those that have changed, and writes them out for `load`; returns their names."""
    FILES.mkdir(parents=True, exist_ok=True)
    with (FILES.parent / "lock").open("w") as lock:
        try:  # two builds at once would each take half of the other's for rubbish
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another process that builds images ...", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        keys = json.loads(KEYS.read_text()) if KEYS.exists() else {}
        wanted = recipes(images)
        changed = [
            tag for tag, (key, _) in wanted.items() if keys.get(tag) != key or (tag in images and not whole(tag))
        ]
        if changed and buildah("containers", "-q").strip():
            buildah("rm", "--all")  # of a build that was interrupted: they would hold what is to be cleared away
        for tag in changed:
            key, make = wanted[tag]
            print(f"building {tag} ...", flush=True)
            started = time.monotonic()
            make()
            if tag in images:
                write_out(tag)
            print(f"built {tag} in {time.monotonic() - started:.0f} s", flush=True)
            keys[tag] = key
            KEYS.write_text(json.dumps(keys, indent=1))
        if changed:
            try:
                buildah("rmi", "--prune")  # each change of the code leaves the image before it without a name
            except Failed as failure:  # room on the disk is no reason to fail
                print(f"old images were not cleared away: {failure}", file=sys.stderr)
    return changed


def whole(tag: str) -> bool:
    """Whether every blob of an image is written out: somebody may have cleared a cache by hand."""
    return (folder(tag) / "manifest.json").exists() and all(
        (folder(tag) / reference.split(":")[1]).exists() for reference in blobs(tag)
    )


def write_out(tag: str) -> None:
    """Writes the blobs of an image that are not there from its last time, and deletes those it no longer has."""
    buildah("push", "--quiet", "--disable-compression", tag, f"dir:{folder(tag)}")
    kept = {reference.split(":")[1] for reference in blobs(tag)} | {"manifest.json", "version"}
    for path in folder(tag).iterdir():
        if path.name not in kept:
            path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("build", "load", "list"))
    parser.add_argument("image", nargs="*", help="default for load: manyfit's; for build: all that the cluster needs")
    arguments = parser.parse_args()
    if arguments.command == "list":
        for tag in json.loads(KEYS.read_text()) if KEYS.exists() else ():
            if folder(tag).exists():
                print(f"{sum(path.stat().st_size for path in folder(tag).iterdir()) / 1e6:9.1f} MB  {tag}")
        return
    images = tuple(arguments.image) or ((IMAGE,) if arguments.command == "load" else CLUSTER)
    print("built:", " ".join(build_all(images)) or "nothing has changed")
    if arguments.command == "load":
        print("loaded:", " ".join(load(images)) or "nothing has changed")


if __name__ == "__main__":
    raise SystemExit(guarded(main))
