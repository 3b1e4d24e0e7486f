"""``manyfit demo``: the article "Embarrassingly Parallel Model Training on Spark - Pandas UDF" (2020), end to end.

Two gzipped data sets in an embedded S3 server, one linear model each, trained by local Spark, uploaded by the workers,
and read back from storage. Every step of the article is printed with its measurements.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from job.cli.embedded_s3 import EmbeddedS3
from job.config.settings import JobSettings
from job.errors import ManyfitError

ROWS = 1000
SLOPES = {"df1": 2.5, "df2": 3.0}


def data_set(slope: float, seed: int, rows: int = ROWS) -> bytes:
    """A gzipped csv of Y = slope · X + noise, X uniform on [0, 10), noise normal with standard deviation 1."""
    random = np.random.default_rng(seed)
    x = random.uniform(0, 10, rows)
    y = slope * x + random.normal(0, 1, rows)
    text = "X,Y\n" + "".join(f"{a:.6f},{b:.6f}\n" for a, b in zip(x, y, strict=True))
    return gzip.compress(text.encode(), mtime=0)


@contextmanager
def object_store() -> Iterator[str]:
    """An S3-compatible server on this machine, in memory, with throw-away credentials in the environment."""
    # The workers inherit the environment of this process, and read the credentials from it as in any job.
    given = {"AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": "demo-secret", "AWS_DEFAULT_REGION": "us-east-1"}
    before = {name: os.environ.get(name) for name in (*given, "AWS_PROFILE", "AWS_SESSION_TOKEN")}
    os.environ.update(given)
    os.environ.pop("AWS_PROFILE", None)
    os.environ.pop("AWS_SESSION_TOKEN", None)
    try:
        with EmbeddedS3() as server:
            yield server.endpoint
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def main(keep: str | None = None) -> int:
    """Run the demo.

    Parameters
    ----------
    keep
        A folder for copies of the data and of everything that the job wrote. Default: no copies.

    Raises
    ------
    SetupError
        Java, Spark or the embedded server is missing.
    """
    from job.engine.spark.jvm import find_java

    find_java(os.environ)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    with object_store() as endpoint:
        return _demo(console, endpoint, Path(keep) if keep else None)


def _client(endpoint: str) -> Any:
    import boto3

    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")


def _demo(console: Console, endpoint: str, keep: Path | None) -> int:
    from job.registry.model_set import ModelSet
    from job.registry.verify import verify
    from job.run.assembly import assemble
    from job.run.report import lines
    from job.run.run import run

    client = _client(endpoint)
    client.create_bucket(Bucket="demo")
    console.print(f"1. an embedded S3-compatible server ({endpoint}), bucket demo")
    for number, (key, slope) in enumerate(SLOPES.items()):
        body = data_set(slope, seed=number)
        client.put_object(Bucket="demo", Key=f"data/{key}.csv.gz", Body=body)
        console.print(f"2. data/{key}.csv.gz: {ROWS:,} rows of Y = {slope} X + noise, {len(body):,} bytes gzipped")
    settings = JobSettings.model_validate(
        {
            "name": "demo",
            "input": {"uri": "s3://demo/data/"},
            "recipe": {
                "features": ["X"],
                "target": "Y",
                "estimator": {"_target_": "sklearn.linear_model.LinearRegression"},
            },
            "output": {"uri": "s3://demo/models/"},
            "storage": {"endpoint": endpoint, "region": "us-east-1"},
            # two cores and two keys: both data sets are trained at the same time
            "spark": {"master": "local[2,4]"},
        }
    )
    console.print("3. training on local Spark: one planned key for each object, a pandas UDF on the workers …")
    assembly = assemble(settings)
    done = run(assembly, settings.model_dump(mode="json", exclude_defaults=True, by_alias=True))
    for line in lines(done):
        console.print(f"   {line}")
    if done.exit_code:
        return done.exit_code
    spark = done.spark
    console.print(
        f"4. Spark's own metrics: {spark['tasks']} tasks in {spark['stages']} stage, "
        f"shuffle read {spark['shuffle_read_bytes']} B, shuffle write {spark['shuffle_write_bytes']} B"
    )
    if spark["shuffle_read_bytes"] or spark["shuffle_write_bytes"]:
        raise ManyfitError("the demo shuffled data, which it never should")
    console.print(f"5. {done.workers} worker processes put their models straight into the bucket:")
    for each in client.list_objects_v2(Bucket="demo", Prefix="models/models/")["Contents"]:
        console.print(f"   s3://demo/{each['Key']}  {each['Size']} B")
    models = ModelSet.open("s3://demo/models/", storage=settings.storage.side("output"))
    console.print("6. read back from storage, digest verified before unpickling:")
    console.print("   key   true slope   coefficient   intercept       r2")
    for key in sorted(models):
        model, info = models[key], models.metrics().loc[key]
        console.print(
            f"   {key}   {SLOPES[key]:10.1f}   {model.coef_[0]:11.4f}   {model.intercept_:9.4f}   {info['r2']:.4f}"
        )
    checked = verify(assembly.output)
    console.print(f"7. verify: {checked.checked} models re-read, {len(checked.damaged)} damaged")
    again = run(assembly, settings.model_dump(mode="json", exclude_defaults=True, by_alias=True))
    console.print(
        f"8. run again: {again.totals.trained} trained, {again.totals.unchanged} unchanged, "
        f"in {again.seconds:.1f} s without Spark"
    )
    if keep is not None:
        count = _copy(client, keep)
        console.print(f"9. {count} objects copied to {keep}: data/ and models/")
        console.print(f"   the page of the run, with its time line: {keep}/models/runs/{done.run}/report.html")
    else:
        console.print("9. the server and all it held end with this command; `manyfit demo --keep FOLDER` leaves copies")
    return 0


def _copy(client: Any, folder: Path) -> int:
    count = 0
    for page in client.get_paginator("list_objects_v2").paginate(Bucket="demo"):
        for each in page["Contents"]:
            target = folder / each["Key"]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(client.get_object(Bucket="demo", Key=each["Key"])["Body"].read())
            count += 1
    return count
