"""A small world to break: six data sets on an S3 server behind the proxy, a job on them, and what must be true after."""

from __future__ import annotations

import gzip
import os
import uuid
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.config import Config

from job.assembly import assemble
from job.engine.inline import InlineEngine
from job.errors import ManyfitError
from job.models import ModelSet
from job.report import RunReport
from job.run import run
from job.settings import JobSettings
from tests.chaos.audit import Audit, audit
from tests.chaos.proxy import Fault, FaultProxy

OLD = {f"k{n}": n + 1.0 for n in range(6)}
NEW = OLD | {"k1": 11.0, "k3": 13.0, "k5": 15.0, "k6": 17.0}


def body(slope: float, rows: int = 20) -> bytes:
    """A data set whose model has this slope."""
    text = "x,y\n" + "".join(f"{n},{slope * n}\n" for n in range(rows))
    return gzip.compress(text.encode(), mtime=0)


class World:
    """One bucket, with a first release of `OLD` in it, and `NEW` data waiting.

    Parameters
    ----------
    proxy
        In front of the server; the job goes through it, the auditor does not.
    server
        The server's own address.
    """

    def __init__(self, proxy: FaultProxy, server: str, *, retries: int = 1, timeout: float = 2) -> None:
        self.proxy, self.server = proxy, server
        self.retries, self.timeout = retries, timeout
        self.bucket = f"chaos-{uuid.uuid4().hex[:10]}"
        self.client = boto3.client("s3", endpoint_url=server, region_name="us-east-1", config=Config(s3={"addressing_style": "path"}))
        self.client.create_bucket(Bucket=self.bucket)

    def put(self, slopes: Mapping[str, float]) -> None:
        """Put data sets, past the proxy."""
        for key, slope in slopes.items():
            self.client.put_object(Bucket=self.bucket, Key=f"in/{key}.csv.gz", Body=body(slope))

    def settings(self, **more: Any) -> JobSettings:
        """The job, through the proxy."""
        storage = {"endpoint": self.proxy.endpoint, "region": "us-east-1", "retries": self.retries, "timeout": self.timeout}
        recipe = {"features": ["x"], "target": "y", "estimator": {"_target_": "sklearn.linear_model.LinearRegression"}}
        document = {
            "input": {"uri": f"s3://{self.bucket}/in"},
            "recipe": recipe,
            "output": {"uri": f"s3://{self.bucket}/out"},
            "storage": storage,
            "spark": {"master": "inline"},
        }
        return JobSettings.model_validate({**document, **more})

    def run(self, **more: Any) -> RunReport:
        """One run in this process."""
        settings = self.settings(**more)
        document = settings.model_dump(mode="json", exclude_defaults=True, by_alias=True)
        return run(assemble(settings), document, make_engine=lambda _: InlineEngine())

    def objects(self) -> dict[str, bytes]:
        """Everything below the output, past the proxy."""
        found = {}
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix="out/"):
            for each in page.get("Contents", []):
                found[each["Key"][4:]] = self.client.get_object(Bucket=self.bucket, Key=each["Key"])["Body"].read()
        return found

    def audit(self, slopes: Mapping[str, float] | None) -> Audit:
        """The independent look, with what the proxy saw."""
        found = audit(self.objects(), slopes)
        prefix = f"/{self.bucket}/"
        found.problems += [f"{key} was overwritten" for key in self.proxy.overwritten() if key.startswith(prefix)]
        return found

    def reader(self) -> int:
        """Open the published set as a reader would, load every model; their number."""
        models = ModelSet.open(f"s3://{self.bucket}/out", storage=self.settings().storage.side("output"))
        for key in models:
            assert models[key] is not None
        return len(models)


def broken(world: World, fault: Fault, *, heals: int = 3) -> tuple[ManyfitError | None, Audit, int]:
    """Break one kind of request during a run, look, mend, and run again until it is right.

    Returns
    -------
    (error, audit, runs)
        What the broken run said, if it failed; the audit at the end; how many further runs it took.
    """
    world.put(OLD)
    world.run()
    world.put(NEW)
    error: ManyfitError | None = None
    world.proxy.fault = fault
    try:
        world.run()
    except ManyfitError as caught:
        error = caught
    finally:
        world.proxy.fault = None
    if error is not None:
        between = world.audit(None)
        assert not between.problems, between.problems
        assert world.reader() >= len(OLD), "the old release must stay readable"
    for runs in range(heals):
        report = world.run()
        if report.totals.failed == 0 and report.totals.trained == 0:
            break
    world.proxy.deliver_late()
    return error, world.audit(NEW), runs


def environment() -> dict[str, str]:
    """Credentials of the throw-away server."""
    return {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test-secret-value",
        "AWS_DEFAULT_REGION": "us-east-1",
        "PATH": os.environ.get("PATH", ""),
    }
