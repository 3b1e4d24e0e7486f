"""Brings up a real one-node Kubernetes with CoreDNS, S3 (versitygw) and the spark-operator, without Docker.

    up.py                  everything that is missing is installed, built or imported first
    up.py --webhook off    the operator without its webhooks (a chart must work with either)
    up.py --prepare        only installs and builds: continuous integration does so while it tests other things

Needs root on Debian 12 with Go. Prints the time of each step; what the tests need to know is in cluster.json.
"""

import argparse
import contextlib
import fcntl
import json
import os
import shutil
from pathlib import Path

import containerd
import image
import node
import pki
import place
import tools
from down import down
from place import CLUSTER, CONTAINERD, HERE, KUBECONFIG, STATE
from shell import Failed, Laps, guarded, run, succeeds, wait

PACKAGES = {
    "containerd": "containerd", "ctr": "containerd", "runc": "runc", "buildah": "buildah", "debootstrap": "debootstrap",
    "iptables": "iptables", "ip": "iproute2", "sysctl": "procps", "openssl": "openssl", "nsenter": "util-linux",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
}  # fmt: skip


def install() -> None:
    """Debian's packages that are not there."""
    if os.geteuid() != 0:
        raise Failed("namespaces and control groups need root")
    if not shutil.which("go"):
        raise Failed("Go is not installed (1.25 or newer)")
    missing = sorted({package for program, package in PACKAGES.items() if not shutil.which(program)})
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise Failed(f"not installed: {' '.join(missing)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "update", "-qq", env=quiet)
    run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing, env=quiet)


def kubectl(*arguments: str | Path, text: str | None = None) -> str:
    return run(tools.path("kubectl"), "--kubeconfig", KUBECONFIG, *arguments, text=text)


def operator(webhook: bool) -> None:
    """Installs the operator's own chart, or changes it if it is there."""
    values = node.render(HERE / "manifests/operator-values.yaml", webhook="true" if webhook else "false")
    run(
        tools.path("helm"), "--kubeconfig", KUBECONFIG, "upgrade", "--install", "spark-operator", tools.chart(),
        "--namespace", "spark-operator", "--values", "-", "--wait", "--timeout", "540s", text=values,
    )  # fmt: skip
    if webhook:  # ready is not yet trusted: the operator writes its certificate into the configuration by itself
        kind = "mutatingwebhookconfiguration/spark-operator-webhook"
        wait(
            "the webhook's certificate",
            lambda: bool(kubectl("get", kind, "-o", "jsonpath={.webhooks[0].clientConfig.caBundle}").strip()),
            240,
            0.3,
        )


def prepare(lap: Laps, images: tuple[str, ...]) -> None:
    """Packages, tools and images: nothing of it depends on a cluster, and all of it is kept."""
    install()
    lap("packages")
    for name in tools.CLUSTER:
        tools.built(name)
    tools.directory(["helm", "kubectl"])
    lap("tools")
    image.build_all(images)
    lap("images built")


