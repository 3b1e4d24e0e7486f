"""The world of the matrix, scored: predictions of the models of `World.OLD`, and what must be true of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from job.config.score_settings import ScoringSettings
from job.engine.inline import InlineEngine
from job.registry.predictions import Predictions
from job.run.report import RunReport
from job.run.run import run
from job.run.score_assembly import assemble_scoring
from job.run.scoring_run import ScoringRun
from job.store import open_store, probe
from tests.chaos.world import OLD, World, body

CHANGED = {"k1": 7, "k3": 9}
"""Rows of the keys that have new ones; the others have 20."""
ROWS = 20


class ScoredWorld:
    """Predictions of all rows, released once; then some keys have new rows.

    Parameters
    ----------
    world
        Empty. The models in it are those of its first release.
    mode
        ``append`` or ``replace``.
    """

    def __init__(self, world: World, mode: str) -> None:
        self.world, self.mode = world, mode

    def begin(self) -> None:
        """The models, and the first release of predictions; then the new rows."""
        self.world.begin()
        self.world.put(OLD)
        self.run()
        assert self.problems(changed=False) == []
        for key, count in CHANGED.items():
            data = body(OLD[key], count)
            self.world.client.put_object(Bucket=self.world.bucket, Key=f"in/{key}.csv.gz", Body=data)

    def run(self) -> RunReport:
        """One scoring in this process."""
        bucket = self.world.bucket
        document: dict[str, Any] = {
            "models": {"uri": f"s3://{bucket}/out"},
            "input": {"uri": f"s3://{bucket}/in", "exclude": "k6"},
            "score": {"actual": "y"},
            "output": {"uri": f"s3://{bucket}/scores", "mode": self.mode},
            "run": {"engine": "inline"},
            "storage": self.world.settings().storage.model_dump(mode="json", exclude_defaults=True),
        }
        made = assemble_scoring(ScoringSettings.model_validate(document))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(probe, "admit", lambda *_, **__: None)
            return run(made, document, purpose=ScoringRun(made), make_engine=lambda _: InlineEngine())

    def problems(self, *, changed: bool | None = True) -> list[str]:
        """What is wrong with the predictions, looked at past the proxy.

        Parameters
        ----------
        changed
            Whether the new rows must be there; None: all of them, or none.
        """
        world = self.world
        side = world.settings().storage.side("output").model_copy(update={"endpoint": world.server})
        store = open_store(f"s3://{world.bucket}/scores", side)
        predictions = Predictions(store)
        found = [f"{name} {text}" for name, text in predictions.damaged()]
        parts = [pq.read_table(pa.BufferReader(store.get(f"predictions/{name}"))) for name in predictions.files()]
        table = pa.concat_tables(parts, promote_options="default").to_pandas()
        counts = table.groupby("_key").size().to_dict()
        old = dict.fromkeys(OLD, ROWS)
        added = {key: count + (ROWS if self.mode == "append" else 0) for key, count in CHANGED.items()}
        if counts not in {True: [old | added], False: [old], None: [old, old | added]}[changed]:
            found.append(f"rows are lost or doubled: {counts}")
        wrong = table[~np.isclose(table["prediction"], table["x"] * table["_key"].map(OLD))]
        found += [f"{key} was predicted by another model" for key in set(wrong["_key"])]
        prefix = f"/{world.bucket}/scores/"
        return found + [f"{key} was overwritten" for key in world.proxy.overwritten() if key.startswith(prefix)]
