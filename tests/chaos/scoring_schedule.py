"""Random schedules of scorings (tests/chaos/schedule.py): rows of data sets that change, by models that change, too.

Each version of the predictions is audited in the moment in which it appears (tests/chaos/scored_audit.py): no row is lost,
doubled, or predicted by another model than that of the version which it names. What is known of the keys agrees with
the predictions as soon as the last release is made good, and so do the errors at the end. A seed decides whether the
output is of ``append`` or of ``replace``. Where no gc comes by, somebody rolls the predictions back now and then, or holds
them for a while. The clock of the input is not that of the output, and each run may have another one.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from job.config.score_settings import ScoringSettings
from job.engine import Engine
from job.errors import ConfigurationError, HeldError, OtherJobError, OutputError
from job.registry import index as indexes
from job.registry.predictions import Predictions
from job.run import replacing, scored_before
from job.run import run as runs
from job.run.report import RunReport
from job.run.run import run
from job.run.score_assembly import assemble_scoring
from job.run.scoring_run import ScoringRun
from job.score import generation
from job.store import Store, open_store
from job.worker import chunks, models_ahead
from tests.chaos.audit import audit_rows, commits, folder_objects
from tests.chaos.baton import here
from tests.chaos.cooperative import Here
from tests.chaos.schedule import UNITS, Schedule, compressed
from tests.chaos.scored_audit import Generation, ScoredAudit, data_set
from tests.support.published import at, dumped, line, put

TABLES = ("predictions", "index", "errors")


class ScoringSchedule(Schedule):
    """Predictions of data sets, each of which says by its rows which one it is."""

    twins = 0.2

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, seed)
        dice = random.Random(f"score {seed}")
        self.modes = dice.choice([["append"], ["replace"], ["append", "replace"]])
        """with two, runs append until one has replaced: from then on the others are refused"""
        self.skew = dice.choice([0, 0.5, 300])
        """seconds that the clock of the input may differ in a run"""
        self.retires = "replace" in self.modes and dice.random() < 1 / 3
        self.models: list[dict[str, tuple[str, float]]] = [{}]
        """of each version of the set: the digest and the slope of each key's model"""
        self.audit = ScoredAudit(self._model, replaces=self.modes == ["replace"], retires=self.retires)
        self.seen: dict[str, bytes] = {}

    # -- the world

    def body(self, slope: float) -> bytes:
        """Rows that say which data set they are."""
        return compressed("x,y\n" + "".join(f"{x},{3 * x}\n" for x in data_set(int(slope))))

    def prepare(self) -> None:
        """A set of models, in which some keys may have none."""
        store = open_store(str(self.folder / "models"))
        about = {"settings": {"recipe": {"features": ["x"], "target": "y"}}}
        store.put("runs/trained/run.json", json.dumps(about).encode())
        self.train([f"k{number}" for number in range(UNITS) if self.random.random() < 0.9])

    def train(self, keys: list[str]) -> None:
        """Another version of the models; it takes no step."""
        looking, here.looking = getattr(here, "looking", False), True
        try:
            store, number = open_store(str(self.folder / "models")), len(self.models)
            made, rows = dict(self.models[-1]), []
            for key in keys:
                slope = float(number * 100 + int(key[1:]))
                row = put(store, key, dumped(line(slope)), listed_at=at(number), run="trained")
                rows.append(row)
                made[key] = row["digest"], slope
            done = indexes.Index(store).release(indexes.changes(rows), run=f"train-{number}")
            assert done.version == number
            self.models.append(made)
        finally:
            here.looking = looking

    def _model(self, version: int, key: str) -> tuple[str, float] | None:
        return self.models[version].get(key) if version < len(self.models) else None

    def burst(self) -> None:
        """Data changes, or some keys get new models."""
        if self.random.random() < 0.35:
            self.train([f"k{number}" for number in range(UNITS + 1) if self.random.random() < 0.3] or ["k0"])
        else:
            super().burst()

    def run(self, run_id: str | None, make_engine: Callable[[Any], Engine]) -> RunReport:
        """One scoring; now and then somebody rolls back before it."""
        if not hasattr(here, "name"):
            self._resume(open_store(str(self.folder / "out")))
        elif run_id is None and not self.cleaned and self.random.random() < 0.15:
            self._roll_back()
        mode = self._mode()
        document: dict[str, Any] = {
            "models": {"uri": str(self.folder / "models")},
            "input": {
                "uri": str(self.folder / "in"),
                "on_gone": "retire" if self.retires and mode == "replace" else "keep",
            },
            "score": {"actual": "y"},
            "output": {"uri": str(self.folder / "out"), "mode": mode, "report": "short"},
            "run": {"engine": "inline", "max_failed": "100%", **({"id": run_id} if run_id else {})},
            "metrics": {"enabled": False},
        }
        made = assemble_scoring(ScoringSettings.model_validate(document))
        for store in (made.input, made.output, made.models, made.index.store, made.index._table._store):
            self.scheduled(store)
        ahead = timedelta(seconds=self.random.uniform(-self.skew, self.skew))
        made.input.clock = lambda: self.clock() + ahead  # type: ignore[attr-defined]
        try:
            report = run(made, {}, purpose=ScoringRun(made), make_engine=make_engine)
        except HeldError as error:
            raise OutputError(error.message) from error  # somebody holds it for a while
        except OtherJobError as error:
            begun = json.loads((self.folder / "out" / "manyfit.json").read_bytes()).get("mode")
            if mode == "replace" or not (self.audit.replaces or begun == "replace"):
                raise
            raise OutputError(error.message) from error  # as it must be: nothing else would be right
        count = report.totals
        if count.planned != count.scored + count.unchanged + count.skipped + count.failed:
            self.problems.append(f"{report.run}: the keys do not add up: {count}")
        if count.rows_read != count.rows_written + count.rows_refused:
            self.problems.append(f"{report.run}: the rows do not add up: {count}")
        return report

    def _mode(self) -> str:
        """Of the next run."""
        if not hasattr(here, "name"):
            return self.modes[-1 if self.baton.steps else 0]
        # Once the output replaces, who appends is refused and comes to nothing.
        return self.modes[-1] if self.audit.replaces and self.random.random() < 0.9 else self.random.choice(self.modes)

    def _roll_back(self) -> None:
        output = self.scheduled(open_store(str(self.folder / "out")))
        predictions = Predictions(output)
        try:
            version = scored_before.before_rollback(output)
            if version is not None and version > 1:
                what = self.random.random()
                if what < 0.8:
                    predictions.rollback(self.random.randrange(1, version), hold=what < 0.2, base=version)
                else:
                    predictions.hold(version)
                if not 0.2 <= what < 0.8:
                    self.baton.stall()
                    self._resume(output)
        except ConfigurationError:  # what was known of its keys was never released: it says so
            pass

    def _resume(self, output: Store) -> None:
        """As `manyfit rollback --resume` does it: a hold that died half way is made first."""
        scored_before.before_rollback(output)
        indexes.Index(output).resume()

    # -- what must hold

    def stored(self, name: str) -> None:
        """Each version of the predictions is looked at before there is another one."""
        if name.startswith("predictions/_delta_log/"):
            self.releases += 1
            self.look()

    def look(self) -> None:
        """Audit what is there, bytes and all."""
        objects = folder_objects(self.folder / "out", *TABLES)
        if objects == self.seen:
            return
        self.seen = objects
        self.problems += self.audit.look(objects) + self._states(objects)
        self.read = self.audit.rows

    def _states(self, objects: dict[str, bytes]) -> list[str]:
        """What is known of a key is what its newest generation was made of, once the last release is made good."""
        newest, log = commits(objects, "predictions"), commits(objects, "index")
        if not newest or not log:
            return []
        known = {run for each in log for run in each.runs}
        followed = max((each.transactions.get("manyfit/followed", 0) for each in log), default=0)
        last = newest[-1]
        if any(run not in known for run in last.runs) or ("manyfit.restored" in last.about and followed < last.number):
            return []
        found, generations = [], self.audit.generations()
        for row in audit_rows(objects, "index"):
            mine = generations.get(row["key"], [])
            if row["state"] != "live":
                continue
            if not mine:
                found.append(f"{row['key']} is live and has no predictions")
            elif row["data"] not in self._prints(mine[-1]):
                found.append(f"{row['key']} is live with other data, or another model, than its predictions have")
        return [f"version {last.number}: {each}" for each in found]

    def _prints(self, made: Generation) -> set[str]:
        """The fingerprints of a generation: of each time its data set was written, with its model."""
        times = [name for name, slope in self.slope_of.items() if slope == made.value]
        return {hashlib.sha256(bytes.fromhex(each) + made.model.encode()).hexdigest() for each in times}

    def ended(self, slopes: dict[str, float]) -> None:
        """Each key's newest predictions are of its data and its model; each scoring of a key has one row of errors."""
        self.seen = {}
        self.look()
        generations, models = self.audit.generations(), self.models[-1]
        for key, slope in slopes.items():
            if key in models:
                made_of = generations[key][-1].made_of if key in generations else None
                if made_of != (int(slope), models[key][0]):
                    self.problems.append(f"{key} ends with {made_of} instead of {slope} by {models[key]}")
        errors = [(row["run"], row["key"], row["n"]) for row in audit_rows(self.seen, "errors")]
        known = {run for each in commits(self.seen, "index") for run in each.runs}
        # Of a release that somebody has taken back before it was made good, nothing is known: nobody can return to it.
        expected = [
            (name, key, rows)
            for name, mine in self.audit.scored.items()
            for key, rows in mine.items()
            if name in known or any(run == name for run, _, _ in errors)
        ]
        if sorted(errors) != sorted(expected):
            odd = sorted({*errors} ^ {*expected})
            self.problems.append(f"{len(errors)} rows of errors instead of {len(expected)}, among them {odd[:4]}")

    def _patch(self, patch: pytest.MonkeyPatch) -> None:
        super()._patch(patch)
        release = Predictions.release

        def released(*given: Any, **more: Any) -> Any:
            # Between the plan and the release lies time in which the data goes on and others release.
            self.tarry()
            return release(*given, **more)

        patch.setattr(Predictions, "release", released)
        for module in (models_ahead, replacing):
            patch.setattr(module, "ThreadPoolExecutor", Here)
        # Several chunks of a task, and several parts of a table.
        patch.setattr(chunks, "MOST_KEYS", 2)
        patch.setattr(generation, "MOST_KEYS", 3)
        patch.setattr(runs, "MOST_RETIRED", 1.0)
