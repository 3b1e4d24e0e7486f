"""Spark reads from S3: the modules come from Maven Central once, credentials from the environment of the JVM."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.spark, pytest.mark.slow, pytest.mark.timeout(1800)]


PROGRAM = """
import sys
from job.cli.main import main
from job.engine.spark.session import SparkEngine

SparkEngine.stop = lambda engine: None  # one session for all
for each in sys.argv[1:]:
    if code := main(["run", "-c", each, "--json"]):
        sys.exit(code)
    print("--")
"""


def manyfit(tmp_path: Path, *documents: dict[str, Any]) -> list[dict[str, Any]]:
    """In a process of its own, one after the other: the modules must be there before the JVM starts."""
    for number, document in enumerate(documents):
        (tmp_path / f"{number}.json").write_text(json.dumps(document))
    command = [sys.executable, "-c", PROGRAM, *(str(tmp_path / f"{number}.json") for number in range(len(documents)))]
    environment = {**os.environ, "AWS_SESSION_TOKEN": "a-session-token"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if any(text in done.stderr for text in ("UNRESOLVED DEPENDENCIES", "unresolved dependency", "download failed")):
        pytest.skip("Maven Central cannot be reached from here, and the modules have never been fetched")
    assert done.returncode == 0, done.stderr
    return [json.loads(text) for text in done.stdout.split("--\n")[:-1]]


def test_objects_and_a_table_on_s3_are_read_by_spark_and_odd_names_are_exact_or_named(s3: Any, tmp_path: Path) -> None:
    raw, models = s3.bucket(), s3.bucket()
    names = ["a b", "c%20d", "e+f", "x:y#z", "é", "sub/k=1"]
    for number, name in enumerate(names):
        body = "x,y\n" + "".join(f"{x},{x * (number + 1)}\n" for x in range(20))
        s3.client().put_object(Bucket=raw, Key=f"in/{name}.csv.gz", Body=gzip.compress(body.encode()))
    s3.client().put_object(Bucket=raw, Key="in/p//b.csv", Body=b"x,y\n1,2\n")
    rows = "".join(f"{key},{x},{x * (key + 1)}\n" for x in range(20) for key in range(5))
    s3.client().put_object(Bucket=raw, Key="table/a.csv", Body=("k,x,y\n" + rows).encode())
    document: dict[str, Any] = {
        "input": {"uri": f"s3://{raw}/in/", "reader": "spark"},
        "recipe": {
            "features": ["x"],
            "target": "y",
            "estimator": {"_target_": "sklearn.linear_model.LinearRegression"},
        },
        "output": {"uri": f"s3://{models}/objects/", "report": "short"},
        "storage": s3.storage,
        "spark": {"master": "local[2,4]"},
        "run": {"max_failed": 1},
    }
    table = {
        **document,
        "input": {"uri": f"s3://{raw}/table/", "layout": "columns", "key": "k", "reader": "spark"},
        "output": {"uri": f"s3://{models}/table/", "report": "short"},
    }

    of_objects, of_table = manyfit(tmp_path, document, table)

    assert (of_objects["totals"]["trained"], of_objects["failures"]) == (6, {"unsupported_key": 1})
    assert of_objects["spark"]["shuffle_write_bytes"] == 0
    assert of_table["totals"]["trained"] == 5
    assert of_table["spark"]["shuffle_write_bytes"] > 0
