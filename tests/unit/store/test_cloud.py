"""GCS and Azure as far as they can be tried without them, and the listing that they share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from job.config.settings import StorageSide
from job.errors import ConfigurationError, NotFoundError
from job.store import LISTING, open_store
from job.store.cloud import CloudStore
from tests.support.s3_double import S3Double, s3_double


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))


@pytest.fixture
def double() -> Iterator[S3Double]:
    with s3_double() as running:
        yield running


def reached(uri: str, **settings: object) -> CloudStore:
    store = open_store(uri, StorageSide.model_validate(settings))
    assert isinstance(store, CloudStore)
    store._link.reached = True
    return store


@pytest.mark.parametrize(
    ("uri", "table"),
    [
        ("gs://bkt/a b/models/", "gs://bkt/a%20b/models"),
        ("az://box/models", "az://box/models"),
        ("abfss://box@acct.dfs.core.windows.net/models/", "abfss://box@acct.dfs.core.windows.net/models"),
        ("s3a://bkt/a#b/", "s3://bkt/a%23b"),
    ],
)
def test_a_delta_table_has_the_url_of_its_kind(uri: str, table: str) -> None:
    assert reached(uri).delta()[0] == table


def test_an_emulators_endpoint_reaches_deltalake() -> None:
    assert reached("gs://bkt/x", endpoint="http://127.0.0.1:1").delta()[1]["google_base_url"] == "http://127.0.0.1:1"
    assert reached("gs://bkt/x", endpoint="http://127.0.0.1:1").delta()[1]["allow_http"] == "true"
    options = reached("abfss://box@acct.dfs.core.windows.net/x", endpoint="http://127.0.0.1:1/acct").delta()[1]
    assert options["azure_endpoint"] == "http://127.0.0.1:1/acct"


def test_azure_without_an_account_says_where_to_name_it() -> None:
    with pytest.raises(ConfigurationError, match="Account must be specified") as caught:
        open_store("az://box/x").get("a")

    assert "AZURE_STORAGE_ACCOUNT_NAME" in caught.value.hint


def test_the_account_in_a_uri_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    client = reached("abfss://box@acct.dfs.core.windows.net/x")._link.client()

    assert client.config["account_name"] == "acct"


def test_obstores_listing_is_the_same_table(double: S3Double) -> None:
    for name in ["p/a b", "p/c/d", "p/c/e/f", "q"]:
        double.objects[name] = (b"1", {})
    store = open_store("s3://bkt/p", StorageSide(endpoint=double.endpoint))
    assert isinstance(store, CloudStore)

    table = CloudStore.list(store)

    assert table.schema == LISTING
    assert sorted(table["name"].to_pylist()) == ["a b", "c/d", "c/e/f"]
    assert sorted(CloudStore.list(store, "c/")["name"].to_pylist()) == ["c/d", "c/e/f"]
    double.script = ["404 NoSuchBucket"]
    with pytest.raises(NotFoundError, match="bucket 'bkt' does not exist"):
        CloudStore.list(store)
