"""Log records: readable on a terminal, one JSON object a line elsewhere, never a credential, never two lines for one."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from job.cli import logs
from job.config.redaction import HIDDEN, is_secret_name, is_secret_spark_name, is_secret_text, redact, uri_secret


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    with warnings.catch_warnings():
        yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    logging.captureWarnings(False)
    for name in ("job", "manyfit"):
        logging.getLogger(name).setLevel(logging.NOTSET)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def records(write: Any) -> list[dict[str, Any]]:
    out = io.StringIO()
    logs.setup("json", stream=out)
    write(logging.getLogger("job.x"))
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_record_is_one_line_of_json_with_its_extras() -> None:
    (line,) = records(lambda log: log.info("trained %d\nof %s", 3, "é", extra={"event": "progress", "key": "a\u2028b"}))
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "job.x",
        "message": "trained 3\nof é",
        "event": "progress",
        "key": "a\u2028b",
    }


def test_an_exception_comes_with_its_traceback_on_the_same_line() -> None:
    def write(log: logging.Logger) -> None:
        try:
            raise ValueError("https://u:hunter2@h/")
        except ValueError:
            log.exception("failed")

    (line,) = records(write)
    assert "Traceback" in line["exception"]
    assert "hunter2" not in json.dumps(line)


def test_an_extra_cannot_replace_what_every_record_has_nor_break_it() -> None:
    (line,) = records(lambda log: log.info("said", extra={"level": "x", "thing": object(), "many": {1, 2}}))
    assert line["level"] == "info"
    assert line["many"] == [1, 2]
    assert "object" in line["thing"]


def test_text_shows_control_characters_instead_of_obeying_them() -> None:
    out = io.StringIO()
    logs.setup("text", stream=out)
    logging.getLogger("job.x").warning("key \x1b[31m and \u2028 and \r")
    assert out.getvalue().endswith(" WARNING key \\x1b[31m and \\u2028 and \\r\n")


def test_a_terminal_gets_text_and_everything_else_json() -> None:
    out, terminal = io.StringIO(), Terminal()
    logs.setup(stream=out)
    logging.getLogger("job.x").info("said")
    logs.setup(stream=terminal)
    logging.getLogger("job.x").info("said [bold] %s", "\x1b[31m")
    assert json.loads(out.getvalue())["message"] == "said"
    assert "said [bold] \\x1b[31m" in terminal.getvalue()
    logging.getLogger("job.x").error("long %s", "x" * 300)
    assert "error: " in terminal.getvalue()
    assert "x" * 300 in terminal.getvalue()


def test_setting_up_twice_says_everything_once() -> None:
    out = io.StringIO()
    logs.setup("json", stream=out)
    logs.setup("json", stream=out)
    logging.getLogger("job.x").info("said")
    assert len(out.getvalue().splitlines()) == 1


def test_libraries_are_quiet_and_debug_records_of_ours_need_verbose() -> None:
    out = io.StringIO()
    logs.setup("json", stream=out)
    for name in ("botocore.credentials", "py4j.clientserver", "urllib3", "deltalake", "some.library"):
        logging.getLogger(name).info("noise")
    logging.getLogger("py4j.clientserver").error("connection lost")
    logging.getLogger("job.x").debug("detail")
    assert out.getvalue() == ""
    logs.setup("json", stream=out, verbose=True)
    logging.getLogger("job.x").debug("detail")
    logging.getLogger("botocore").debug("noise")
    assert [json.loads(line)["message"] for line in out.getvalue().splitlines()] == ["detail"]


def test_records_go_to_standard_error_so_that_results_can_be_piped() -> None:
    program = (
        "import logging\nfrom job.cli import logs\nlogs.setup()\nlogging.getLogger('job').info('said')\nprint('result')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "result\n"
    assert json.loads(done.stderr)["message"] == "said"


SECRETS = [
    "GET https://b.s3.amazonaws.com/k?X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F2&X-Amz-Signature=hunter2hunter2&x=1",
    "https://acc.blob.core.windows.net/c?sv=1&sig=hunter2hunter2",
    "s3://key:hunter2hunter2@bucket/x",
    "Authorization: Bearer hunter2hunter2",
    "{'Authorization': 'AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/x, Signature=hunter2hunter2'}",
    "AWS_SECRET_ACCESS_KEY=hunter2hunter2",
    '{"secret_access_key": "hunter2hunter2", "x": 1}',
    "aws_session_token = hunter2hunter2",
    "spark.hadoop.fs.s3a.secret.key=hunter2hunter2",
    "x-amz-security-token: hunter2hunter2",
    "password=hunter2hunter2",
    "-----BEGIN EC PRIVATE KEY-----\nhunter2hunter2\n-----END EC PRIVATE KEY-----",
    "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJodW50ZXIyIn0.hunter2hunter2",
]


@pytest.mark.parametrize("text", SECRETS)
def test_no_credential_is_written_in_either_format(text: str) -> None:
    for log_format in ("json", "text"):
        out = io.StringIO()
        logs.setup(log_format, stream=out)
        logging.getLogger("job.x").warning("%s", text, extra={"detail": {"url": [text]}, "session_token": "hunter2"})
        assert "hunter2" not in out.getvalue()
        assert "AKIA" not in out.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        HIDDEN,
        f"aws_secret_access_key = {HIDDEN}",
        "trained df1 in 0.3 s",
        "key Congo, Dem. Rep.",
        "s3://bucket/a=b/c?d",
        "recipe.estimator.token_pattern = x",
        "https://h/b?x=1",
    ],
)
def test_what_is_no_credential_is_left_as_it_is(text: str) -> None:
    assert redact(text) == text
    assert not is_secret_text(text)


def test_names_of_credentials_are_told_from_names_that_only_look_like_them() -> None:
    for name in (
        "secret_key",
        "AWS_SECRET_ACCESS_KEY",
        "accessKeyId",
        "password",
        "token",
        "sas_token",
        "azure_storage_account_key",
    ):
        assert is_secret_name(name), name
    for name in ("token_pattern", "tokenizer", "signing_key", "key", "keys", "key_columns", "passenger", "schema"):
        assert not is_secret_name(name), name
    assert is_secret_spark_name("spark.hadoop.fs.s3a.access.key")
    assert not is_secret_spark_name("spark.authenticate.secret.file")
    assert not is_secret_spark_name("spark.kubernetes.driver.secrets.database-password")
    assert not is_secret_spark_name("spark.kubernetes.executor.secretKeyRef.DB_PASSWORD")


def test_a_user_name_in_an_azure_uri_is_a_container() -> None:
    assert uri_secret("abfss://container@account.dfs.core.windows.net/x") is None
    assert uri_secret("s3://name@bucket/x") == "a user name"
