"""The cluster under test, and one namespace on it with what a small job needs."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.e2e.watch import Object, Watch

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
CHART = REPOSITORY / "deploy/helm/manyfit"
ARTIFACTS = REPOSITORY / "build/e2e"
OVER = threading.Event()
"""Set when the tests have ended, however they did: nobody waits any longer."""
TERMINAL = ("COMPLETED", "FAILED")
"""States that stay: after SUBMISSION_FAILED the operator tries again, and says FAILED when it gives up."""


def state_of(application: Object) -> str:
    """The state of a SparkApplication; empty before the operator has seen it."""
    return str(application.get("status", {}).get("applicationState", {}).get("state", ""))


def progress(before: Object, after: Object) -> None:
    """Print a line when an application's state changes: else the tests would say nothing for many minutes."""
    if (state := state_of(after)) and state != state_of(before):
        line = f"{time.strftime('%H:%M:%S')}  {after['metadata']['name']}: {state}"
        print(line, file=sys.__stderr__, flush=True)  # not what pytest keeps for a test that fails


class Failed(AssertionError):
    """A command of the harness did not work."""


def call(*command: object, text: str | None = None, env: Mapping[str, str] | None = None, seconds: float = 900) -> str:
    """Run a command to its end; its output."""
    words = [str(word) for word in command]
    done = subprocess.run(words, input=text, capture_output=True, text=True, env=env, timeout=seconds, check=False)
    if done.returncode:
        last = f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
        raise Failed(f"{' '.join(words[:7])} … ended with {done.returncode}:\n{last}")
    return done.stdout


