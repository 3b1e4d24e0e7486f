"""What every store promises: one suite, run on memory, a folder and an S3 server."""

from __future__ import annotations

import os
import pickle
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pyarrow as pa
import pytest
from deltalake import DeltaTable, QueryBuilder, write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from job.config.settings import StorageSide
from job.errors import ChangedError, ManyfitError, NotFoundError, PartitionError, StoreError
from job.store import LISTING, Store, open_store
from tests.support.skips import DOES_NOT_APPLY

BUCKET = "contract"
ODD = [
    "a b.csv",
    " leading and trailing ",
    "100%.csv",
    "a%2Fb%20c",
    "store=1/item=a%2Fb/part-0.parquet",
    "a+b.csv",
    "a#b.csv",
    "a?b=c&d.csv",
    "Congo, Dem. Rep..csv.gz",
    "Côte d'Ivoire.csv",
    "e\u0301.csv",
    "\u00e9.csv",
    "日本/東京.csv",
    "\U0001f600.csv",
    "a\\b.csv",
    'quote".csv',
    "<a>&amp;.csv",
    "a:b;c,d@e!$'()*[]{}^`|~",
    ".hidden",
    "...",
    "n" * 255,
    "/".join(["deep" * 20] * 11),
]
UNADDRESSABLE = ["p//b", "a/../b", "../a", "./a", ".", "..", "a/", "/a", "a\tb", "a\x7fb", ""]


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret-value")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "aws-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(params=["memory", "folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind."""
    if request.param == "memory":
        return open_store(f"memory://{uuid.uuid4().hex}/some/prefix/")
    if request.param == "folder":
        (tmp_path / "some %=é# folder").mkdir()
        return open_store(str(tmp_path / "some %=é# folder"))
    endpoint = request.getfixturevalue("s3_endpoint")
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    client.create_bucket(Bucket=BUCKET)
    return open_store(f"s3://{BUCKET}/{uuid.uuid4().hex}/a b%[x]=é/", StorageSide(endpoint=endpoint))


def names(table: pa.Table) -> list[str]:
    return table["name"].to_pylist()


def test_what_was_created_is_read_back(store: Store) -> None:
    assert store.create("a/b.csv", b"one") is True

    assert bytes(store.get("a/b.csv")) == b"one"
    assert memoryview(store.get("a/b.csv")).nbytes == 3


def test_an_empty_object_is_an_object(store: Store) -> None:
    assert store.create("empty", b"") is True

    assert bytes(store.get("empty")) == b""
    info = store.head("empty")
    assert info is not None
    assert info.size == 0


def test_create_never_overwrites(store: Store) -> None:
    store.create("a", b"first")

    assert store.create("a", b"second") is False
    assert bytes(store.get("a")) == b"first"


def test_of_many_creators_exactly_one_wins_and_his_bytes_stay(store: Store) -> None:
    barrier = threading.Barrier(8)

    def create(number: int) -> bool:
        barrier.wait()
        return store.create("raced", f"writer {number}".encode())

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(8)))

    assert won.count(True) == 1
    assert bytes(store.get("raced")) == f"writer {won.index(True)}".encode()


def test_ensure_is_content_addressed_write(store: Store) -> None:
    assert store.ensure("models/x/abc.joblib", b"model") is True
    assert store.ensure("models/x/abc.joblib", b"model") is False

    with pytest.raises(StoreError, match="has 5 bytes, but its content has 9"):
        store.ensure("models/x/abc.joblib", b"otherwise")


def test_put_overwrites(store: Store) -> None:
    store.put("progress.json", b"1")
    store.put("progress.json", b"22")

    assert bytes(store.get("progress.json")) == b"22"


def test_a_large_object_survives(store: Store) -> None:
    data = os.urandom(1 << 20) * 20

    assert store.create("large", data) is True
    assert bytes(store.get("large")) == data


def test_a_missing_object_is_not_found_and_has_no_head(store: Store) -> None:
    store.create("there", b"1")

    assert store.head("not there") is None
    with pytest.raises(NotFoundError, match="'not there' does not exist"):
        store.get("not there")
    with pytest.raises(NotFoundError):
        store.get("there/below")


