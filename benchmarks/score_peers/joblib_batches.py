"""joblib's process pool, kept warm: one batch a core, rows and models by boto3 (or from the folder), parquet out."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
from joblib import Parallel, delayed

from benchmarks import clients
from benchmarks.score_peers import fleet
from benchmarks.workload import Workload


def models(work: Workload) -> dict[str, str]:
    """The name of each key's model, by one listing."""
    if work.options["store"] == "folder":
        root = Path(str(work.folder))
        names = [str(path.relative_to(root)) for path in (root / fleet.MODELS).glob("*/*")]
    else:
        import boto3

        pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=work.bucket, Prefix=fleet.MODELS)
        names = [each["Key"] for page in pages for each in page.get("Contents", [])]
    return {name.split("/")[-2]: name for name in names}


def score(work: Workload, batch: Sequence[tuple[str, str]], output: str) -> int:
    """Score one batch of names of rows and models, into one file."""
    if work.options["store"] == "folder":
        root = Path(str(work.folder))
        (root / output).mkdir(parents=True, exist_ok=True)

        def get(name: str) -> Any:
            return (root / name).read_bytes()

        def put(name: str, data: bytes) -> None:
            (root / name).write_bytes(data)
    else:
        get, put = clients.client("boto3", work.bucket)
    tables = []
    for name, model in batch:
        rows = fleet.parse(work.format, get(f"{fleet.NEW}{name}"))
        tables.append(fleet.predicted(work.key(name), rows, joblib.load(io.BytesIO(get(model)))))
    count, data = fleet.encoded(tables)
    put(f"{output}/{work.key(batch[0][0])}.parquet", data)
    return count


class Peer:
    """One loky pool for all rounds."""

    def __init__(self, work: Workload) -> None:
        self._work = work
        self._pool = Parallel(n_jobs=work.cores, batch_size=1, pre_dispatch="all", idle_worker_timeout=7200)

    def round(self, output: str) -> int:
        """One call."""
        where = models(self._work)
        batches = [[(name, where[self._work.key(name)]) for name in batch] for batch in self._work.batches()]
        return sum(self._pool(delayed(score)(self._work, batch, output) for batch in batches))

    def close(self) -> None:
        """End the pool."""
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(kill_workers=True)
