"""A file of a table that is replaced while it is read: a clear end, or the rows of the file that was listed; no mixture."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pytest

from job.engine.inline import InlineEngine
from job.errors import InputError
from job.registry.model_set import ModelSet
from job.run.assembly import assemble
from job.run.run import run
from job.store.cloud import CloudStore
from job.store.folder import FolderStore
from tests.conftest import S3
from tests.support.engines import settings

KEYS = 4


def rows(slope: float) -> pa.Table:
    """Of each key 60, in turns. Whatever the slope, the bytes of a file are as many."""
    x = np.tile(np.arange(1, 1 + 240 // KEYS, dtype=np.int64).repeat(KEYS), 1)
    return pa.table({"k": np.arange(240) % KEYS, "x": x + 100, "y": ((x + 100) * slope).astype(np.int64)})


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=40, compression="none", use_dictionary=False)
    return sink.getvalue()


def arrow(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=40)
    return sink.getvalue()


def csv(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pcsv.write_csv(table, sink)
    return sink.getvalue()


FORMATS: dict[str, Callable[[pa.Table], bytes]] = {
    "parquet": parquet,
    "arrow": arrow,
    "csv": csv,
    "csv.gz": lambda table: gzip.compress(csv(table), compresslevel=0, mtime=0),
    "jsonl": lambda table: bytes(table.to_pandas().to_json(orient="records", lines=True).encode()),
}


class Place:
    """Where the table lies, and how a file of it is put there."""

    def __init__(self, folder: Path, put: Callable[[str, bytes], Any], sections: dict[str, Any], store: type) -> None:
        self.folder, self.put, self.store = folder, put, store
        self.sections = {"spark": {"master": "inline"}, **sections}

    def models(self, out: str) -> dict[str, float]:
        job = settings(self.folder, self.sections, {"output": {"uri": f"{self.folder}/{out}"}})
        run(assemble(job), {}, make_engine=lambda _: InlineEngine())
        return {key: model.coef_[0] for key, model in ModelSet.open(f"{self.folder}/{out}").items()}


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    table = {"layout": "columns", "key": "k"}
    if request.param == "folder":
        (tmp_path / "in").mkdir()
        yield Place(
            tmp_path, lambda name, data: (tmp_path / "in" / name).write_bytes(data), {"input": table}, FolderStore
        )
        return
    s3: S3 = request.getfixturevalue("s3")
    bucket, client = s3.bucket(), s3.client()
    yield Place(
        tmp_path,
        lambda name, data: client.put_object(Bucket=bucket, Key=f"in/{name}", Body=data),
        {"input": {**table, "uri": f"s3://{bucket}/in"}, "storage": s3.storage},
        CloudStore,
    )


WHERE = [*(("folder", kind) for kind in FORMATS), ("s3", "parquet"), ("s3", "csv")]


@pytest.mark.parametrize(("place", "kind"), WHERE, indirect=["place"])
def test_a_file_that_is_replaced_between_two_reads_ends_the_run_or_was_read_to_its_end(
    place: Place, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("job.reader.text_scan.BLOCK", 600)
    old, new = FORMATS[kind](rows(2)), FORMATS[kind](rows(3))
    assert len(old) == len(new)
    place.put(f"a.{kind}", old)
    place.put(f"b.{kind}", old)
    name, reads, replace_at = f"b.{kind}", [0], [-1]

    def watched(read: Callable[..., Any]) -> Callable[..., Any]:
        def then(store: Any, file: str, *arguments: Any, **options: Any) -> Any:
            found = read(store, file, *arguments, **options)
            if file == name:
                reads[0] += 1
                if reads[0] == replace_at[0]:
                    place.put(name, new)
            return found

        return then

    for method in ("get", "part"):
        monkeypatch.setattr(place.store, method, watched(getattr(place.store, method)))
    undisturbed = place.models("undisturbed")
    assert [round(each, 6) for each in undisturbed.values()] == [2.0] * KEYS
    most = reads[0]
    assert most >= 2, "the file is read for its keys, and again for its rows"

    told: list[str] = []
    for moment in range(1, most + 1):
        place.put(name, old)
        reads[0], replace_at[0] = 0, moment
        try:
            assert place.models(f"out{moment}") == undisturbed
        except InputError as error:
            told.append(error.message)
            assert not list(place.folder.glob(f"out{moment}/index/_delta_log/*.json"))
    assert len(told) == most - 1
    assert all(f"{name} was replaced while" in each for each in told)
