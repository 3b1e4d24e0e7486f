"""The ``direct`` reader on real Spark: right models, no shuffle, and a JVM that dies. What holds on every engine, deaths of workers and
drivers too, is in ``tests/unit/engine/test_contract.py``."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from job.config.settings import JobSettings
from job.registry.model_set import ModelSet
from job.registry.verify import verify
from job.run.assembly import assemble
from job.run.report import RunReport
from job.run.run import run
from tests.conftest import S3
from tests.support.engines import LONG, SPARK, begun, body, write_slow_job
from tests.support.spark_jobs import SharedEngine

pytestmark = pytest.mark.spark


def settings(document: dict[str, Any], **more: Any) -> JobSettings:
    linear = {"_target_": "sklearn.linear_model.LinearRegression"}
    base = {
        "recipe": {"features": ["x"], "target": "y", "estimator": linear},
        "spark": {"master": "local[2,4]"},
    }
    return JobSettings.model_validate({**base, **document, **more})


def trained(job: JobSettings, base: Path | None = None) -> RunReport:
    document = job.model_dump(mode="json", exclude_defaults=True, by_alias=True)
    return run(assemble(job, base), document, make_engine=lambda made: SharedEngine(made.settings))


def test_four_hundred_small_objects_give_four_hundred_right_models_without_a_shuffle(spark: Any, s3: S3) -> None:
    bucket, client = s3.bucket(), s3.client()
    for number in range(400):
        client.put_object(Bucket=bucket, Key=f"in/k{number:03d}.csv.gz", Body=body(number + 1.0))
    job = settings(
        {"input": {"uri": f"s3://{bucket}/in"}, "output": {"uri": f"s3://{bucket}/out"}, "storage": s3.storage}
    )

    report = trained(job)

    assert (report.exit_code, report.totals.planned, report.totals.trained) == (0, 400, 400)
    assert report.spark["shuffle_read_bytes"] == report.spark["shuffle_write_bytes"] == 0
    assert report.workers == 2
    models = ModelSet.open(f"s3://{bucket}/out", storage=job.storage.side("output"))
    for number in range(0, 400, 37):
        assert models[f"k{number:03d}"].coef_[0] == pytest.approx(number + 1.0, rel=1e-4)
    checked = verify(assemble(job).output)
    assert (checked.checked, list(checked.damaged)) == (400, [])


@pytest.fixture
def slow_job(tmp_path: Path) -> Path:
    write_slow_job(tmp_path, SPARK)
    return tmp_path


def test_a_jvm_that_dies_ends_the_run_with_3_and_says_how_to_go_on(slow_job: Path) -> None:
    process = begun(slow_job, 1)
    found = subprocess.run(["pgrep", "-P", str(process.pid), "java"], capture_output=True, text=True, check=True)
    os.kill(int(found.stdout.split()[0]), signal.SIGKILL)
    _, said = process.communicate(timeout=LONG)

    assert process.returncode == 3, said
    assert "Run again" in said
    assert "Traceback" not in said


def test_spark_installs_no_handler_of_ctrl_c_which_would_call_the_jvm_from_within_a_call(spark: Any) -> None:
    assert signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_IGN)
