"""The cluster under test: any KUBECONFIG, or the bare one that this repository starts. Used by `conftest` only."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
CHART = REPOSITORY / "deploy/helm/manyfit"
TERMINAL = ("COMPLETED", "FAILED", "SUBMISSION_FAILED")


class Failed(AssertionError):
    """A command of the harness did not work."""


def call(*command: object, text: str | None = None, env: Mapping[str, str] | None = None, seconds: float = 300) -> str:
    """Run a command to its end; its output."""
    done = subprocess.run(
        [str(word) for word in command],
        input=text,
        capture_output=True,
        text=True,
        env=env,
        timeout=seconds,
        check=False,
    )
    if done.returncode:
        raise Failed(
            f"{' '.join(map(str, command[:7]))} … ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
    return done.stdout


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Where the tests run."""

    kubeconfig: str
    kubectl_path: str
    helm_path: str
    image: str
    """repository:tag, on the nodes already or in a registry they reach"""
    s3: dict[str, str]
    """endpoint (from here), in_cluster (from pods), region and the two AWS keys"""
    audit: str | None = None
    """the API server's audit log, where we can read it"""
    seconds: dict[str, float] = field(default_factory=dict)
    """how long each step of the bare cluster's start took"""

    def kubectl(self, *arguments: object, text: str | None = None) -> str:
        """Run kubectl."""
        return call(self.kubectl_path, "--kubeconfig", self.kubeconfig, *arguments, text=text)

    def helm(self, *arguments: object, text: str | None = None, seconds: float = 300) -> str:
        """Run helm."""
        return call(self.helm_path, "--kubeconfig", self.kubeconfig, *arguments, text=text, seconds=seconds)

    def get(self, *arguments: object) -> Any:
        """``kubectl get … -o json``, parsed."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def client(self) -> Any:
        """boto3 on the store, from outside the cluster."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.s3["endpoint"],
            region_name=self.s3["region"],
            aws_access_key_id=self.s3["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.s3["AWS_SECRET_ACCESS_KEY"],
            config=Config(s3={"addressing_style": "path"}),
        )

    def manyfit(self, *arguments: str, code: int = 0) -> str:
        """The command line, from outside the cluster, with the store's credentials in the environment."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(("MANYFIT_", "AWS_"))}
        env |= {name: self.s3[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        command = [sys.executable, "-m", "job.cli", *arguments]
        options = ["--storage.endpoint", self.s3["endpoint"], "--storage.region", self.s3["region"]]
        done = subprocess.run([*command, *options], capture_output=True, text=True, env=env, timeout=180, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout


def bare() -> tuple[Cluster, Callable[[], None]]:
    """Start the bare cluster (or use the one that is up) and say how it ends."""
    scripts = HERE / "cluster"
    sys.path.insert(0, str(scripts))
    import place

    before = place.CLUSTER.exists() and place.PROCESSES.exists()
    done = subprocess.run([shutil.which("python3") or sys.executable, str(scripts / "up.py")], check=False)
    if done.returncode:
        raise Failed("the bare cluster did not come up; the lines above say why")
    known = json.loads(place.CLUSTER.read_text())
    if before:
        # It came up with the image of then: bring in today's code. Only the layers that differ are built and imported.
        for words in (("build", known["image"]), ("load", known["image"])):
            call(shutil.which("python3") or sys.executable, scripts / "image.py", *words, seconds=900)
    cluster = Cluster(
        kubeconfig=known["kubeconfig"],
        kubectl_path=known["kubectl"],
        helm_path=known["helm"],
        image=known["image"],
        s3=known["s3"],
        audit=known["audit"],
        seconds=known["seconds"],
    )

    def end() -> None:
        if not before and not os.environ.get("E2E_KEEP"):
            subprocess.run(
                [shutil.which("python3") or sys.executable, str(scripts / "down.py"), "--reset"], check=False
            )

    return cluster, end


def given(kubeconfig: str) -> tuple[Cluster, Callable[[], None]]:
    """The cluster behind a KUBECONFIG: the spark-operator must be there, watching all namespaces (or E2E_NAMESPACE).

    E2E_IMAGE names the image (default ``manyfit:e2e``, as after ``kind load docker-image``). An S3 server is started
    in the cluster and reached by a port-forward.
    """
    kubectl, helm = shutil.which("kubectl"), shutil.which("helm")
    if not kubectl or not helm:
        raise Failed("kubectl and helm must be on PATH to test the cluster of KUBECONFIG")
    port = 19000 + os.getpid() % 1000
    s3 = {
        "endpoint": f"http://127.0.0.1:{port}",
        "in_cluster": "http://s3.manyfit-e2e-s3.svc.cluster.local:9000",
        "region": "us-east-1",
        "AWS_ACCESS_KEY_ID": "e2e",
        "AWS_SECRET_ACCESS_KEY": "e2e-not-a-secret",
    }
    cluster = Cluster(
        kubeconfig=kubeconfig,
        kubectl_path=kubectl,
        helm_path=helm,
        image=os.environ.get("E2E_IMAGE", "manyfit:e2e"),
        s3=s3,
    )
    manifest = (
        (HERE / "s3.yaml").read_text().replace("IMAGE", os.environ.get("E2E_S3_IMAGE", "versity/versitygw:v1.8.0"))
    )
    cluster.kubectl("apply", "-f", "-", text=manifest)
    cluster.kubectl("-n", "manyfit-e2e-s3", "rollout", "status", "deploy/s3", "--timeout=180s")
    forward = subprocess.Popen(
        [kubectl, "--kubeconfig", kubeconfig, "-n", "manyfit-e2e-s3", "port-forward", "svc/s3", f"{port}:9000"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait("the port-forward to S3", lambda: bool(cluster.client().list_buckets()) or True, 60)

    def end() -> None:
        forward.terminate()
        forward.wait(10)
        cluster.kubectl("delete", "namespace", "manyfit-e2e-s3", "--wait=false")

    return cluster, end


def wait(what: str, ready: Callable[[], Any], seconds: float, every: float = 0.5) -> Any:
    """Ask until the answer is true; exceptions count as not yet."""
    end, last = time.monotonic() + seconds, ""
    while True:
        try:
            if answer := ready():
                return answer
        except Exception as error:  # noqa: BLE001 - whatever it is, it is shown when time is up
            last = str(error)[-500:]
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {seconds:.0f} s. {last}")
        time.sleep(every)


@dataclass
class Space:
    """One namespace that enforces ``restricted``, with a bucket and a Secret of its own."""

    cluster: Cluster
    name: str
    bucket: str
    artifacts: Path

    @classmethod
    def make(cls, cluster: Cluster, artifacts: Path) -> Space:
        """Create all three."""
        name = os.environ.get("E2E_NAMESPACE") or f"e2e-{uuid.uuid4().hex[:8]}"
        labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        cluster.kubectl("apply", "-f", "-", text=json.dumps(space))
        made = cls(cluster, name, f"e2e-{uuid.uuid4().hex[:10]}", artifacts)
        made.secret("s3", cluster.s3["AWS_ACCESS_KEY_ID"], cluster.s3["AWS_SECRET_ACCESS_KEY"])
        cluster.client().create_bucket(Bucket=made.bucket)
        return made

    def secret(self, name: str, key: str, secret: str) -> None:
        """A Secret with S3 keys."""
        data = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": self.name},
            "stringData": data,
        }
        self.cluster.kubectl("apply", "-f", "-", text=json.dumps(body))

    def put(self, prefix: str, slopes: Mapping[str, float], rows: int = 50) -> None:
        """One gzipped csv of y = slope · x for each key."""
        client = self.cluster.client()
        for key, slope in slopes.items():
            text = "x,y\n" + "".join(f"{n},{slope * n}\n" for n in range(rows))
            client.put_object(
                Bucket=self.bucket, Key=f"{prefix}/{key}.csv.gz", Body=gzip.compress(text.encode(), mtime=0)
            )

    def values(self, prefix: str, out: str, **job: Any) -> dict[str, Any]:
        """Values for a small job from one prefix to another."""
        repository, _, tag = self.cluster.image.rpartition(":")
        document: dict[str, Any] = {
            "name": prefix,
            "input": {"uri": f"s3://{self.bucket}/{prefix}/"},
            "recipe": {
                "features": ["x"],
                "target": "y",
                "estimator": {"_target_": "sklearn.linear_model.LinearRegression"},
            },
            "output": {"uri": f"s3://{self.bucket}/{out}/"},
            "storage": {"endpoint": self.cluster.s3["in_cluster"], "region": self.cluster.s3["region"]},
        }
        for section, given_values in job.items():
            document[section] = given_values if section == "recipe" else {**document.get(section, {}), **given_values}
        fast = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
        return {
            "job": document,
            "image": {"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"},
            "credentials": {"secretName": "s3"},
            "driver": {"coreRequest": "100m", "memory": "512m", "overhead": "512m", "javaOptions": fast},
            "executor": {
                "instances": 2,
                "cores": 1,
                "coreRequest": "100m",
                "memory": "512m",
                "overhead": "384m",
                "workerMemory": "512m",
                "javaOptions": fast,
            },
            "retries": {"onFailure": 0, "onSubmissionFailure": 1, "onSubmissionFailureInterval": 5},
            "networkPolicy": {"storage": {"ports": [9000]}},
        }

    def install(self, release: str, values: Mapping[str, Any], *more: str) -> str:
        """``helm upgrade --install`` with values on standard input."""
        arguments = ("upgrade", "--install", release, CHART, "-n", self.name, "-f", "-", *more)
        return self.cluster.helm(*arguments, text=yaml.safe_dump(dict(values)))

    def application(self, name: str) -> dict[str, Any]:
        """The SparkApplication; empty when there is none."""
        try:
            found: dict[str, Any] = self.cluster.get("-n", self.name, "sparkapplication", name)
        except Failed:
            return {}
        return found

    def state(self, name: str) -> str:
        """Its state."""
        return str(self.application(name).get("status", {}).get("applicationState", {}).get("state", ""))

    def finished(self, name: str, seconds: float = 420) -> str:
        """Wait for its end; the state. Logs are kept where it did not complete."""
        state = str(wait(f"the end of {name}", lambda: (s := self.state(name)) in TERMINAL and s, seconds))
        if state != "COMPLETED":
            self.keep(name)
        return state

    def driver_log(self, name: str) -> str:
        """Everything the driver said."""
        return self.cluster.kubectl("-n", self.name, "logs", f"{name}-driver", "--tail=-1")

    def keep(self, name: str) -> None:
        """Write what helps after a failure."""
        self.artifacts.mkdir(parents=True, exist_ok=True)
        wanted = {
            "application.yaml": ("get", "sparkapplication", name, "-o", "yaml"),
            "pods.yaml": ("get", "pods", "-o", "yaml"),
            "describe.txt": ("describe", "pods"),
            "events.txt": ("get", "events", "--sort-by=.lastTimestamp"),
            "driver.log": ("logs", f"{name}-driver", "--tail=-1"),
        }
        for file, arguments in wanted.items():
            try:
                text = self.cluster.kubectl("-n", self.name, *arguments)
            except Failed as failure:
                text = str(failure)
            (self.artifacts / f"{name}-{file}").write_text(text)

    def result(self, out: str) -> dict[str, Any]:
        """The report of the run that began last, read from the store."""
        status = self.cluster.manyfit("status", f"s3://{self.bucket}/{out}", "--json")
        found: dict[str, Any] = json.loads(status).get("result", {})
        return found

    def outcomes(self, out: str, run: str) -> list[dict[str, Any]]:
        """The compacted outcomes of a run."""
        import io

        import pyarrow.parquet as pq

        body = (
            self.cluster.client()
            .get_object(Bucket=self.bucket, Key=f"{out}/runs/{run}/outcomes.parquet")["Body"]
            .read()
        )
        rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(body)).to_pylist()
        return rows

    def segments(self, out: str) -> int:
        """How many segments there are by now."""
        listing = self.cluster.client().list_objects_v2(Bucket=self.bucket, Prefix=f"{out}/runs/")
        return sum("/segments/" in each["Key"] for each in listing.get("Contents", []))

    def delete(self) -> None:
        """Take the namespace away."""
        if not os.environ.get("E2E_NAMESPACE"):
            self.cluster.kubectl("delete", "namespace", self.name, "--wait=false")
