"""Mistakes in the values: refused before anything is created, in words that tell the way out."""

from __future__ import annotations

import pytest

from tests.chart.rendering import MINIMAL, Object, Refused, merged, minimal, render

SECRET = "canary-of-a-secret-value"

MISTAKES: dict[str, tuple[Object, list[str]]] = {
    "nothing": ({"job": None}, ["job.input.uri is not set"]),
    "a-section-less": ({"driver": None}, ["missing property 'driver'"]),
    "typo": ({"exectuor": {}}, ["exectuor"]),
    "typo-below": ({"executor": {"instance": 3}}, ["/executor", "instance"]),
    "typo-in-job": ({"job": {"input": {"urii": "x"}}}, ["/job/input", "urii"]),
    "typo-deep-in-job": ({"job": {"input": {"format": {"delimeter": ";"}}}}, ["/job/input/format", "delimeter"]),
    "typo-in-a-kubernetes-type": ({"pods": {"env": [{"name": "A", "vlaue": "1"}]}}, ["/pods/env/0", "vlaue"]),
    "typo-in-a-toleration": ({"driver": {"tolerations": [{"kye": "a"}]}}, ["/driver/tolerations/0", "kye"]),
    "wrong-choice": ({"job": {"input": {"layout": "object"}}}, ["/job/input/layout", "objects"]),
    "wrong-type": ({"executor": {"instances": "3"}}, ["/executor/instances", "want integer"]),
    "no-executor": ({"executor": {"instances": 0}}, ["/executor/instances", "minimum"]),
    "memory-without-unit": ({"executor": {"workerMemory": "1024"}}, ["/executor/workerMemory"]),
    "memory-unit-of-kubernetes": ({"driver": {"memory": "1GB"}}, ["/driver/memory"]),
    "cron": ({"schedule": {"cron": "every night"}}, ["/schedule/cron"]),
    "digest": ({"image": {"digest": "sha256:abc"}}, ["/image/digest"]),
    "spark-2": ({"sparkVersion": "3.5.1"}, ["/sparkVersion"]),
    "spark-conf-typo": ({"sparkConf": {"park.ui": "1"}}, ["/sparkConf"]),
    "code-name": ({"code": {"files": {"my-recipe.py": ""}}}, ["/code/files"]),
    "no-uri": ({"job": {"input": {"uri": ""}}}, ["job.input.uri is not set", "s3://"]),
    "no-recipe": ({"job": {"recipe": {"estimator": None}}}, ["neither estimator nor function", "_target_"]),
    "two-recipes": ({"job": {"recipe": {"function": "a:b"}}}, ["both estimator and function"]),
    "columns-without-key": ({"job": {"input": {"layout": "columns"}}}, ["job.input.key", "[store, item]"]),
    "keys-without-hive": ({"job": {"input": {"keys": ["a"]}}}, ["job.input.keys is for layout hive"]),
    "yaml-y": ({"job": {"recipe": {"target": True}}}, ["job.recipe.target has true", "quotes"]),
    "yaml-n-in-list": ({"job": {"recipe": {"features": ["x", False]}}}, ["job.recipe.features has false", "quotes"]),
    "yaml-y-in-schema": ({"job": {"input": {"schema": {"true": "int64"}}}}, ["job.input.schema", "quotes"]),
    "credentials-in-uri": ({"job": {"input": {"uri": f"s3://key:{SECRET}@raw/"}}}, ["job.input.uri holds credentials"]),
    "credentials-in-env": (
        {"pods": {"env": [{"name": "AWS_SECRET_ACCESS_KEY", "value": SECRET}]}},
        ["AWS_SECRET_ACCESS_KEY is a literal credential", "credentials.secretName"],
    ),
    "credentials-of-other-names": (
        {"driver": {"env": [{"name": name, "value": SECRET} for name in ("AZURE_STORAGE_KEY", "GITHUB_TOKEN", "APP_PASSWD")]}},
        ["AZURE_STORAGE_KEY is a literal", "GITHUB_TOKEN is a literal", "APP_PASSWD is a literal"],
    ),
    "credentials-in-a-sidecar": (
        {"executor": {"sidecars": [{"name": "logs", "image": "logs:1", "env": [{"name": "API_KEY", "value": SECRET}]}]}},
        ["executor.sidecars.logs.env: API_KEY is a literal credential"],
    ),
    "a-password-in-a-proxy": (
        {"pods": {"env": [{"name": "HTTPS_PROXY", "value": f"http://me:{SECRET}@proxy:3128"}]}},
        ["pods.env: the URL in HTTPS_PROXY holds a password", "valueFrom.secretKeyRef"],
    ),
    "a-pem-for-java": (
        {
            "caBundle": {"configMapName": "company-ca"},
            "job": {"input": {"layout": "columns", "key": ["store"], "reader": "spark"}},
            "executor": {"javaOptions": "-Djavax.net.ssl.trustStore=/ca.p12"},
        },
        ["1 mistake", "by Java, which wants a trust store", "driver.javaOptions"],
    ),
    "a-pem-for-the-event-log": (
        {"caBundle": {"secretName": "ca"}, "eventLog": {"enabled": True, "dir": "s3a://logs/"}},
        ["1 mistake", "writing the event log", "driver.javaOptions"],
    ),
    "a-variable-of-ours": (
        {"executor": {"env": [{"name": "JDK_JAVA_OPTIONS", "value": "-Da=b"}]}},
        ["JDK_JAVA_OPTIONS cannot be set", "JAVA_TOOL_OPTIONS"],
    ),
    "credentials-in-spark": (
        {"sparkConf": {"spark.hadoop.fs.s3a.secret.key": SECRET}},
        ["spark.hadoop.fs.s3a.secret.key", "credentials.secretName"],
    ),
    "credentials-in-jobs-spark": (
        {"job": {"spark": {"conf": {"spark.hadoop.fs.s3a.access.key": SECRET}}}},
        ["job.spark.conf.spark.hadoop.fs.s3a.access.key", "credentials.secretName"],
    ),
    "managed-setting": ({"sparkConf": {"spark.executor.memory": "4g"}}, ["use executor.memory"]),
    "managed-setting-in-job": ({"job": {"spark": {"conf": {"spark.executor.instances": 9}}}}, ["use executor.instances"]),
    "denied-setting": ({"sparkConf": {"spark.kubernetes.container.image": "x"}}, ["use image"]),
    "python-memory": ({"sparkConf": {"spark.executor.pyspark.memory": "1g"}}, ["executor.workerMemory"]),
    "rpc-secret": ({"sparkConf": {"spark.authenticate.secret": SECRET}}, ["security.rpc.existingSecret"]),
    "master": ({"job": {"spark": {"master": "local[2]"}}}, ["job.spark.master is given by the operator"]),
    "engine": ({"job": {"run": {"engine": "local"}}}, ["job.run.engine is local", "leave it unset"]),
    "code-by-path": (
        {"code": {"files": {"r.py": ""}}, "job": {"recipe": {"function": "r.py:fit", "estimator": None}}},
        ['write "r:fit"'],
    ),
    "name": ({"fullnameOverride": "Gapminder"}, ["/fullnameOverride"]),
    "dynamic": ({"dynamicAllocation": {"enabled": True, "minExecutors": 9, "maxExecutors": 3}}, ["(9) is above maxExecutors (3)"]),
    "kueue": ({"kueue": {"queueName": "q"}, "dynamicAllocation": {"enabled": True}}, ["kueue.elasticJobs"]),
    "a-schedule-that-is-none": (
        {"schedule": {"suspend": True, "timeZone": "UTC", "concurrencyPolicy": "Allow"}},
        ["3 mistake(s)", "schedule.suspend without schedule.cron", "schedule.timeZone without", "schedule.concurrencyPolicy without"],
    ),
    "a-suspended-schedule": ({"suspend": True, "schedule": {"cron": "@daily"}}, ["with schedule.cron set schedule.suspend"]),
    "a-monitor-of-nothing": ({"metrics": {"podMonitor": {"enabled": True}}}, ["metrics.podMonitor.enabled without metrics.enabled"]),
    "an-alert-that-is-off": ({"metrics": {"prometheusRule": {"noSuccessForHours": 36}}}, ["metrics.prometheusRule.enabled: set both"]),
    "instances-that-nobody-counts": (
        {"executor": {"instances": 5}, "dynamicAllocation": {"enabled": True}},
        ["executor.instances with dynamicAllocation.enabled", "maxExecutors"],
    ),
    "dns-of-nobody": ({"pods": {"dnsPolicy": "None"}}, ["pods.dnsConfig.nameservers"]),
    "no-seccomp": ({"security": {"seccompProfile": {"type": "Unconfined"}}}, ["RuntimeDefault or Localhost"]),
    "a-profile-without-a-file": ({"security": {"seccompProfile": {"type": "Localhost"}}}, ["localhostProfile go together"]),
    "a-password-in-the-proxy": ({"proxy": {"https": f"http://me:{SECRET}@proxy:3128"}}, ["proxy.https holds a password", "valueFrom.secretKeyRef"]),
    "a-proxy-without-a-scheme": ({"proxy": {"http": "proxy.example:3128"}}, ['proxy.http is "proxy.example:3128"', "http://proxy"]),
    "names-that-would-meet": (
        {"sparkConf": {"spark.kubernetes.executor.podNamePrefix": "mine"}},
        ["spark.kubernetes.executor.podNamePrefix cannot be set there"],
    ),
    "two-cas": ({"caBundle": {"configMapName": "a", "secretName": "b"}}, ["caBundle has both"]),
    "two-codes": ({"code": {"configMapName": "a", "files": {"a.py": ""}}}, ["code has both"]),
    "event-log-nowhere": ({"eventLog": {"enabled": True}}, ["eventLog.dir or eventLog.claimName"]),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_refused_and_named(name: str) -> None:
    values, expected = MISTAKES[name]

    with pytest.raises(Refused) as refused:
        render(merged(MINIMAL, values))

    for text in expected:
        assert text in str(refused.value)
    assert SECRET not in str(refused.value), "the message repeats a secret"


def test_variables_that_only_sound_like_credentials_are_let_through() -> None:
    names = ("AWS_WEB_IDENTITY_TOKEN_FILE", "GOOGLE_APPLICATION_CREDENTIALS", "TOKENIZERS_PARALLELISM", "HTTPS_PROXY")
    variables = [{"name": name, "value": "http://proxy:3128"} for name in names]
    assert render(minimal({"pods": {"env": variables}}))


def test_all_mistakes_are_reported_at_once() -> None:
    values: Object = {"job": {"input": {"uri": ""}, "output": {"uri": ""}, "spark": {"master": "x"}}}
    with pytest.raises(Refused, match="3 mistake"):
        render(minimal(values))


def test_an_empty_chart_says_what_to_write() -> None:
    with pytest.raises(Refused) as refused:
        render({})
    assert str(refused.value).count("for example") == 3


@pytest.mark.parametrize("release", ["1st", "a-release-name-that-is-longer-than-40-chars"])
def test_a_release_name_that_would_break_later_is_refused_now(release: str) -> None:
    with pytest.raises(Refused, match="at most 40 characters"):
        render(MINIMAL, release=release)


def test_a_document_that_no_argument_can_hold_is_refused() -> None:
    keys = [f"key-{number:08d}" for number in range(10_000)]
    with pytest.raises(Refused, match="longer than an argument"):
        render(minimal({"job": {"input": {"only": keys}}}))