def test_head_agrees_with_the_listing(store: Store) -> None:
    store.create("a", b"123")

    info = store.head("a")
    row = store.list().to_pylist()[0]

    assert info is not None
    assert (info.name, info.size, info.etag) == (row["name"], row["size"], row["etag"])
    assert abs(info.modified - row["modified"].timestamp()) < 1.5


def test_a_read_with_the_listed_etag_succeeds_and_with_another_is_changed(store: Store) -> None:
    store.create("a", b"old")
    etag = store.list()["etag"][0].as_py()
    assert bytes(store.get("a", if_match=etag)) == b"old"

    store.put("a", b"new bytes")

    with pytest.raises(ChangedError, match=r"not the (object|file) that was listed"):
        store.get("a", if_match=etag)
    assert store.list()["etag"][0].as_py() != etag


def test_the_listing_is_recursive_sorted_and_relative_to_the_store(store: Store) -> None:
    for name in ["b", "a/2", "a/1/x", "a-z", "A", "a/10"]:
        store.create(name, b"12")

    table = store.list()

    assert table.schema == LISTING
    assert names(table) == sorted(["b", "a/2", "a/1/x", "a-z", "A", "a/10"])
    assert table["size"].to_pylist() == [2] * 6
    assert all(abs(datetime.now(UTC) - each) < timedelta(minutes=1) for each in table["modified"].to_pylist())


def test_a_prefix_is_a_folder_and_not_a_beginning_of_names(store: Store) -> None:
    for name in ["runs/1/a", "runs/1/b/c", "runs/10/d", "runs2/e"]:
        store.create(name, b"1")

    assert names(store.list("runs/1")) == names(store.list("runs/1/")) == ["runs/1/a", "runs/1/b/c"]
    assert names(store.list("nothing here")) == []
    assert list(store.prefixes("runs")) == ["1", "10"]
    assert list(store.prefixes()) == ["runs", "runs2"]
    assert list(store.prefixes("nothing here/")) == []


def test_an_empty_store_lists_nothing(store: Store) -> None:
    assert store.list().num_rows == 0
    assert store.list().schema == LISTING
    assert list(store.prefixes()) == []
    store.check()


def test_a_child_is_the_store_of_a_folder(store: Store) -> None:
    child = store.child("runs/a b/")
    child.create("x/y", b"1")

    assert child.uri == f"{store.uri}/runs/a b"
    assert names(child.list()) == ["x/y"]
    assert names(store.list()) == ["runs/a b/x/y"]
    assert bytes(store.get("runs/a b/x/y")) == b"1"
    assert store.child("").uri == store.uri
    assert names(store.child("empty").list()) == []


def test_progress_counts_the_objects_found(store: Store) -> None:
    for number in range(3):
        store.create(f"n{number}", b"1")
    seen: list[int] = []

    store.list(progress=seen.append)

    assert seen[-1] == 3


def test_deleting_removes_and_a_missing_name_is_no_error(store: Store) -> None:
    for name in ["a/b/c", "a/d", "e"]:
        store.create(name, b"1")

    assert store.delete(["a/b/c", "e", "never was"]) == 3
    assert store.delete([]) == 0
    assert names(store.list()) == ["a/d"]
    assert store.create("a/b/c", b"again") is True


def test_odd_names_are_exact_text_in_every_operation(store: Store) -> None:
    kept = [name for name in ODD if store.create(name, name.encode())]

    assert kept == ODD
    assert sorted(names(store.list())) == sorted(ODD)
    for name in ODD:
        assert bytes(store.get(name)) == name.encode()
        info = store.head(name)
        assert info is not None
        assert info.size == len(name.encode())
    assert store.delete(ODD) == len(ODD)
    assert store.list().num_rows == 0


@pytest.mark.parametrize("name", UNADDRESSABLE)
def test_a_name_that_cannot_be_addressed_is_refused_by_name(store: Store, name: str) -> None:
    for operation in (store.get, store.head, lambda each: store.create(each, b""), lambda each: store.put(each, b"")):
        with pytest.raises(PartitionError, match="cannot be addressed") as caught:
            operation(name)
        assert caught.value.reason == "unsupported_key"
    assert store.list().num_rows == 0


