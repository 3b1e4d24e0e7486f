"""The Go programs of the test cluster, built from pinned modules and kept under a hash of their pins.

    tools.py                     builds all that the cluster needs and prints their paths
    tools.py helm kubectl        only these
    tools.py --dir helm kubectl  one directory that holds links to them (for PATH)

Nothing is downloaded but Go modules, each verified against its go.sum. A tool's key covers its go.mod, go.sum,
main.go, its linker flags and Go's version: a machine that has built it once never builds it again.
"""

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from place import CACHE, HERE
from shell import guarded, run

KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "etcd", "kubectl")


@dataclass(frozen=True, kw_only=True)
class Tool:
    name: str
    module: str
    """The folder below go/ whose go.mod pins it."""
    package: str
    version: str = ""
    """The module that names its version, and the variables to set to it at link time: `module VARIABLE...`; more of them after `; `."""
    links: tuple[str, ...] = ()
    """The names it is called by; a multi-call binary looks at its own."""
    copies: str = ""
    """A folder of the module's source to keep beside the binary."""
    tags: str = field(default="", repr=False)
    """Build tags; not in the representation, so that what was built before there were any keeps its key."""

    @property
    def folder(self) -> Path:
        return HERE / "go" / self.module

    def key(self, go_version: str) -> str:
        digest = hashlib.sha256((repr((self, go_version)) + self.tags).encode())
        for path in sorted(self.folder.rglob("*")):
            if path.suffix in (".go", ".mod", ".sum"):
                digest.update(path.relative_to(self.folder).as_posix().encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()[:16]

    def flags(self) -> str:
        words = ["-s", "-w"]
        for group in filter(None, self.version.split("; ")):
            module, *variables = group.split()
            found = re.search(
                rf"^\s*(?:require )?{re.escape(module)} (v\S+)", (self.folder / "go.mod").read_text(), re.MULTILINE
            )
            version = found[1] if found else "v0"
            major, minor, *_ = version.lstrip("v").split(".")
            values = {
                "gitMajor": major,
                "gitMinor": minor,
                "gitTreeState": "clean",
                "k8sVersionMajor": major,
                "k8sVersionMinor": minor,
            }
            words += [f"-X {v}={values.get(v.rsplit('.', 1)[1], version)}" for v in variables]
        return " ".join(words)


BASE = "k8s.io/component-base/version"
HELM = "helm.sh/helm/v3"
TOOLS = {
    tool.name: tool
    for tool in (
        # Kubernetes, CoreDNS and helm share one module: their hundreds of common packages are compiled once
        Tool(
            name="hyperkube", module="k8s", package=".", links=KUBERNETES,
            version=f"k8s.io/kubernetes {BASE}.gitVersion {BASE}.gitMajor {BASE}.gitMinor {BASE}.gitTreeState",
        ),
        Tool(name="coredns", module="k8s", package="./coredns"),
        # without the last four it renders for Kubernetes 1.20, which the chart's kubeVersion refuses
        Tool(
            name="helm", module="k8s", package=f"{HELM}/cmd/helm",
            version=f"{HELM} {HELM}/internal/version.version; k8s.io/kubernetes "
            + " ".join(f"{HELM}/pkg/{package}.k8sVersion{part}" for package in ("chartutil", "lint/rules") for part in ("Major", "Minor")),
        ),
        Tool(
            name="spark-operator", module="operator", package="github.com/kubeflow/spark-operator/v2/cmd/operator",
            copies="github.com/kubeflow/spark-operator/v2 charts/spark-operator-chart",
        ),
        Tool(name="versitygw", module="s3", package="github.com/versity/versitygw/cmd/versitygw"),
        Tool(name="pause", module="pause", package="."),
        # without the clouds' ways of finding targets, which are most of it
        Tool(
            name="promtool", module="prometheus", package="github.com/prometheus/prometheus/cmd/promtool", tags="remove_all_sd",
            version="github.com/prometheus/prometheus github.com/prometheus/common/version.Version",
        ),
        Tool(name="minio", module="minio", package="github.com/minio/minio"),
    )
}  # fmt: skip
CLUSTER = ("helm", "versitygw", "hyperkube", "coredns", "spark-operator", "pause")
"""In the order in which continuous integration asks for them; without MinIO, which only the full run asks for."""
OWNER = {**{link: tool.name for tool in TOOLS.values() for link in tool.links}, **{name: name for name in TOOLS}}

GO = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false -trimpath", "GOWORK": "off", "GOTOOLCHAIN": "local"}


def built(name: str) -> Path:
    """The folder of a tool, built if it is not there: its binary, its links, and what it copies."""
    tool = TOOLS[OWNER[name]]
    go_version = run("go", "version", env=GO).split()[2]
    folder = CACHE / "tools" / f"{tool.name}-{tool.key(go_version)}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{tool.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # continuous integration builds in the background, see .ci/run
            print(f"waiting for another process that builds {tool.name} ...", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            build(tool, folder)
    return folder


def build(tool: Tool, folder: Path) -> None:
    """Build one tool into its folder, which appears whole or not at all."""
    print(f"building {tool.name} ...", file=sys.stderr, flush=True)
    started = time.monotonic()
    unfinished = Path(tempfile.mkdtemp(prefix=f".{tool.name}-", dir=folder.parent))
    unfinished.chmod(0o755)
    try:
        nice = ("nice", "-n", "15")  # whatever else runs on the machine goes first
        run(
            *nice,
            "go",
            "build",
            f"-ldflags={tool.flags()}",
            f"-tags={tool.tags}",
            "-o",
            unfinished / tool.name,
            tool.package,
            env=GO,
            cwd=tool.folder,
        )
        for link in tool.links:
            (unfinished / link).symlink_to(tool.name)
        if tool.copies:
            module, source = tool.copies.split()
            directory = run("go", "list", "-m", "-f", "{{.Dir}}", module, env=GO, cwd=tool.folder).strip()
            shutil.copytree(Path(directory) / source, unfinished / Path(source).name, copy_function=shutil.copyfile)
            run("chmod", "-R", "u+w", unfinished)
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    print(f"built {tool.name} in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


def path(name: str) -> Path:
    return built(name) / name


def chart() -> Path:
    """The operator's own chart, of the same release as its binary."""
    return built("spark-operator") / "spark-operator-chart"


def directory(names: list[str]) -> Path:
    """One folder that links to these tools, for PATH."""
    links = CACHE / "bin"
    links.mkdir(parents=True, exist_ok=True)
    for name in names:
        new = links / f".{name}.{os.getpid()}"
        new.symlink_to(path(name))
        new.replace(links / name)
    return links


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "tool", nargs="*", metavar="TOOL", help=f"of {' '.join(sorted(OWNER))}; default: what the cluster needs"
    )
    parser.add_argument("--dir", action="store_true", help="print one directory that links to all of them")
    arguments = parser.parse_args()
    names = arguments.tool or list(CLUSTER)
    unknown = [name for name in names if name not in OWNER]
    if unknown:
        parser.error(f"no such tool: {' '.join(unknown)}; there are {' '.join(sorted(OWNER))}")
    paths = [path(name) for name in names]
    print(directory(names) if arguments.dir else "\n".join(str(p) for p in paths))


if __name__ == "__main__":
    raise SystemExit(guarded(main))
