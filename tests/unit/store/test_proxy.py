"""A proxy that is in the way is named, by its variable and without its password."""

from __future__ import annotations

import pytest

from job.store.faults import Place
from job.store.proxy import used_for

PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("environ", "url", "expected"),
    [
        ({}, "https://s3.amazonaws.com", ""),
        ({"HTTPS_PROXY": PROXY}, "https://s3.amazonaws.com", f"HTTPS_PROXY ({PROXY})"),
        ({"https_proxy": PROXY}, "https://s3.amazonaws.com", f"https_proxy ({PROXY})"),
        ({"HTTPS_PROXY": PROXY}, "http://minio:9000", ""),
        ({"ALL_PROXY": PROXY}, "http://minio:9000", f"ALL_PROXY ({PROXY})"),
        ({"HTTPS_PROXY": "http://me:secret@proxy:1"}, "https://a", "HTTPS_PROXY (http://proxy:1)"),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "localhost, .svc"}, "https://kubernetes.default.svc", ""),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "example.com"}, "https://s3.example.com:9000", ""),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "ample.com"}, "https://s3.example.com", f"HTTPS_PROXY ({PROXY})"),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "10.96.0.0/12,x"}, "https://10.96.0.1:443", ""),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "10.96.0.0/12"}, "https://10.200.0.1", f"HTTPS_PROXY ({PROXY})"),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "::1"}, "https://[::1]:443", ""),
        ({"HTTPS_PROXY": PROXY, "no_proxy": "*"}, "https://a", ""),
    ],
)
def test_the_proxy_of_an_address_is_found_as_the_clients_find_it(
    environ: dict[str, str], url: str, expected: str
) -> None:
    assert used_for(url, environ) == expected


def test_a_store_behind_a_proxy_that_is_down_is_not_blamed_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(what="input", bucket="raw", endpoint="https://s3.eu-west-1.amazonaws.com")
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert "Check storage.endpoint" in place.unreachable("connection refused").hint

    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy.example:3128")
    error = place.unreachable("connection refused")
    assert "through HTTPS_PROXY (http://proxy.example:3128): connection refused" in error.message
    assert "NO_PROXY" in error.hint
    assert "secret" not in error.message + error.hint


def test_a_proxy_that_opens_tls_is_thought_of_where_a_certificate_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    place = Place(what="input", bucket="raw", endpoint="https://s3.eu-west-1.amazonaws.com")
    hint = place.unreachable("its TLS certificate is not trusted").hint
    assert "storage.ca" in hint
    assert f"the proxy of HTTPS_PROXY ({PROXY}) opens TLS" in hint
