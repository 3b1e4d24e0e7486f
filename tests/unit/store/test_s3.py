"""S3 when things go wrong: what is told, how fast, and what is repeated; and the settings that reach the server."""

from __future__ import annotations

import json
import os
import pickle
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from job.config.settings import StorageSide
from job.errors import (
    ChangedError,
    ConfigurationError,
    CredentialsError,
    DeniedError,
    InputError,
    NotFoundError,
    PartitionError,
    StoreError,
    UnreachableError,
)
from job.store import Store, open_store
from job.worker.direct import read_ahead
from job.worker.operation import Item
from tests.support.s3_double import S3Double, s3_double

Operation = Callable[[Store], Any]
OPERATIONS: dict[str, Operation] = {
    "list": lambda store: store.list(),
    "get": lambda store: store.get("there"),
    "create": lambda store: store.create("new", b"1"),
    "put": lambda store: store.put("new", b"1"),
}


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def double() -> Iterator[S3Double]:
    with s3_double() as running:
        running.objects["p/there"] = (b"content of the object", {})
        yield running


def opened(double: S3Double, **settings: Any) -> Store:
    return open_store("s3://bkt/p/", StorageSide(endpoint=double.endpoint, **settings), what="input")


# ---- what is told


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("answer", "error", "told", "hint"),
    [
        ("404 NoSuchBucket", NotFoundError, "the input bucket 'bkt' does not exist at http://127.0.0.1:", "Create it"),
        ("403 AccessDenied", DeniedError, "AccessDenied", "Check the credentials"),
        ("403 SignatureDoesNotMatch", CredentialsError, "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
        ("403 InvalidAccessKeyId", CredentialsError, "InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"),
        ("400 ExpiredToken", CredentialsError, "ExpiredToken", "has expired"),
        ("400 AuthorizationHeaderMalformed", StoreError, "is in region eu-west-1", "storage.region: eu-west-1"),
        ("403 RequestTimeTooSkewed", CredentialsError, "2026-11-23T17:00:00Z", "clock"),
    ],
)
def test_a_refusal_is_one_line_that_names_the_bucket_and_what_to_do(
    double: S3Double, operation: str, answer: str, error: type[StoreError], told: str, hint: str
) -> None:
    double.script = [answer] * 20

    with pytest.raises(error) as caught:
        OPERATIONS[operation](opened(double))

    assert type(caught.value) is error
    assert told in caught.value.message
    assert "bkt" in caught.value.message or "clock" in caught.value.message
    assert double.endpoint in caught.value.message
    assert hint in caught.value.hint
    assert "\n" not in caught.value.message
    redirected = operation == "list" and "Malformed" in answer  # boto3 follows a bucket to its region
    assert len(double.requests) == 1 + redirected, "a classified refusal is not repeated"


def test_an_object_that_is_refused_is_a_row_and_expired_credentials_end_the_reading(double: S3Double) -> None:
    store = opened(double)
    objects = [{"name": "there", "etag": None}]
    items = [Item(key=key, data="", content=None, bytes=1, objects=objects) for key in "ab"]
    double.script = ["403 AccessDenied"]

    refused, whole = sorted((read for _, read in read_ahead(store, items)), key=str)

    assert {type(refused), type(whole)} == {PartitionError, list}
    double.script = ["400 ExpiredToken"] * 4
    with pytest.raises(InputError, match="ExpiredToken"):
        list(read_ahead(store, items))


def test_a_denied_head_is_not_read_as_absent(double: S3Double) -> None:
    double.script = ["403"]

    with pytest.raises(DeniedError):
        opened(double).head("there")


def test_a_head_that_is_refused_with_400_points_at_the_session_token(double: S3Double) -> None:
    double.script = ["400 ExpiredToken"]  # the answer to a HEAD has no body that could say so

    with pytest.raises(StoreError) as caught:
        opened(double).head("there")

    assert "session token has expired" in caught.value.hint