def test_a_store_survives_pickling_before_and_after_use_and_holds_no_secret(store: Store) -> None:
    if store.scheme == "memory":
        pytest.skip(f"{DOES_NOT_APPLY}shared by name inside one process; covered below")
    fresh = pickle.loads(pickle.dumps(store))
    fresh.create("a", b"1")
    store.head("a")
    used = pickle.dumps(store.child("b"))

    assert b"test-secret-value" not in used
    assert pickle.loads(used) == store.child("b")
    assert bytes(pickle.loads(pickle.dumps(fresh)).get("a")) == b"1"


def test_memory_is_shared_by_name_inside_a_process() -> None:
    one = open_store("memory://shared-here/x")
    one.create("a", b"1")

    assert bytes(pickle.loads(pickle.dumps(one)).get("a")) == b"1"
    assert bytes(open_store("memory://shared-here").get("x/a")) == b"1"


def test_the_clock_is_aware_and_near(store: Store) -> None:
    before = datetime.now(UTC)
    now = store.now()
    after = datetime.now(UTC)

    assert now.tzinfo is not None
    # S3 tells whole seconds, rounded down.
    assert before - timedelta(seconds=1) <= now <= after


def test_reads_and_writes_from_many_threads_do_not_mix(store: Store) -> None:
    def work(number: int) -> bool:
        name, data = f"t/{number}", os.urandom(100) * number
        return store.create(name, data) and bytes(store.get(name)) == data

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(1, 41)))
    assert store.list().num_rows == 40


def test_every_error_of_a_store_survives_pickling(store: Store) -> None:
    with pytest.raises(NotFoundError) as caught:
        store.get("nope")

    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (NotFoundError, str(caught.value))
    assert isinstance(again, ManyfitError)


def test_a_delta_table_is_made_appended_and_read_without_a_lock_table(store: Store) -> None:
    child = store.child("index")
    if store.scheme == "memory":
        with pytest.raises(StoreError, match="cannot hold a Delta table"):
            child.delta()
        return
    uri, options = child.delta()

    write_deltalake(uri, pa.table({"key": ["a"], "n": [1]}), storage_options=options)
    write_deltalake(uri, pa.table({"key": ["b"], "n": [2]}), storage_options=options, mode="append")

    table = DeltaTable(uri, storage_options=options)
    rows = QueryBuilder().register("t", table).execute("select * from t order by n").read_all()
    assert table.version() == 1
    assert pa.table(rows).to_pylist() == [{"key": "a", "n": 1}, {"key": "b", "n": 2}]
    assert "_delta_log/00000000000000000001.json" in names(child.list())


def test_concurrent_commits_to_a_delta_table_lose_nothing(store: Store) -> None:
    if store.scheme == "memory":
        pytest.skip(f"{DOES_NOT_APPLY}memory holds no tables")
    uri, options = store.child("index").delta()
    write_deltalake(uri, pa.table({"n": [0]}), storage_options=options)

    def append(number: int) -> None:
        write_deltalake(uri, pa.table({"n": [number]}), storage_options=options, mode="append")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(append, range(1, 9)))

    table = DeltaTable(uri, storage_options=options)
    rows = pa.table(QueryBuilder().register("t", table).execute("select n from t order by n").read_all())
    assert rows["n"].to_pylist() == list(range(9))
    assert table.version() == 8


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(name=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40))
def test_any_text_is_either_refused_or_kept_exactly(s3_endpoint: str, name: str) -> None:
    boto3.client("s3", endpoint_url=s3_endpoint, region_name="us-east-1").create_bucket(Bucket=BUCKET)
    store = open_store(f"s3://{BUCKET}/{uuid.uuid4().hex}", StorageSide(endpoint=s3_endpoint))
    if any(part in ("", ".", "..") for part in name.split("/")):
        with pytest.raises(PartitionError, match="cannot be addressed"):
            store.create(name, b"x")
        return
    store.create(name, b"x")

    assert names(store.list()) == [name]
    assert bytes(store.get(name)) == b"x"
