"""Columns for other tools: metrics and the parts of keys as maps, on new rows and on those of older versions."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from job.registry.data_file import addition
from job.registry.derived import TABLE, parts, scores
from job.registry.index import Index, changes
from job.registry.row import ROW
from job.store import Store, open_store
from tests.support.published import at

OLD = pa.schema(list(ROW)[: ROW.names.index("estimator")])
"""The columns of version 0.1."""


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (['{"r2": 0.5}', '{"r2": 1, "mae": 2.5}'], [[("r2", 0.5)], [("mae", 2.5), ("r2", 1.0)]]),
        ([None, "{}", '{"a": 1.0}'], [None, [], [("a", 1.0)]]),
        (["{}"], [[]]),
        ([], []),
        (['{"a": 1, "a": 2}'], [[("a", 2.0)]]),  # whatever a function wrote
        (['{"a\\"b": 1}', '{"é": 2}'], [[('a"b', 1.0)], [("é", 2.0)]]),
        (['{"a": null, "b": 1}', '{"a": "x", "b": 3}'], [[("b", 1.0)], [("b", 3.0)]]),
    ],
)
def test_metrics_become_a_map(texts: list[str | None], expected: list[Any]) -> None:
    found = scores(pa.chunked_array([pa.array(texts, pa.string())])).to_pylist()
    assert [None if each is None else sorted(each) for each in found] == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("store=1/item=2", [("store", "1"), ("item", "2")]),
        ("a=b%2Fc/d=%3D", [("a", "b/c"), ("d", "=")]),
        ("a=__HIVE_DEFAULT_PARTITION__", [("a", None)]),
        ("a=", [("a", "")]),
        ("a=b=c", [("a", "b=c")]),
        ("Rwanda", None),
        ("a=1/Rwanda", None),
        ("=1", None),
        ("", None),
    ],
)
def test_the_parts_of_a_key_become_a_map(key: str, expected: Any) -> None:
    assert parts(pa.chunked_array([[key]], pa.string())).to_pylist() == [expected]


def row(key: str, minute: int = 1) -> dict[str, Any]:
    found = {"key": key, "state": "live", "digest": f"{minute:064x}", "size": 1, "metrics": '{"r2": 0.5}'}
    return found | {"data": f"d{minute}", "listed_at": at(minute)}


@pytest.fixture
def old(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A table as version 0.1 wrote it: two files, fewer columns."""
    from job.registry import delta_log

    store = open_store(str(tmp_path))
    table = delta_log.Table(store, "index", OLD)
    for number, keys in enumerate((["store=1/item=1", "store=1/item=2"], ["store=2/item=1"])):
        made = table.create()
        sink = pa.BufferOutputStream()
        full = pa.Table.from_pylist([dict.fromkeys(OLD.names, None) | row(key) for key in keys], schema=OLD)
        pq.write_table(full, sink, store_schema=False)
        body = sink.getvalue().to_pybytes()
        store.ensure(f"index/old-{number}.parquet", body)
        table.append(made, "MERGE", {f"run-{number}": number + 1}, {"operation": "release", "run": f"run-{number}"},
                     [addition(f"old-{number}.parquet", len(body), len(keys))])  # fmt: skip
    return store


def test_a_table_of_an_older_version_is_read_as_it_is(old: Store) -> None:
    index = Index(old)
    for rows in (index.read(), index.read(at=1), pa.concat_tables(index.slices(columns=ROW.names))):
        assert rows.schema == ROW
        assert set(rows["skill"].to_pylist()) == {None}
    assert index.read(columns=["skill", "key"], keys=["store=2/item=1"]).to_pylist() == [
        {"skill": None, "key": "store=2/item=1"}
    ]
    assert index.version() == 2


def test_the_first_release_gives_every_row_the_new_columns(old: Store) -> None:
    index = Index(old)
    before = {each["key"]: each for each in index.read().to_pylist()}
    index.release(changes([row("store=3/item=9", 5) | {"skill": 0.25}]), run="new")
    after = {each["key"]: each for each in index.read().to_pylist()}
    assert after.pop("store=3/item=9")["skill"] == 0.25
    assert after == before
    for name in index.files(3):
        stored = pq.read_table(pa.BufferReader(old.get(f"index/{name}")))
        assert stored.schema.names == TABLE.names
        assert all(dict(each) == {"r2": 0.5} for each in stored["scores"].to_pylist())
        assert all(set(dict(each)) == {"store", "item"} for each in stored["keys"].to_pylist())


def test_an_older_version_is_rolled_back_to_across_the_border(old: Store) -> None:
    index = Index(old)
    index.release(changes([row("store=3/item=9", 5)]), run="new")
    index.rollback(2)
    assert sorted(index.read()["key"].to_pylist()) == ["store=1/item=1", "store=1/item=2", "store=2/item=1"]
    index.release(changes([row("store=1/item=1", 10**6) | {"skill": 0.5}]), run="newer")
    assert index.read(columns=["skill"], keys=["store=1/item=1"]).to_pylist() == [{"skill": 0.5}]
    assert len(index.read(at=2)) == 3


def test_a_later_release_rewrites_no_more_than_it_must(old: Store) -> None:
    index = Index(old)
    index.release(changes([row("store=3/item=9", 5)]), run="new")
    kept = set(index.files(3))
    index.release(changes([row("zz", 6)]), run="newer")
    assert kept & set(index.files(4))


@pytest.mark.parametrize("tool", ["polars", "duckdb", "pandas", "deltalake"])
def test_other_tools_read_the_maps(old: Store, tool: str) -> None:
    index = Index(old)
    index.release(changes([row("store=3/item=9", 5)]), run="new")
    uri = f"{old.uri.removeprefix('file://')}/index"
    if tool == "polars":
        # In a process of its own: its import changes the environment.
        code = "import polars, sys; print({r['key']: r['scores'] for r in polars.read_delta(sys.argv[1]).to_dicts()})"
        found = subprocess.run([sys.executable, "-c", code, uri], capture_output=True, text=True, check=True).stdout
        assert "'store=3/item=9': {'r2': 0.5}" in found
    elif tool == "duckdb":
        duckdb = importlib.import_module("duckdb")
        files = [f"{uri}/{name}" for name in index.files(3)]
        query = f"select keys['item'], scores['r2'] from read_parquet({files!r}) where keys['store'] = '3'"
        assert duckdb.sql(query).fetchall() == [("9", 0.5)]
    elif tool == "pandas":
        files = [f"{uri}/{name}" for name in index.files(3)]
        frame = pa.concat_tables([pq.read_table(name) for name in files]).to_pandas()
        assert dict(frame.set_index("key").loc["store=2/item=1", "keys"]) == {"store": "2", "item": "1"}
    else:
        from deltalake import DeltaTable, QueryBuilder

        query = "select key, keys['store'] as store from t order by key"
        found = QueryBuilder().register("t", DeltaTable(uri)).execute(query)
        rows = pa.RecordBatchReader.from_stream(found).read_all().to_pylist()
        assert [each["store"] for each in rows] == ["1", "1", "2", "3"]


def test_scores_of_many_rows_take_a_fraction_of_a_second() -> None:
    import time

    texts = pa.chunked_array([[json.dumps({"r2": n / 7, "neg_mean_absolute_error": -n}) for n in range(16_384)]])
    begin = time.process_time()
    scores(texts)
    assert time.process_time() - begin < 1
