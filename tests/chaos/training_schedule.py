"""Random schedules of trainings (tests/chaos/schedule.py).

Each release is audited in the moment in which it appears, and read by a `ModelSet`; and so is the set after each gc.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from job.config.settings import JobSettings
from job.engine import Engine
from job.run.assembly import Assembly, assemble
from job.run.report import RunReport
from job.run.run import run
from tests.chaos.audit import Audit, audit, folder_objects
from tests.chaos.baton import here
from tests.chaos.reader import Reader
from tests.chaos.schedule import Schedule

GATE = {
    "recipe": {"validation": {"method": "time", "column": "x", "test_size": 0.34}},
    "promote": {"metric": "neg_mean_absolute_error"},
}
"""Each new model is compared with the live one. None is decided, as all data end alike, so each replaces it: but only while the
live one is still that with which it was compared."""


def gated(seed: int) -> bool:
    """Whether the job of a seed's schedule has a gate."""
    return random.Random(f"gate {seed}").random() < 1 / 4


class TrainingSchedule(Schedule):
    """Models of linear data: each says by its slope of which data it was made."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, seed)
        self.listed: dict[str, datetime] = {}
        """of each key, in the last release"""
        self.seen: dict[str, bytes] = {}
        """every object that was there when it was audited last"""
        self.reader = Reader(str(folder / "out"), again=not self.cleaned)

    def run(self, run_id: str | None, make_engine: Callable[[Any], Engine]) -> RunReport:
        """One training."""
        return run(self.assembly(run_id), {}, make_engine=make_engine)

    def assembly(self, run_id: str | None) -> Assembly:
        """The job."""
        document: dict[str, Any] = {
            "input": {"uri": str(self.folder / "in")},
            "recipe": {
                "features": ["x"],
                "target": "y",
                "estimator": {"_target_": "sklearn.linear_model.LinearRegression"},
            },
            "output": {"uri": str(self.folder / "out"), "report": "short"},
            "run": {"max_failed": "100%", **({"id": run_id} if run_id else {})},
            "spark": {"master": "inline"},
        }
        if gated(self.seed):
            document["recipe"] |= GATE["recipe"]
            document["promote"] = GATE["promote"]
        made = assemble(JobSettings.model_validate(document))
        for store in (made.input, made.output, made.index.store, made.index._table._store):
            self.scheduled(store)
        return made

    # -- what must hold

    def look(self, slopes: dict[str, float] | None = None) -> None:
        """Audit the current version, bytes and all."""
        objects = folder_objects(self.folder / "out", "index", "models")
        if objects == self.seen and slopes is None:
            return  # after a gc that had nothing to remove: no byte is another than the last time
        self.seen = objects
        found = audit(objects, slopes if slopes is not None else {})
        problems = found.problems + self._older(found) + self._read(found)
        self.problems += [f"version {found.versions}: {problem}" for problem in problems]
        for row in found.rows:
            key, slope = row["key"], found.slopes.get(row["key"])
            if row["digest"] is None or slope is None:
                continue
            for column in ("content", "data"):
                if column == "data" and row["state"] != "live":
                    continue
                made_of = self.slope_of.get(row[column], "nothing")
                if made_of != round(slope, 6):
                    self.problems.append(
                        f"version {found.versions}: {key} says by its {column} that it was made of {made_of}, and its model is {slope}"
                    )

    def _older(self, found: Audit) -> list[str]:
        """A key's row is of the newest listing that was ever published of it: whoever listed before does not replace it."""
        before, self.listed = self.listed, {row["key"]: row["listed_at"] for row in found.rows}
        older = [key for key, listed in self.listed.items() if listed < before.get(key, listed)]
        return [f"{key} went back to an older listing" for key in older]

    def _read(self, found: Audit) -> list[str]:
        here.looking = True
        try:
            return self.reader.look(found.slopes)
        finally:
            here.looking = False
            self.read = self.reader.read

    def ended(self, slopes: dict[str, float]) -> None:
        """Every key has the model of its data."""
        self.look(slopes)
