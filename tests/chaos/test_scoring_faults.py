"""Requests of a scoring, each broken in each way, then healed: no row is lost, doubled or of another model.

``make test`` takes a slice that differs from day to day; CHAOS_SEED chooses it again. All of it in ``make chaos``.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from job.config.score_settings import ScoringSettings
from job.engine.inline import InlineEngine
from job.errors import ManyfitError
from job.registry.predictions import Predictions
from job.run.report import RunReport
from job.run.run import run
from job.run.score_assembly import assemble_scoring
from job.run.scoring_run import ScoringRun
from job.store import open_store, probe
from tests.chaos.cells import TIMES
from tests.chaos.proxy import FAULTS, SCORING_KINDS, Fault, FaultProxy, scoring_kind_of
from tests.chaos.world import OLD, World, body

SEED = int(os.environ.get("CHAOS_SEED", time.strftime("%Y%j")))
QUICK = 3
EVERY = [f"{kind} {fault} {times}" for kind in SCORING_KINDS for fault in FAULTS for times in TIMES]
SLICE = sorted(random.Random(SEED).sample(EVERY, QUICK))
CHANGED = {"k1": 7, "k3": 9}
"""Rows of the keys that have new ones; the others have 20."""


@pytest.fixture(scope="module")
def proxy(s3_server: str) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server) as running:
        running.kind_of = scoring_kind_of
        yield running


def score(world: World, mode: str) -> RunReport:
    storage = world.settings().storage.model_dump(mode="json", exclude_defaults=True)
    document: dict[str, Any] = {
        "models": {"uri": f"s3://{world.bucket}/out"},
        "input": {"uri": f"s3://{world.bucket}/in", "exclude": "k6"},
        "score": {"actual": "y"},
        "output": {"uri": f"s3://{world.bucket}/scores", "mode": mode},
        "run": {"engine": "inline"},
        "storage": storage,
    }
    made = assemble_scoring(ScoringSettings.model_validate(document))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "admit", lambda *_, **__: None)
        return run(made, document, purpose=ScoringRun(made), make_engine=lambda _: InlineEngine())


def audit(world: World, rows: dict[str, int]) -> list[str]:
    """What is wrong with the predictions, looked at past the proxy."""
    side = world.settings().storage.side("output").model_copy(update={"endpoint": world.server})
    store = open_store(f"s3://{world.bucket}/scores", side)
    predictions = Predictions(store)
    found = [f"{name} {text}" for name, text in predictions.damaged()]
    parts = [pq.read_table(pa.BufferReader(store.get(f"predictions/{name}"))) for name in predictions.files()]
    table = pa.concat_tables(parts, promote_options="default").to_pandas()
    counts = table.groupby("_key").size().to_dict()
    if counts != rows:
        found.append(f"rows are lost or doubled: {counts}")
    wrong = table[~np.isclose(table["prediction"], table["x"] * table["_key"].map(OLD))]
    found += [f"{key} was predicted by another model" for key in set(wrong["_key"])]
    prefix = f"/{world.bucket}/scores/"
    return found + [f"{key} was overwritten" for key in world.proxy.overwritten() if key.startswith(prefix)]


def broken_request(s3_server: str, proxy: FaultProxy, cell: str) -> None:
    kind, name, times = cell.split()
    mode = "replace" if EVERY.index(cell) % 2 else "append"
    timeout = 2.0 if name == "timeout_after" else 30.0
    world = World(proxy, s3_server, admit=False, retries=5, timeout=60)
    world.begin()
    world.put(OLD)
    score(world, mode)
    before = dict.fromkeys(OLD, 20)
    assert audit(world, before) == []
    for key, count in CHANGED.items():
        world.client.put_object(Bucket=world.bucket, Key=f"in/{key}.csv.gz", Body=body(OLD[key], count))
    fault = Fault(kind, name, TIMES[times])
    error = None
    world.retries, world.timeout = 1, timeout
    proxy.fault = fault
    try:
        score(world, mode)
    except ManyfitError as caught:
        error = caught
    finally:
        proxy.fault = None
    assert fault.hits > 0, "the fault hit nothing: the cell shows nothing"
    if times == "forever" and name in ("status_500", "status_503", "refused", "reset_before"):
        assert error is not None, "a request that never succeeds cannot end well"
        assert error.exit_code == (4 if kind == "model_get" else 5), "the side that failed is told"
    world.retries, world.timeout = 5, 60

    for _ in range(3):
        if score(world, mode).totals.scored == 0:
            break
    proxy.deliver_late()

    old = 20 if mode == "append" else 0
    assert audit(world, {**before, **{key: old + count for key, count in CHANGED.items()}}) == []


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize("cell", SLICE)
def test_a_broken_request_of_a_scoring_loses_doubles_and_mixes_nothing(
    s3_server: str, proxy: FaultProxy, cell: str
) -> None:
    broken_request(s3_server, proxy, cell)


@pytest.mark.chaos
@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize("cell", [cell for cell in EVERY if cell not in SLICE])
def test_every_other_cell_of_scoring_holds_too(s3_server: str, proxy: FaultProxy, cell: str) -> None:
    broken_request(s3_server, proxy, cell)