def up(webhook: bool, shares: int, images: tuple[str, ...]) -> dict[str, object]:
    lap = Laps()
    prepare(lap, images)
    pki.make(place.PKI)
    node.start(tools.built("hyperkube"), shares)
    lap("namespaces and network")
    wait("containerd", lambda: succeeds(*containerd.ctr("version")), 120)
    containerd.load(images)
    lap("images imported")
    ready = (tools.path("kubectl"), "--kubeconfig", KUBECONFIG, "get", "--raw", "/readyz")
    wait("the API server", lambda: succeeds(*ready), 300)
    lap("API server ready")
    wait("the node's registration", lambda: "node/node" in kubectl("get", "nodes", "-o", "name"), 240)
    kubectl("wait", "--for=condition=Ready", "node/node", "--timeout=300s")
    lap("node ready")
    for name in ("coredns", "s3", "operator-namespace"):
        kubectl("apply", "-f", "-", text=node.render(HERE / f"manifests/{name}.yaml"))
    kubectl("-n", "kube-system", "rollout", "status", "deploy/coredns", "--timeout=300s")
    kubectl("-n", "s3", "rollout", "status", "deploy/s3", "--timeout=300s")
    lap("DNS and S3")
    operator(webhook)
    lap("spark-operator")
    known: dict[str, object] = {
        "kubeconfig": str(KUBECONFIG), "kubectl": str(tools.path("kubectl")), "helm": str(tools.path("helm")),
        "image": place.IMAGE, "images": list(images), "operator_image": place.OPERATOR_IMAGE, "webhook": webhook,
        "s3": {"endpoint": place.S3_ENDPOINT, "in_cluster": f"http://s3.s3.svc.cluster.local:{place.S3_PORT}", "region": "us-east-1", **place.S3_KEYS},
        "s3_server": place.S3_SERVER, "logs": str(place.LOGS), "audit": str(place.LOGS / "audit.log"), "pod_logs": str(STATE / "ns/varlog/pods"),
        "containerd": str(CONTAINERD), "seconds": lap.seconds,
    }  # fmt: skip
    CLUSTER.write_text(json.dumps(known, indent=1) + "\n")
    return known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--webhook", choices=("on", "off"), default=os.environ.get("E2E_WEBHOOK", "on"))
    parser.add_argument(
        "--shares", type=int, default=4096, help="weight of the cluster's share of the CPU (1024: as one other process)"
    )
    parser.add_argument("--s3a", action="store_true", help="import the image with hadoop-aws, too")
    parser.add_argument("--prepare", action="store_true", help="install and build what a cluster needs, and start none")
    arguments = parser.parse_args()
    webhook = arguments.webhook == "on"
    images = (*image.CLUSTER, *((place.IMAGE_S3A,) if arguments.s3a else ()))
    if arguments.prepare:
        prepare(Laps(), images)
        tools.built("promtool")  # of the chart's tests
        return
    STATE.mkdir(parents=True, exist_ok=True)
    with (STATE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of two at once, the second finds what the first has brought up
        ensure(webhook, arguments.shares, images)


def usable() -> bool:
    """Whether a cluster is up, of these very tools, and answers."""
    if not node.processes() or not CLUSTER.exists():
        return False
    known = json.loads(CLUSTER.read_text())
    if known["kubectl"] != str(tools.path("kubectl")) or known.get("s3_server", "versitygw") != place.S3_SERVER:
        return False
    ready = (tools.path("kubectl"), "--kubeconfig", KUBECONFIG, "--request-timeout=10s")
    conditions = 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}'
    try:
        return run(*ready, "get", "nodes", "-o", conditions).strip() == "True"
    except Failed:
        return False


def ensure(webhook: bool, shares: int, images: tuple[str, ...]) -> None:
    """Uses the cluster that is up, or makes a new one in the place of what a crash has left."""
    if usable():
        if json.loads(CLUSTER.read_text())["webhook"] != webhook:
            operator(webhook)
            CLUSTER.write_text(json.dumps({**json.loads(CLUSTER.read_text()), "webhook": webhook}, indent=1) + "\n")
        print(f"already up; KUBECONFIG={KUBECONFIG}")
        return
    down(reset=True)  # also what a crash may have left
    try:
        up(webhook, shares, images)
    except BaseException:
        print(f"the cluster did not come up; its logs are in {place.LOGS}")
        for what in ("pods", "events"):
            with contextlib.suppress(Failed):  # where it came that far
                (place.LOGS / f"{what}.txt").write_text(
                    kubectl("--request-timeout=5s", "get", what, "-A", "-o", "wide")
                )
        down()
        raise
    print(f"KUBECONFIG={KUBECONFIG}\nwhat there is: {CLUSTER}")


if __name__ == "__main__":
    raise SystemExit(guarded(main))
