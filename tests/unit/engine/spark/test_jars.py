"""Spark on S3: which modules are asked for, and how S3A is told what the job says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from job.config.settings import JobSettings
from job.engine.spark import jars
from job.errors import ConfigurationError, SetupError


def settings(uri: str = "s3://raw/data/", reader: str = "spark", **storage: Any) -> JobSettings:
    return JobSettings.model_validate(
        {
            "input": {"uri": uri, "reader": reader},
            "recipe": {"function": "m:f"},
            "output": {"uri": "s3://models/x/"},
            "storage": storage,
        }
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "hadoop-client-api-3.4.2.jar").touch()
    return tmp_path


def conf(
    job: JobSettings, home: Path, given: dict[str, str] | None = None, *, submitted: bool = False
) -> dict[str, str]:
    return jars.conf(job, home, given or {}, submitted=submitted)


def test_nothing_is_fetched_or_set_for_those_who_do_not_let_spark_read_s3(home: Path) -> None:
    assert conf(settings(reader="direct"), home) == {}
    assert conf(settings(uri="/data"), home) == {}


@pytest.mark.parametrize(("hadoop", "sdk"), [("3.4.2", "2.29.52"), ("3.5.0", "2.35.4")])
def test_the_modules_are_single_ones_at_exact_versions_beside_those_of_the_user(
    tmp_path: Path, hadoop: str, sdk: str
) -> None:
    (tmp_path / f"hadoop-client-api-{hadoop}.jar").touch()
    found = conf(settings(), tmp_path, {"spark.jars.packages": "io.delta:delta-spark_2.13:4.0.0"})
    packages = found["spark.jars.packages"].split(",")
    assert packages[0] == "io.delta:delta-spark_2.13:4.0.0"
    assert packages[1] == f"org.apache.hadoop:hadoop-aws:{hadoop}"
    assert all(each.endswith(f":{sdk}") for each in packages[2:])
    assert "software.amazon.awssdk:bundle" in found["spark.jars.excludes"]
    # From 3.5.0 on S3A loads a class of the accelerator's even where that is off.
    assert "accelerator" not in found["spark.jars.excludes"]


def test_where_the_modules_are_none_is_fetched(home: Path) -> None:
    (home / "hadoop-aws-3.4.2.jar").touch()
    assert "spark.jars.packages" not in conf(settings(), home, submitted=True)


def test_too_late_or_unknown_is_one_line_with_the_way_out(home: Path, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be added any more") as caught:
        conf(settings(), home, submitted=True)
    assert "-s3a" in caught.value.hint
    assert "hadoop-aws:3.4.2" in caught.value.hint
    with pytest.raises(SetupError, match=r"hadoop-aws 9\.9\.9"):
        jars.coordinates("9.9.9")


def test_s3a_is_told_what_the_job_says_and_no_secret(home: Path) -> None:
    found = conf(settings(endpoint="http://minio:9000", retries=3, timeout="30s", profile="lab"), home)
    assert {name.removeprefix("spark.hadoop.fs.s3a."): value for name, value in found.items() if "s3a" in name} == {
        "aws.credentials.provider": "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider",
        "endpoint": "http://minio:9000",
        "connection.ssl.enabled": "false",
        "path.style.access": "true",
        "endpoint.region": "us-east-1",
        "attempts.maximum": "4",
        "connection.timeout": "30s",
    }
    assert found["spark.driver.extraJavaOptions"] == found["spark.executor.extraJavaOptions"] == "-Daws.profile=lab"


def test_the_side_of_the_input_counts_and_the_users_conf_wins(home: Path) -> None:
    job = settings(endpoint="https://out", input={"endpoint": "https://in", "anonymous": True, "region": "eu-west-1"})
    found = conf(job, home, {"spark.hadoop.fs.s3a.endpoint": "https://mine"})
    assert "spark.hadoop.fs.s3a.endpoint" not in found
    assert found["spark.hadoop.fs.s3a.endpoint.region"] == "eu-west-1"
    assert found["spark.hadoop.fs.s3a.connection.ssl.enabled"] == "true"
    assert "Anonymous" in found["spark.hadoop.fs.s3a.aws.credentials.provider"]


def test_a_pem_file_without_a_trust_store_is_refused_with_the_way_out(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="wants a trust store") as caught:
        conf(settings(ca="/etc/ca.pem"), home)
    assert "keytool" in caught.value.hint
    own = {"spark.driver.extraJavaOptions": "-Djavax.net.ssl.trustStore=/ca.p12"}
    assert conf(settings(ca="/etc/ca.pem"), home, own)
