"""Which cluster the tests run on: that of KUBECONFIG, or the bare one that this repository starts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.harness import ARTIFACTS, HERE, Cluster, Failed, call, wait

SCRIPTS = HERE / "cluster"
PYTHON = shutil.which("python3") or sys.executable
OPERATOR = "sparkapplications.sparkoperator.k8s.io"


@contextmanager
def bare() -> Iterator[Cluster]:
    """The bare cluster, or the one that is up already; it ends with the tests if they began it, unless E2E_KEEP is set."""
    sys.path.insert(0, str(SCRIPTS))
    import place  # type: ignore[import-not-found]

    if _forgotten(place.STATE / "tests"):
        subprocess.run([PYTHON, str(SCRIPTS / "down.py"), "--reset"], check=False)
    before = place.CLUSTER.exists()
    try:
        if subprocess.run([PYTHON, str(SCRIPTS / "up.py"), "--webhook", "on", "--s3a"], check=False).returncode:
            shutil.copytree(place.LOGS, ARTIFACTS / "cluster", dirs_exist_ok=True)
            pytest.exit(
                f"the bare cluster did not come up; the lines above say why, logs are in {ARTIFACTS}/cluster", 1
            )
        if not before:
            (place.STATE / "tests").write_text(str(os.getpid()))
        # One that was up has the code of then. Only the layers that differ are built and imported.
        images = (place.IMAGE, place.IMAGE_S3A)
        print(call(PYTHON, SCRIPTS / "image.py", "load", *images, seconds=1500).strip().splitlines()[-1])
        known = json.loads(place.CLUSTER.read_text())
        yield Cluster(
            kubeconfig=known["kubeconfig"],
            kubectl_path=known["kubectl"],
            helm_path=known["helm"],
            image=place.IMAGE,
            image_s3a=place.IMAGE_S3A,
            s3_image="localhost/versitygw:e2e" if place.S3_SERVER == "versitygw" else None,
            s3=known["s3"],
            audit=Path(known["audit"]),
            groups=Path("/sys/fs/cgroup/memory") / place.CGROUP,
            volumes=place.STATE / "volumes",
            seconds=known["seconds"],
        )
    finally:
        if not before and not os.environ.get("E2E_KEEP"):
            subprocess.run([PYTHON, str(SCRIPTS / "down.py")], check=False)


def _forgotten(owner: Path) -> bool:
    """Whether the cluster was begun by tests that were killed: their jobs may still run there."""
    try:
        return not Path(f"/proc/{int(owner.read_text())}").exists() and not os.environ.get("E2E_KEEP")
    except (OSError, ValueError):
        return False


def webhook(on: bool) -> None:
    """Switch the operator's webhooks of the bare cluster."""
    call(PYTHON, SCRIPTS / "up.py", "--webhook", "on" if on else "off")


@contextmanager
def given(kubeconfig: str) -> Iterator[Cluster]:
    """The cluster behind a KUBECONFIG: the spark-operator must be there, watching all namespaces or E2E_NAMESPACE.

    E2E_IMAGE names the image (default ``manyfit:e2e``, as after ``kind load docker-image``), E2E_IMAGE_S3A the one with
    hadoop-aws (without it nothing is read by Spark from S3), E2E_S3_IMAGE versitygw's.
    An S3 server is started in the cluster and reached by a port-forward.
    """
    kubectl, helm = shutil.which("kubectl"), shutil.which("helm")
    if not kubectl or not helm:
        raise Failed("kubectl and helm must be on PATH to test the cluster of KUBECONFIG (tools.py --dir helm kubectl)")
    port = 19000 + os.getpid() % 1000
    s3 = {
        "endpoint": f"http://127.0.0.1:{port}",
        "in_cluster": "http://s3.manyfit-e2e-s3.svc.cluster.local:9000",
        "region": "us-east-1",
        "AWS_ACCESS_KEY_ID": "e2e",
        "AWS_SECRET_ACCESS_KEY": "e2e-not-a-secret",
    }
    image = os.environ.get("E2E_IMAGE", "manyfit:e2e")
    server = os.environ.get("E2E_S3_IMAGE", "versity/versitygw:v1.8.0")
    cluster = Cluster(
        kubeconfig=kubeconfig,
        kubectl_path=kubectl,
        helm_path=helm,
        image=image,
        image_s3a=os.environ.get("E2E_IMAGE_S3A"),
        s3_image=server,
        s3=s3,
    )
    if OPERATOR not in cluster.kubectl("get", "crd", "-o", "name"):
        raise Failed(
            f"the cluster of KUBECONFIG={kubeconfig} has no spark-operator: tests/e2e/README.md says how to install it"
        )
    cluster.kubectl("apply", "-f", "-", text=(HERE / "s3.yaml").read_text().replace("IMAGE", server))
    forward = None
    try:
        cluster.kubectl("-n", "manyfit-e2e-s3", "rollout", "status", "deploy/s3", "--timeout=540s")
        forward = subprocess.Popen(
            [*cluster.kubectl_command, "-n", "manyfit-e2e-s3", "port-forward", "svc/s3", f"{port}:9000"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait("the port-forward to S3", lambda: "Buckets" in cluster.client().list_buckets(), 180)
        yield cluster
    finally:
        if forward:
            forward.terminate()
            forward.wait(10)
        cluster.kubectl("delete", "namespace", "manyfit-e2e-s3", "--wait=false")
