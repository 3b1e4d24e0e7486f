"""What tests share: fixed seeds, a clean environment, one S3 server and one Spark session per process."""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# Helpers assert, too: what they compared is to be seen.
pytest.register_assert_rewrite("tests.chaos", "tests.support")

from tests.support import shares  # noqa: E402
from tests.support.skips import pytest_make_collect_report, pytest_runtest_makereport  # noqa: E402

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# hooks: pytest finds them by their names in this file
__all__ = ["pytest_make_collect_report", "pytest_runtest_makereport"]

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test-secret-value",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
# pytest names the running test; pyspark hands its port and secret to the JVM by the environment.
_MAY_CHANGE = ("PYTEST_", "SSL_CERT_FILE", "SPARK_", "PYSPARK_", "HYPOTHESIS_", "KMP_")

_MAY_BE_GIVEN = ("AWS_CA_BUNDLE", "E2E_CACHE")

# A run under load is slow, not wrong. And a change is not refused for an example that another day would not have come
# upon: each run tries the same ones. `make test ARGS="--hypothesis-profile explore"` tries others, and prints what
# replays those that fail.
_CALM: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow], "print_blob": True}
settings.register_profile("manyfit", derandomize=True, **_CALM)
settings.register_profile("explore", **_CALM)
settings.load_profile("manyfit")


def pytest_configure(config: pytest.Config) -> None:
    """Without the machine's own credentials and settings: what a test needs it sets."""
    # The seed of the day is chosen once, before there are other processes: two that began on either side of midnight
    # would not have the same tests.
    os.environ.setdefault("CHAOS_SEED", time.strftime("%Y%j"))
    # Java 17 knows no file by a name with other letters than its locale has, and some machines say nothing of a locale.
    os.environ["LC_ALL"] = "C.UTF-8"
    # A proxy is for what is far away, and no server here is.
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1", "localhost"]))
    for name in [name for name in os.environ if name.startswith(("AWS_", "MANYFIT_")) and name not in _MAY_BE_GIVEN]:
        del os.environ[name]
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    # Each run flushes the disks of the whole machine once, which takes as long as whatever else is written there
    # (a build's gigabytes). No test cuts the power; tests/unit/run/test_power_cut.py looks when it is done.
    os.sync = lambda: None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Called where tests are spread over processes."""
    return shares.scheduler(config, log)


@pytest.fixture(autouse=True)
def same_seeds() -> None:
    """Every test starts from the same random numbers, alone or among others."""
    random.seed(0)
    np.random.seed(0)


@pytest.fixture(autouse=True)
def unchanged_environment() -> Iterator[None]:
    """No test leaves the environment or the working directory changed: the next one would run under it."""
    before, folder = _environment(), Path.cwd()
    yield
    after = _environment()
    os.environ.update({name: before[name] for name in before.keys() - after.keys()})
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    for name in changed:
        if name in before:
            os.environ[name] = before[name]
        else:
            del os.environ[name]
    left, here = Path.cwd(), folder
    os.chdir(folder)
    assert not changed, f"the test changed the environment and left it so: {', '.join(changed)}"
    assert left == here, f"the test left the working directory at {left}"


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_MAY_CHANGE)}


@dataclass(frozen=True)
class S3:
    """A real, small S3 server of this process."""

    endpoint: str
    """its address on the loopback"""

    def bucket(self, name: str | None = None) -> str:
        """A new, empty bucket."""
        name = name or f"test-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name

    def client(self) -> Any:
        """boto3, for what a test does behind our back."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )

    @property
    def storage(self) -> dict[str, Any]:
        """The ``storage`` section that reaches it."""
        return {"endpoint": self.endpoint, "region": "us-east-1", "path_style": True}


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of moto's S3 server: create-only puts, If-Match and ETags as on S3."""
    from job.cli.embedded_s3 import EmbeddedS3

    with EmbeddedS3() as server:
        yield server.endpoint


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> S3:
    """The S3 server, with its credentials in the environment."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return S3(s3_server)


@pytest.fixture
def spark(spark_session: SparkSession) -> Iterator[SparkSession]:
    """The session of all tests, without the options that the test before has set.

    One that reads files in pieces of 200 bytes would make thousands of tasks of the next one's table.
    """
    before = spark_session.conf.getAll
    yield spark_session
    conf = spark_session.conf
    changed = [name for name, value in conf.getAll.items() if value != before.get(name) and conf.isModifiable(name)]
    for name in changed:
        conf.set(name, before[name]) if name in before else conf.unset(name)


@pytest.fixture(scope="session")
def spark_session() -> Iterator[SparkSession]:
    """One session for all tests: two cores, four attempts a task, no web interface."""
    from job.config.settings import JobSettings
    from job.engine.spark.session import SparkEngine

    shares.assert_shared()
    job = JobSettings.model_validate(
        {
            "input": {"uri": "memory://in"},
            "recipe": {"function": "m:f"},
            "output": {"uri": "memory://out"},
            "spark": {"master": "local[2,4]"},
        }
    )
    # Spark's workers inherit the environment that the JVM starts in.
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        engine = SparkEngine(job)
    yield engine.session
    engine.stop()
