"""Blobs of a table's rows: pure, bounded, in any order; and the keys that are merged from them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from job.engine.inline import InlineEngine
from job.errors import AccountingError
from job.plan import placing
from job.worker import exchange, merge
from job.worker.exchange import Blob, Folder, blobs
from job.worker.work import Work
from tests.support.folder_job import Job


class Caught(Exception):
    pass


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    """What the tasks of a job on a scattered table share: 2 readers, 4 tasks."""
    job = Job(tmp_path)
    frame = pd.DataFrame({"k": np.arange(2000) % 20, "x": np.arange(2000.0), "t": "text " * 20})
    frame["y"] = frame["x"] * 2
    for part in range(2):
        rows = pa.Table.from_pandas(frame.iloc[part * 1000 : part * 1000 + 1000], preserve_index=False)
        pq.write_table(rows, job.data / f"p{part}.parquet", row_group_size=100)
    place = placing.place
    monkeypatch.setattr("job.run.run.placing.place", lambda table, due, costs, *_: place(table, due, costs, 4, 2))
    found: list[Work] = []

    class Catching(InlineEngine):
        def run(self, work: Work, *rest: Any) -> Any:
            found.append(work)
            raise Caught

    chosen = {"layout": "columns", "key": "k"}
    with pytest.raises(Caught):
        job.run(lambda _: Catching(), input=chosen, recipe={"features": ["x", "t"]})
    assert found[0].readers == 2
    return found[0]


def test_a_reader_that_is_run_again_yields_the_same_blobs_and_none_is_larger_than_said(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "FLUSH_BYTES", 40_000)
    monkeypatch.setattr(exchange, "BLOB_BYTES", 4_000)
    first, again = (list(blobs(work, 0)) for _ in range(2))
    assert [(each.bucket, each.sequence, bytes(each.data)) for each in first] == [
        (each.bucket, each.sequence, bytes(each.data)) for each in again
    ]
    assert len({each.sequence for each in first}) == len(first)
    for each in first:
        assert pa.ipc.open_stream(pa.py_buffer(each.data)).read_all().nbytes <= 2 * 4_000


def merged(work: Work, task: int, found: list[Blob]) -> dict[str, list[float]]:
    with merge.Runs() as runs:
        for blob in found:
            runs.add(blob)
        source = merge.Merged(work, merge.items_of(work, task), runs)
        read = source.read(lambda item: True)
        return {item.key: payload._held[0]["x"].to_pylist() for item, payload in read}  # type: ignore[union-attr]


@pytest.mark.parametrize("held", [0, 1 << 30])
def test_blobs_in_any_order_give_each_key_its_rows_in_the_order_of_the_files(
    work: Work, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, held: int
) -> None:
    monkeypatch.setattr(exchange, "FLUSH_BYTES", 40_000)
    monkeypatch.setattr(merge, "HELD_BYTES", held)
    monkeypatch.setattr(merge, "WINDOW_BYTES", 20_000)
    monkeypatch.setattr(merge, "_FORGET_BYTES", 10_000)
    every = [blob for reader in range(2) for blob in blobs(work, reader)]
    random.Random(0).shuffle(every)
    (tmp_path / "exchange").mkdir()
    folder = Folder(tmp_path / "exchange")
    for reader in (1, 0, 1):  # as if the second one had been repeated
        folder.write(reader, blobs(work, reader))
    seen: dict[str, list[float]] = {}
    for task in range(4):
        by_memory = merged(work, task, [blob for blob in every if blob.bucket == task])
        assert by_memory == merged(work, task, list(folder.read(task)))
        seen |= by_memory
    assert seen == {f"k={key}": [float(row) for row in range(key, 2000, 20)] for key in range(20)}


def test_a_blob_that_is_lost_fails_the_task(work: Work) -> None:
    every = [blob for reader in range(2) for blob in blobs(work, reader) if blob.bucket == 0]
    with pytest.raises(AccountingError, match=r"a key has \d+ rows, and 100 were counted"):
        merged(work, 0, every[:-1])