def wait(what: str, ready: Callable[[], Any], seconds: float, every: float = 0.5) -> Any:
    """Ask until the answer is true; exceptions count as not yet."""
    end, last = time.monotonic() + seconds, ""
    while not OVER.is_set():
        try:
            if answer := ready():
                return answer
        except Exception as error:
            last = str(error)[-500:]
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {seconds:.0f} s. {last}")
        time.sleep(every)
    raise Failed(f"{what}: the tests have ended")


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
    s3_image: str | None = None
    """versitygw's, where it may be started by a test"""
    image_s3a: str | None = None
    """the same image with hadoop-aws, where there is one"""
    audit: Path | None = None
    """the API server's audit log, where we can read it"""
    groups: Path | None = None
    """the memory control groups of its pods, where we can read them"""
    volumes: Path | None = None
    """where the node may have volumes on its disk; None: the cluster has a default storage class"""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """how long each step of the bare cluster's start took"""

    @property
    def kubectl_command(self) -> list[str]:
        return [self.kubectl_path, "--kubeconfig", self.kubeconfig]

    def kubectl(self, *arguments: object, text: str | None = None) -> str:
        """Run kubectl."""
        return call(*self.kubectl_command, *arguments, text=text)

    def helm(self, *arguments: object, text: str | None = None, seconds: float = 900) -> str:
        """Run helm."""
        return call(self.helm_path, "--kubeconfig", self.kubeconfig, *arguments, text=text, seconds=seconds)

    def get(self, *arguments: object) -> Any:
        """``kubectl get … -o json``, parsed."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def apply(self, *objects: Object) -> None:
        """``kubectl apply``."""
        self.kubectl("apply", "-f", "-", text="\n---\n".join(json.dumps(each) for each in objects))

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

    def manyfit(self, *arguments: str, text: str | None = None) -> str:
        """The command line, from outside the cluster, with the store's credentials in the environment."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(("MANYFIT_", "AWS_", "SPARK_"))}
        env |= {name: self.s3[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        options = ["--storage.endpoint", self.s3["endpoint"], "--storage.region", self.s3["region"]]
        return call(sys.executable, "-m", "job.cli.main", *arguments, *options, text=text, env=env)


class Space:
    """One namespace that enforces ``restricted``, with a bucket and a Secret of its own."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.name = os.environ.get("E2E_NAMESPACE") or f"e2e-{uuid.uuid4().hex[:8]}"
        self.bucket = f"e2e-{uuid.uuid4().hex[:10]}"
        labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name, "labels": labels}})
        self.secret("s3", {name: cluster.s3[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")})
        self.s3.create_bucket(Bucket=self.bucket)
        self.pods = Watch(cluster.kubectl_command, self.name, "pods")
        self.applications = Watch(
            cluster.kubectl_command, self.name, "sparkapplications.sparkoperator.k8s.io", progress
        )
        self.installed: list[str] = []

    @cached_property
    def s3(self) -> Any:
        """boto3; its clients may be shared between threads."""
        return self.cluster.client()

    def kubectl(self, *arguments: object, text: str | None = None) -> str:
        """kubectl in this namespace."""
        return self.cluster.kubectl("-n", self.name, *arguments, text=text)

    def secret(self, name: str, data: Mapping[str, str]) -> None:
        """A Secret."""
        metadata = {"name": name, "namespace": self.name}
        self.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": dict(data)})

    def put(self, prefix: str, slopes: Mapping[str, float], rows: int = 50) -> None:
        """One gzipped csv of y = slope · x for each key."""
        for key, slope in slopes.items():
            text = "x,y\n" + "".join(f"{n},{slope * n}\n" for n in range(rows))
            body = gzip.compress(text.encode(), mtime=0)
            self.s3.put_object(Bucket=self.bucket, Key=f"{prefix}/{key}.csv.gz", Body=body)

    def document(self, prefix: str, out: str, **job: Any) -> dict[str, Any]:
        """A small job from one prefix to another."""
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
        for section, own in job.items():
            document[section] = own if section == "recipe" else {**document.get(section, {}), **own}
        return document

    def values(self, prefix: str, out: str, **job: Any) -> dict[str, Any]:
        """Values for such a job on a small node."""
        repository, _, tag = self.cluster.image.rpartition(":")
        fast = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
        small = {"coreRequest": "100m", "memory": "512m", "javaOptions": fast}
        return {
            "job": self.document(prefix, out, **job),
            "image": {"repository": repository, "tag": tag},
            "credentials": {"secretName": "s3"},
            "driver": {**small, "overhead": "512m"},
            "executor": {**small, "instances": 2, "cores": 1, "overhead": "384m", "workerMemory": "512m"},
            "retries": {"onFailure": 0, "onSubmissionFailure": 5, "onSubmissionFailureInterval": 5},
            "networkPolicy": {"storage": {"ports": [9000]}},
        }

    def install(self, release: str, values: Mapping[str, Any], *more: str) -> str:
        """``helm upgrade --install`` with values on standard input."""
        self.installed.append(release)
        arguments = ("upgrade", "--install", release, CHART, "-n", self.name, "-f", "-", *more)
        return self.cluster.helm(*arguments, text=json.dumps(values))

    def state(self, name: str) -> str:
        """The state of an application."""
        return state_of(self.applications.named(name))

    def finished(self, name: str, seconds: float = 420) -> str:
        """Wait for its end; the state."""
        return str(
            self.applications.until(f"the end of {name}", lambda: (s := self.state(name)) in TERMINAL and s, seconds)
        )

    def completed(self, name: str) -> None:
        """Wait for its end; what helps is kept, and the main cause said, where it did not complete."""
        state = self.finished(name)
        if state != "COMPLETED":
            raise Failed(f"{name} is {state}: {self.keep(name)}")

    def driver_log(self, name: str) -> str:
        """Everything the driver said."""
        return self.kubectl("logs", f"{name}-driver", "--tail=-1")

    def keep(self, name: str) -> str:
        """Write what helps after a failure to build/e2e; what seems to be the main cause."""
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        selector = f"sparkoperator.k8s.io/app-name={name}"
        wanted = {
            "application.yaml": ("get", "sparkapplication", name, "-o", "yaml"),
            "pods.yaml": ("get", "pods", "-l", selector, "-o", "yaml"),
            "describe.txt": ("describe", "pods", "-l", selector),
            "events.txt": ("get", "events", "--sort-by=.lastTimestamp"),
            "driver.log": ("logs", f"{name}-driver", "--tail=-1"),
            "executors.log": ("logs", "-l", f"{selector},spark-role=executor", "--tail=-1", "--prefix"),
        }
        kept: dict[str, str] = {}
        for file, arguments in wanted.items():
            try:
                kept[file] = self.kubectl(*arguments)
            except (Failed, subprocess.SubprocessError) as failure:
                kept[file] = str(failure)
            (ARTIFACTS / f"{name}-{file}").write_text(kept[file])
        said = self.applications.named(name).get("status", {}).get("applicationState", {}).get("errorMessage", "")
        lines = [line for line in kept["driver.log"].splitlines() if '"level": "error"' in line or "ERROR" in line]
        return "\n".join(["", said, *(line[:1500] for line in lines[-3:]), f"(more in {ARTIFACTS}/{name}-*)"])

    def result(self, out: str) -> dict[str, Any]:
        """The report of the run that ended last, read from the store."""
        listing = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=f"{out}/runs/").get("Contents", [])
        ended = [each for each in listing if each["Key"].endswith("/result.json")]
        last = max(ended, key=lambda each: each["LastModified"])
        found: dict[str, Any] = json.loads(self.s3.get_object(Bucket=self.bucket, Key=last["Key"])["Body"].read())
        return found

    def outcomes(self, out: str, run: str) -> list[dict[str, Any]]:
        """The compacted outcomes of a run."""
        import pyarrow.parquet as pq

        body = self.s3.get_object(Bucket=self.bucket, Key=f"{out}/runs/{run}/outcomes.parquet")["Body"].read()
        rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(body)).to_pylist()
        return rows

    def objects(self, prefix: str) -> list[str]:
        """The names below a prefix."""
        listing = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix)
        return [each["Key"] for each in listing.get("Contents", [])]

    def segments(self, out: str) -> int:
        """How many segments of outcomes there are by now."""
        return sum("/segments/" in name for name in self.objects(f"{out}/runs/"))

    def keep_all(self) -> None:
        """What helps after a failure, of every application, and what the operator said."""
        for name in {each["metadata"]["name"] for each in list(self.applications.every.values())}:
            self.keep(name)
        where = ("-A", "-l", "app.kubernetes.io/name=spark-operator")
        for pod in self.cluster.get("pods", *where)["items"]:
            name, space = pod["metadata"]["name"], pod["metadata"]["namespace"]
            (ARTIFACTS / f"{name}.log").write_text(self.cluster.kubectl("-n", space, "logs", name, "--tail=-1"))

    def delete(self) -> None:
        """Take the namespace away, or what was installed in one that was given."""
        self.pods.close()
        self.applications.close()
        if not os.environ.get("E2E_NAMESPACE"):
            self.cluster.kubectl("delete", "namespace", self.name, "--wait=false")
            return
        for release in sorted(set(self.installed)):
            self.cluster.helm("uninstall", release, "-n", self.name, "--ignore-not-found")
