"""Spark on S3: the Java modules for ``s3a://``, and their settings. Used only if Spark itself reads from S3.

pyspark comes without hadoop-aws. The "bundle" of the AWS SDK has hundreds of megabytes; three single modules with their
dependencies (13 MB) are enough (docs/decisions/0006-spark-reader.md). This module handles no credentials: the JVMs find
them by themselves.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from job.config.score_settings import Settings
from job.config.settings import StorageSide
from job.errors import ConfigurationError, SetupError

log = logging.getLogger(__name__)

SDK = {"3.4.2": "2.29.52", "3.5.0": "2.35.4"}
"""For each version of Hadoop the version of the AWS SDK with which its hadoop-aws was built."""

_MODULES = ("s3", "s3-transfer-manager", "sts")
"""Modules of the AWS SDK. kms is not among them: only client-side encryption needs it, which is a module of its own."""
_EXCLUDED = (
    # the whole SDK in one jar
    "software.amazon.awssdk:bundle",
    # Spark already has these
    "io.netty:*",
    "org.slf4j:*",
    "org.apache.httpcomponents:*",
    "commons-codec:*",
    "commons-logging:*",
)
_CHAIN = "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider"
"""Looks for credentials where boto3 does: environment, web identity, profile, container and instance roles."""
_ANONYMOUS = "org.apache.hadoop.fs.s3a.AnonymousAWSCredentialsProvider"
_PACKAGES, _EXCLUDES = "spark.jars.packages", "spark.jars.excludes"
_JAVA = ("spark.driver.extraJavaOptions", "spark.executor.extraJavaOptions")


def needed(settings: Settings) -> bool:
    """Whether Spark reads from S3 in this job."""
    reads = settings.input.reader == "spark"
    return reads and settings.input.uri.lower().startswith(("s3:", "s3a:", "s3n:"))


def conf(settings: Settings, jars: Path, given: Mapping[str, str], *, submitted: bool) -> dict[str, str]:
    """Options of the Spark session for S3; empty if Spark does not read from S3.

    Parameters
    ----------
    settings
        The job.
    jars
        The folder of Spark's jars.
    given
        Options that are already set. They win, but packages and Java options are added to them.
    submitted
        Whether spark-submit has started the JVM. Then packages can no longer be added.

    Raises
    ------
    SetupError
        The modules are missing, and cannot be added.
    ConfigurationError
        ``storage.ca`` is set, and no trust store for Java.
    """
    if not needed(settings):
        return {}
    found = {**_packages(jars, given, submitted=submitted), **_access(settings.storage.side("input"), given)}
    return {name: value for name, value in found.items() if name not in given or name in (_PACKAGES, _EXCLUDES, *_JAVA)}


def coordinates(hadoop: str) -> tuple[str, ...]:
    """The Maven coordinates of the modules for a version of Hadoop.

    Raises
    ------
    SetupError
        The version of Hadoop is not in `SDK`.
    """
    sdk = SDK.get(hadoop)
    if sdk is None:
        raise SetupError(
            f"Spark reads S3 through hadoop-aws {hadoop}, and the AWS SDK that belongs to it is not known here",
            hint=f"Use the pyspark of uv.lock (Hadoop {', '.join(SDK)}), put the jars into Spark's jars folder, or use "
            "input.reader: direct.",
        )
    return (f"org.apache.hadoop:hadoop-aws:{hadoop}", *(f"software.amazon.awssdk:{name}:{sdk}" for name in _MODULES))


def _packages(jars: Path, given: Mapping[str, str], *, submitted: bool) -> dict[str, str]:
    mentioned = " ".join(given.get(name, "") for name in ("spark.jars", _PACKAGES, "spark.driver.extraClassPath"))
    if "hadoop-aws" in mentioned or next(jars.glob("hadoop-aws-*.jar"), None) is not None:
        return {}
    (client,) = [*jars.glob("hadoop-client-api-*.jar")][:1] or [Path("hadoop-client-api-unknown.jar")]
    modules = coordinates(client.stem.removeprefix("hadoop-client-api-"))
    if submitted:
        raise SetupError(
            "Spark has no modules for s3:// and was started by spark-submit, so they cannot be added any more",
            hint="Use the image whose tag ends with -s3a, or pass --packages " + ",".join(modules),
        )
    log.info("Spark fetches the modules for s3:// (13 MB, once) from Maven Central")
    return {
        _PACKAGES: ",".join(filter(None, (given.get(_PACKAGES), *modules))),
        _EXCLUDES: ",".join(filter(None, (given.get(_EXCLUDES), *_EXCLUDED))),
    }


def _access(side: StorageSide, given: Mapping[str, str]) -> dict[str, str]:
    """The ``storage`` settings of the input as options of S3A."""
    found = {"aws.credentials.provider": _ANONYMOUS if side.anonymous else _CHAIN}
    if side.endpoint:
        found["endpoint"] = side.endpoint
        found["connection.ssl.enabled"] = str(not side.endpoint.lower().startswith("http:")).lower()
    if side.path_style is not None or side.endpoint:
        found["path.style.access"] = str(side.path_style is not False).lower()
    if side.region or side.endpoint:
        found["endpoint.region"] = side.region or "us-east-1"
    if side.retries is not None:
        found["attempts.maximum"] = str(side.retries + 1)
    if side.timeout:
        found["connection.timeout"] = f"{max(1, round(side.timeout))}s"
    settings = {f"spark.hadoop.fs.s3a.{name}": value for name, value in found.items()}
    if side.ca and not any("javax.net.ssl.trustStore" in given.get(name, "") for name in _JAVA):
        raise ConfigurationError(
            f"storage.ca {side.ca!r} is a PEM file, and Spark's Java wants a trust store",
            hint="Make one (keytool -importcert -file ca.pem -keystore ca.p12 -storepass changeit -noprompt) and name "
            "it in spark.conf, as spark.driver.extraJavaOptions: -Djavax.net.ssl.trustStore=/path/ca.p12 and as "
            "spark.executor.extraJavaOptions; or use input.reader: direct.",
        )
    if side.profile:
        for name in _JAVA:
            settings[name] = f"{given.get(name, '')} -Daws.profile={side.profile}".strip()
    return settings