def test_without_credentials_nothing_is_sent(double: S3Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    for operation in OPERATIONS.values():
        with pytest.raises(DeniedError, match="no credentials for the input bucket 'bkt' at http"):
            operation(opened(double))
    assert double.requests == []


def test_an_unknown_profile_is_a_configuration_error(double: S3Double) -> None:
    with pytest.raises(ConfigurationError, match="profile 'nobody'"):
        opened(double, profile="nobody").list()


@pytest.mark.parametrize(
    ("uri", "settings", "told"),
    [
        ("s3://", {}, "names no bucket"),
        ("s3:bucket/x", {}, "is not a URI"),
        ("s4://bucket/x", {}, "unknown scheme 's4://'"),
        ("s3://key:secret@bucket/x", {}, "holds credentials"),
        ("s3://bucket/x?X-Amz-Signature=abc", {}, "holds credentials"),
        ("s3://bucket/x//y", {}, "an empty, '.' or '..' segment"),
        ("s3://bucket/../y", {}, "an empty, '.' or '..' segment"),
        ("", {}, "is empty"),
        ("file://host/x", {}, "names a host"),
    ],
)
def test_a_uri_that_cannot_be_meant_is_refused_at_once(uri: str, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as caught:
        open_store(uri, StorageSide(**settings))

    assert "secret" not in str(caught.value)
    assert "abc" not in str(caught.value)


def test_a_misspelt_scheme_is_guessed() -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_store("s33://bucket/x")

    assert "Perhaps you meant s3://" in caught.value.hint


def test_a_web_page_is_not_a_listing(double: S3Double) -> None:
    double.script = ["page"] * 9

    with pytest.raises(UnreachableError, match="does not answer as an S3 server does") as caught:
        opened(double).list()
    assert "web console" in caught.value.hint


def test_one_place_is_written_in_one_way() -> None:
    assert open_store("S3A://bkt/a%20b/").uri == "s3://bkt/a%20b"
    assert open_store("s3://bkt/").uri == "s3://bkt"
    assert open_store("file:///tmp/a%20b/").uri == "/tmp/a b"
    assert open_store("/tmp/a%20b/").uri == "/tmp/a%20b"
    assert open_store("abfss://box@acct.dfs.core.windows.net/x/").uri == "az://box/x"
    assert open_store("gcs://bkt/x").uri == "gs://bkt/x"


# ---- how fast


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_closed_port_is_told_at_once(operation: str) -> None:
    # Bound by us, so that nobody else listens there meanwhile.
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        store = open_store("s3://bkt/p", StorageSide(endpoint=f"http://127.0.0.1:{port}"))
        started = time.monotonic()

        with pytest.raises(
            UnreachableError, match=f"http://127.0.0.1:{port} for the output bucket 'bkt': connection refused"
        ):
            OPERATIONS[operation](store)

        # Silence would be waited for three times, for 8 seconds.
        assert time.monotonic() - started < 20


def test_an_endpoint_that_never_answers_is_told_within_seconds() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        # The default is 8 seconds and two repetitions, 24 in all; shortened here.
        store = open_store("s3://bkt/p", StorageSide(endpoint=endpoint, timeout=0.3))
        for operation in OPERATIONS.values():
            started = time.monotonic()
            with pytest.raises(UnreachableError):
                operation(store)
            assert time.monotonic() - started < 20


# ---- what is repeated


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("fault", ["500", "503 SlowDown", "429", "reset", "hang"])
def test_a_passing_fault_is_repeated(double: S3Double, operation: str, fault: str) -> None:
    double.script = [fault]

    OPERATIONS[operation](opened(double, timeout=2.0) if fault == "hang" else opened(double))

    # Whoever is impatient may, on a slow machine, ask once more than need be; never more often than first contact allows.
    assert len(double.requests) in ((2, 3) if fault == "hang" else (2,))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_lasting_fault_ends_when_the_retries_do(double: S3Double, operation: str) -> None:
    store = opened(double, retries=3)
    store.check()
    double.requests.clear()
    double.script = ["503 SlowDown"] * 50

    with pytest.raises(UnreachableError, match="503"):
        OPERATIONS[operation](store)

    assert len(double.requests) == 4


def test_no_retries_means_one_request(double: S3Double) -> None:
    double.script = ["503"] * 9

    with pytest.raises(UnreachableError):
        opened(double, retries=0).get("there")

    assert len(double.requests) == 1


@pytest.mark.parametrize("fault", ["after:reset", "after:500"])
def test_a_create_whose_answer_was_lost_is_known_as_ours(double: S3Double, fault: str) -> None:
    double.script = [fault]

    assert opened(double).create("new", b"mine") is True
    assert double.objects["p/new"][0] == b"mine"
    assert double.methods() == ["PUT", "PUT", "HEAD"]


def test_a_create_that_lost_to_another_is_not_taken_for_ours(double: S3Double) -> None:
    store = opened(double)
    assert store.create("new", b"same bytes") is True
    double.script = ["after:500"]

    assert opened(double).create("new", b"same bytes") is False
    assert double.objects["p/new"][0] == b"same bytes"


def test_a_409_on_create_is_repeated_until_it_is_decided(double: S3Double) -> None:
    double.script = ["409 ConditionalRequestConflict", "ok", "ok"]

    assert opened(double).create("new", b"1") is True
    assert double.methods() == ["PUT", "HEAD", "PUT"]


def test_ensure_after_a_lost_answer_by_another_process_is_success(double: S3Double) -> None:
    double.objects["p/m"] = (b"12345", {})

    assert opened(double).ensure("m", b"54321") is False
    with pytest.raises(StoreError, match="has 5 bytes, but its content has 2"):
        opened(double).ensure("m", b"12")


def test_a_body_that_breaks_off_is_completed_and_never_short(double: S3Double) -> None:
    double.script = ["cut"]

    assert bytes(opened(double).get("there")) == b"content of the object"


def test_a_changed_object_is_never_mixed(double: S3Double) -> None:
    store = opened(double)
    info = store.head("there")
    assert info is not None
    double.objects["p/there"] = (b"replaced", {})

    with pytest.raises(ChangedError):
        store.get("there", if_match=info.etag)


def test_an_error_sent_with_status_200_is_an_error_and_repeated(double: S3Double) -> None:
    double.script = ["200 InternalError"]

    assert opened(double).list()["name"].to_pylist() == ["there"]


def test_a_listing_that_breaks_off_is_asked_for_again(double: S3Double) -> None:
    store = opened(double)
    store.check()
    double.script = ["cut"]

    assert store.list()["name"].to_pylist() == ["there"]


def test_before_the_first_answer_a_store_is_given_up_soon(double: S3Double) -> None:
    store = opened(double)
    link = store._link  # type: ignore[attr-defined]
    assert (link.timeout, link.retries) == (8.0, 2)

    store.get("there")
    assert (link.timeout, link.retries) == (60.0, 10)


def test_a_store_that_was_reached_is_retried_with_patience_where_it_is_sent(
    double: S3Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(double, retries=6)
    store.check()
    sent = pickle.dumps(store)
    monkeypatch.setattr("job.store.link._links", {})  # as in another process
    again = pickle.loads(sent)
    double.script = ["503"] * 5

    assert bytes(again.get("there")) == b"content of the object"


def test_a_store_without_conditional_puts_takes_a_declared_single_writer(double: S3Double) -> None:
    store = opened(double, single_writer=True)
    double.script = ["ok", "501 NotImplemented", "501 NotImplemented", "501 NotImplemented"]

    assert store.create("new", b"1") is True
    assert store.create("new", b"2") is False
    assert double.objects["p/new"][0] == b"1"


# ---- listing


def test_names_that_the_server_does_not_encode_are_taken_as_they_are(double: S3Double) -> None:
    double.objects["p/a+b%20c d"] = (b"", {})
    double.encodes = False

    assert "a+b%20c d" in opened(double).list()["name"].to_pylist()


def test_directory_markers_and_unaddressable_names_are_listed_and_refused_by_name(double: S3Double) -> None:
    for name in ["p/", "p/folder/", "p//x", "p/a//b"]:
        double.objects[name] = (b"", {})
    store = opened(double)

    assert store.list()["name"].to_pylist() == ["", "/x", "a//b", "folder/", "there"]
    for name in ["", "/x", "a//b", "folder/"]:
        with pytest.raises(PartitionError) as caught:
            store.get(name)
        assert caught.value.reason == "unsupported_key"


@pytest.mark.parametrize("count", [0, 999, 1000, 1001, 10_001])
def test_every_page_is_fetched(double: S3Double, count: int) -> None:
    double.keys = sorted(f"p/{number:06d}.csv.gz" for number in range(count)) or ["q"]
    seen: list[int] = []

    table = opened(double).list(progress=seen.append)

    assert table["name"].to_pylist() == [f"{number:06d}.csv.gz" for number in range(count)]
    assert table["modified"].to_pylist()[:1] == [datetime(2026, 11, 23, 15, 14, 46, tzinfo=UTC)][:count]
    assert seen[-1] == count


def test_the_clock_is_the_servers(double: S3Double) -> None:
    assert opened(double).now() == datetime(2026, 11, 23, 15, 14, 46, tzinfo=UTC)


# ---- settings


def test_anonymous_requests_are_not_signed(double: S3Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    store = opened(double, anonymous=True)

    store.list()
    store.get("there")

    assert all("authorization" not in each.headers for each in double.requests)
    assert store.delta()[1]["aws_skip_signature"] == "true"


def test_session_token_region_and_key_reach_the_server(double: S3Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "the-token")
    store = opened(double, region="eu-central-7")

    store.list()
    store.get("there")

    for request in double.requests:
        assert "the-key/" in request.headers["authorization"]
        assert "/eu-central-7/s3/" in request.headers["authorization"]
        assert request.headers["x-amz-security-token"] == "the-token"
    assert store.delta()[1]["aws_session_token"] == "the-token"


def test_a_profile_gives_credentials_region_and_endpoint(
    double: S3Double, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "credentials").write_text("[team]\naws_access_key_id = team-key\naws_secret_access_key = s\n")
    (tmp_path / "config").write_text(f"[profile team]\nregion = ap-south-1\nendpoint_url = {double.endpoint}\n")
    store = open_store("s3://bkt/p", StorageSide(profile="team"))

    store.list()
    store.get("there")

    assert all("team-key/" in each.headers["authorization"] for each in double.requests)
    assert all("/ap-south-1/" in each.headers["authorization"] for each in double.requests)
    assert len(double.requests) == 2


def test_temporary_credentials_are_renewed_by_boto3(
    double: S3Double, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "issue.sh"
    script.write_text(
        f"#!/bin/sh\nn=$(cat {tmp_path}/n 2>/dev/null || echo 0); n=$((n+1)); echo $n > {tmp_path}/n\n"
        'echo "{\\"Version\\":1,\\"AccessKeyId\\":\\"temp-$n\\",\\"SecretAccessKey\\":\\"s\\",\\"SessionToken\\":\\"t\\",'
        '\\"Expiration\\":\\"$(date -u -d "+1 minute" +%Y-%m-%dT%H:%M:%SZ)\\"}"\n'
    )
    script.chmod(0o755)
    (tmp_path / "config").write_text(f"[profile temp]\ncredential_process = {script}\n")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    store = opened(double, profile="temp")

    store.get("there")
    store.get("there")

    keys = [each.headers["authorization"].partition("Credential=")[2].partition("/")[0] for each in double.requests]
    assert keys[0] != keys[1], "credentials that end in a minute are asked for again"
    assert all(key.startswith("temp-") for key in keys)


def test_path_style_is_the_default_with_an_endpoint_and_can_be_turned_off(double: S3Double) -> None:
    port = double.endpoint.rpartition(":")[2]
    store = open_store("s3://bkt/p", StorageSide(endpoint=f"http://localhost:{port}", path_style=False))
    _, options = opened(double).delta()
    assert options["aws_endpoint"] == double.endpoint
    assert options["aws_conditional_put"] == "etag"
    assert not any("lock" in name for name in options)

    link = store._link  # type: ignore[attr-defined]
    link.reached = True
    assert store.delta()[1]["aws_endpoint"] == f"http://bkt.localhost:{port}"
    assert link.client().config["virtual_hosted_style_request"] == "true"


def _certificates(folder: Path) -> tuple[str, str]:
    """An authority, and a server's certificate with its key, as PEM files."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import NameOID

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    root, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    day = timedelta(days=1)
    base = x509.CertificateBuilder().issuer_name(name("authority"))
    base = base.not_valid_before(datetime.now(UTC) - day).not_valid_after(datetime.now(UTC) + day)
    authority = (
        base.subject_name(name("authority"))
        .public_key(root.public_key())
        .serial_number(1)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(root, hashes.SHA256())
    )
    server = (
        base.subject_name(name("localhost"))
        .public_key(key.public_key())
        .serial_number(2)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(root, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(authority.public_bytes(Encoding.PEM))
    for file, shown, own in (("server.pem", server, key), ("authority.pem", authority, root)):
        private = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / file).write_bytes(shown.public_bytes(Encoding.PEM) + private)
    return str(folder / "ca.pem"), str(folder / "server.pem")


def test_an_authority_of_ones_own_is_trusted_by_every_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", os.environ.get("SSL_CERT_FILE", ""))  # and set back afterwards
    authority, server = _certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server)
    with s3_double(context) as double:
        double.objects["p/there"] = (b"secret content", {})
        for operation in OPERATIONS.values():
            with pytest.raises(UnreachableError, match="its TLS certificate is not trusted") as caught:
                operation(opened(double))
            assert "storage.ca" in caught.value.hint

        store = opened(double, ca=authority)
        assert store.list()["name"].to_pylist() == ["there"]
        assert bytes(store.get("there")) == b"secret content"
        # In its own process, since deltalake holds the interpreter's lock while it asks.
        code = "import sys, json, deltalake; print(deltalake.DeltaTable.is_deltatable(*json.loads(sys.argv[1])))"
        arguments = [sys.executable, "-c", code, json.dumps(store.delta())]
        done = subprocess.run(arguments, capture_output=True, text=True, check=True)
        assert done.stdout == "False\n"


def test_a_server_that_shows_a_self_made_authority_as_its_own_certificate_is_named(tmp_path: Path) -> None:
    # what `openssl req -x509` makes
    _certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "authority.pem")

    with s3_double(context) as double, pytest.raises(UnreachableError, match="that of an authority") as caught:
        opened(double).get("there")

    assert "CA:FALSE" in caught.value.hint


def test_a_missing_ca_file_is_a_configuration_error(double: S3Double) -> None:
    with pytest.raises(ConfigurationError, match=r"storage.ca: '/no/such/ca.pem' cannot be read"):
        opened(double, ca="/no/such/ca.pem").get("there")


def test_no_secret_is_in_a_pickle_nor_in_a_text(double: S3Double) -> None:
    store = opened(double)
    store.get("there")

    assert b"the-secret" not in pickle.dumps(store)
    assert "the-secret" not in repr(store)


# ---- processes


def test_a_store_works_after_a_fork_unless_it_was_used_before_and_then_says_so(double: S3Double) -> None:
    # In a fresh process, because this one has used stores already.
    code = f"""
import os
from job.errors import StoreError
from job.config.settings import StorageSide
from job.store import Store, open_store
store = open_store("s3://bkt/p", StorageSide(endpoint={double.endpoint!r}))
def child():
    pid = os.fork()
    if pid == 0:
        try:
            print("child", bytes(store.get("there")).decode(), flush=True)
        except StoreError as error:
            print("child", error.message, flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
store.list()  # boto3 may be used before a fork
child()
print("parent", bytes(store.get("there")).decode(), flush=True)
child()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == [
        "child content of the object",
        "parent content of the object",
        "child object storage was used before this process was forked, and cannot be used on this side",
    ]
