"""A small world to break: six data sets on an S3 server behind the proxy, a job on them, and what must be true after."""

from __future__ import annotations

import gzip
import os
import uuid
from collections.abc import Mapping
from typing import Any

import boto3
import pytest
from botocore.config import Config

from job.config.settings import JobSettings
from job.engine.inline import InlineEngine
from job.registry.model_set import ModelSet
from job.run.assembly import assemble
from job.run.report import RunReport
from job.run.run import run
from job.store import probe
from tests.chaos.audit import Audit, audit
from tests.chaos.proxy import FaultProxy

OLD = {f"k{n}": n + 1.0 for n in range(6)}
_FIRST: dict[str, tuple[str, dict[str, bytes], dict[str, bytes]]] = {}
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
    retries, timeout
        Of the job: few and short, so that what never succeeds ends soon.
    admit
        Try the store before each run: half of a small run's requests, and none of those that are broken here.
    """

    def __init__(
        self, proxy: FaultProxy, server: str, *, retries: int = 1, timeout: float = 2, admit: bool = True
    ) -> None:
        self.proxy, self.server = proxy, server
        self.retries, self.timeout, self.admit = retries, timeout, admit
        self.bucket = f"chaos-{uuid.uuid4().hex[:10]}"
        self.client = boto3.client(
            "s3", endpoint_url=server, region_name="us-east-1", config=Config(s3={"addressing_style": "path"})
        )
        self.client.create_bucket(Bucket=self.bucket)

    def put(self, slopes: Mapping[str, float]) -> None:
        """Put data sets, past the proxy."""
        for key, slope in slopes.items():
            self.client.put_object(Bucket=self.bucket, Key=f"in/{key}.csv.gz", Body=body(slope))

    def settings(self, **more: Any) -> JobSettings:
        """The job, through the proxy."""
        storage = {
            "endpoint": self.proxy.endpoint,
            "region": "us-east-1",
            "retries": self.retries,
            "timeout": self.timeout,
        }
        recipe = {"features": ["x"], "target": "y", "estimator": {"_target_": "sklearn.linear_model.LinearRegression"}}
        document = {
            "input": {"uri": f"s3://{self.bucket}/in"},
            "recipe": recipe,
            "output": {"uri": f"s3://{self.bucket}/out", "report": "short"},
            "storage": storage,
            "spark": {"master": "inline"},
        }
        return JobSettings.model_validate({**document, **more})

    def run(self, **more: Any) -> RunReport:
        """One run in this process."""
        settings = self.settings(**more)
        document = settings.model_dump(mode="json", exclude_defaults=True, by_alias=True)
        with pytest.MonkeyPatch.context() as patch:
            if not self.admit:
                patch.setattr(probe, "admit", lambda *_, **__: None)
            return run(assemble(settings), document, make_engine=lambda _: InlineEngine())

    def begin(self, *, orphans: bool = False) -> None:
        """`OLD` and its first release: made once for each server, then copied; and `NEW` data.

        With ``orphans``, a run has died that had put all models of `NEW`: each put of the next one finds its object.
        """
        made = _FIRST.get(self.server)
        if made is None:
            first = World(self.proxy, self.server, retries=5, timeout=60)
            first.put(OLD)
            assert first.run().version == 1
            objects = first.objects("out/")
            first.put(NEW)
            assert first.run().totals.trained == 4
            made = _FIRST[self.server] = first.bucket, objects, first.objects("out/models/")
        bucket, objects, models = made
        self.put(NEW)
        for name, data in (objects | models if orphans else objects).items():
            if name.startswith(("index/", "models/", "manyfit.json")):
                self.client.put_object(
                    Bucket=self.bucket, Key=f"out/{name}", Body=data.replace(bucket.encode(), self.bucket.encode())
                )

    def objects(self, *prefixes: str) -> dict[str, bytes]:
        """What the auditor looks at below the output, past the proxy."""
        found = {}
        for prefix in prefixes or ("out/index/", "out/models/"):
            for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
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


def environment() -> dict[str, str]:
    """Credentials of the throw-away server."""
    return {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test-secret-value",
        "AWS_DEFAULT_REGION": "us-east-1",
        "PATH": os.environ.get("PATH", ""),
    }
