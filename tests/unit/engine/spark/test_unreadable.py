"""What Spark says about data that it cannot read becomes one line with a way out."""

from __future__ import annotations

import pytest

from job.engine.spark.unreadable import readable
from job.errors import ConfigurationError, InputError, ManyfitError
from job.plan.spark_read import TableRead

READ = TableRead(layout="columns", root="s3a://raw/table", format="csv")


@pytest.mark.parametrize(
    ("said", "kind", "told"),
    [
        (
            "java.lang.RuntimeException: Class org.apache.hadoop.fs.s3a.S3AFileSystem not found",
            ConfigurationError,
            "no file system for s3a://raw/table",
        ),
        (
            ": java.lang.NoClassDefFoundError: software/amazon/awssdk/auth/credentials/AwsCredentialsProvider",
            ConfigurationError,
            "no file system for s3a://raw/table",
        ),
        ("getFileStatus: ... (Service: S3, Status Code: 403, Request ID: 1)", InputError, "may not read s3a://raw"),
        (
            "[FAILED_READ_FILE.CANNOT_READ_FILE_FOOTER] footer of s3a://raw/table/a%20b.parquet.",
            InputError,
            "//raw/table/a b.parquet: it is damaged",
        ),
        (
            "[FAILED_READ_FILE.PARQUET_COLUMN_DATA_TYPE_MISMATCH] Encountered error while reading file "
            "s3a://raw/table/b.parquet. Data type mismatches when reading Parquet column `[n]`. Expected Spark type "
            "int, actual Parquet type INT64. SQLSTATE: KD001",
            InputError,
            r"raw/table/b.parquet: .*column `\[n\]`. Expected Spark type int, actual Parquet type INT64",
        ),
        (
            "[PARQUET_TYPE_ILLEGAL] Illegal Parquet type: INT64 (TIMESTAMP(NANOS,false)). SQLSTATE: 42846",
            InputError,
            "s3a://raw/table: it has time stamps in nanoseconds",
        ),
        (
            "[SOME_ERROR_OF_TOMORROW.OF_A_KIND] Column `n` is odd.\n\tat org.apache.Spark\nCaused by: x",
            InputError,
            r"could not read s3a://raw/table: \[SOME_ERROR_OF_TOMORROW.OF_A_KIND\] Column `n` is odd",
        ),
    ],
)
def test_a_table_that_spark_cannot_read_is_told_in_one_line(said: str, kind: type[ManyfitError], told: str) -> None:
    with pytest.raises(kind, match=told) as caught, readable(READ):
        raise RuntimeError(said)
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_what_spark_says_of_something_else_is_left_as_it_is() -> None:
    with pytest.raises(RuntimeError, match="out of memory"), readable(READ):
        raise RuntimeError("java.lang.OutOfMemoryError: out of memory")
