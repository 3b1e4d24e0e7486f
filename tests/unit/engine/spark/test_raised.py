"""What Java says when Spark does not start, as one line."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from py4j.protocol import Py4JJavaError, Py4JNetworkError

from job.engine.aside import aside
from job.engine.spark.raised import in_one_line, not_started
from job.errors import SetupError

CALL = "An error occurred while calling None.org.apache.spark.api.java.JavaSparkContext.\n"


def test_the_innermost_cause_is_told_and_not_the_call_that_python_made() -> None:
    text = (
        CALL + ": java.lang.RuntimeException: could not be done\n\tat org.apache.Some.where(Some.java:1)\n"
        "Caused by: java.io.FileNotFoundException: No such file or directory: s3a://logs/spark\n\t... 12 more\n"
    )

    error = not_started(RuntimeError(text))

    assert (
        error.message
        == "Spark did not start: java.io.FileNotFoundException: No such file or directory: s3a://logs/spark"
    )
    assert error.exit_code == 3


def test_a_missing_file_system_for_s3a_names_the_image_that_has_it() -> None:
    missing = "java.lang.ClassNotFoundException: Class org.apache.hadoop.fs.s3a.S3AFileSystem not found"

    error = not_started(
        RuntimeError(f"{CALL}: java.lang.RuntimeException: {missing}\n\tat a.B.c(B.java:1)\nCaused by: {missing}\n")
    )

    assert missing in error.message
    assert "-s3a" in error.hint


def test_an_error_that_is_not_javas_is_told_by_its_first_line() -> None:
    assert not_started(RuntimeError("Java gateway process exited\nbefore sending its port")).message.endswith(
        "process exited"
    )
    assert not_started(TimeoutError()).message.endswith("TimeoutError")


def test_a_proxy_in_the_way_of_the_api_server_is_named() -> None:
    text = f"{CALL}: io.fabric8.KubernetesClientException: x\nCaused by: java.net.NoRouteToHostException: No route to host\n"
    behind = {"HTTPS_PROXY": "http://proxy.example:3128"}

    assert "HTTPS_PROXY (http://proxy.example:3128)" in not_started(RuntimeError(text), behind).hint
    for environ in ({}, {**behind, "NO_PROXY": ".svc"}):
        assert not_started(RuntimeError(text), environ).hint.startswith("Look at spark.master")
    other = f"{CALL}: java.lang.IllegalArgumentException: requirement failed\n"
    assert not_started(RuntimeError(other), behind).hint.startswith("Look at spark.master")


class Jvm:
    """The end of py4j's connection: it answers until it is stopped."""

    stopped = False

    def send_command(self, _: str) -> str:
        if self.stopped:
            raise Py4JNetworkError("connection refused")
        return "ysjava.lang.NoClassDefFoundError: org/apache/Some"


def test_an_error_of_javas_is_told_when_its_jvm_has_ended() -> None:
    jvm = Jvm()
    java = SimpleNamespace(_target_id="o1", _gateway_client=jvm)

    def call() -> None:
        raise Py4JJavaError("An error occurred", java)

    with pytest.raises(SetupError, match=r"Spark ended the job: .*NoClassDefFoundError") as caught:
        aside(call)
    jvm.stopped = True
    assert "NoClassDefFoundError: org/apache/Some" in str(caught.value)


def test_an_error_whose_jvm_ended_at_once_says_so() -> None:
    jvm = Jvm()
    jvm.stopped = True

    def call() -> None:
        raise Py4JJavaError("An error occurred", SimpleNamespace(_target_id="o1", _gateway_client=jvm))

    with pytest.raises(SetupError, match="its text is lost"):
        aside(call)


TRACE = """An error occurred while calling o42.collect.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 1.0 failed 4 times
\tat org.apache.spark.scheduler.DAGScheduler.abortStage(DAGScheduler.scala:2856)
Caused by: java.io.IOException: No space left on device
\tat java.base/java.io.FileOutputStream.writeBytes(Native Method)
"""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (TRACE, "IOException: No space left on device"),
        (
            "[PARQUET_TYPE_ILLEGAL] Illegal Parquet type: INT64 (TIMESTAMP(NANOS,false)). SQLSTATE: 42846\n  at x.y.Z",
            "[PARQUET_TYPE_ILLEGAL] Illegal Parquet type: INT64 (TIMESTAMP(NANOS,false)).",
        ),
        (
            "org.apache.spark.SparkNumberFormatException: [CAST_INVALID_INPUT] The value 'secret' of the type \"STRING\"",
            "[CAST_INVALID_INPUT] The value '...' of the type \"STRING\"",
        ),
        ("An error occurred while calling None.x.\n\tat a.b.C\n", ""),
        ("x" * 1000, "x" * 400 + "..."),
        ("", ""),
    ],
)
def test_whatever_spark_says_is_one_line_without_stack_or_data(text: str, line: str) -> None:
    assert in_one_line(text) == line


def test_executors_that_were_refused_too_often_are_told_where_spark_only_says_that_it_stopped() -> None:
    text = f"{CALL}: java.lang.IllegalStateException: Spark context stopped while waiting for backend\n"
    assert "refused (quota, admission)" in not_started(RuntimeError(text), {}).hint
