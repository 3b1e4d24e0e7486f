"""Outputs of released versions: read, verified, and run on by this version."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from job.config.settings import JobSettings
from job.engine.inline import InlineEngine
from job.registry.index import Index
from job.registry.model_set import ModelSet
from job.registry.signing import verify_release
from job.run.assembly import assemble
from job.run.planning import plan_alone
from job.run.report import RunReport
from job.run.run import run
from job.store import open_store

GOLDEN = Path(__file__).parents[2] / "golden" / "v0.1.0"


class Taken:
    """A copy of a released job's input and output, as if it had always been there."""

    def __init__(self, root: Path, document: str) -> None:
        shutil.copytree(GOLDEN, root, dirs_exist_ok=True)
        self.document = yaml.safe_load((root / document).read_text())
        for side in ("input", "output"):
            self.document[side]["uri"] = str(root / self.document[side]["uri"])
        self.out = Path(self.document["output"]["uri"])
        # Only the place is another: an output belongs to one input.
        identity = json.loads((self.out / "manyfit.json").read_text())
        (self.out / "manyfit.json").write_text(json.dumps({**identity, "input": self.document["input"]["uri"]}))

    def settings(self, **sections: dict[str, object]) -> JobSettings:
        document = {name: {**self.document.get(name, {}), **values} for name, values in sections.items()}
        return JobSettings.model_validate({**self.document, **document})

    def run(self, **sections: dict[str, object]) -> RunReport:
        return run(assemble(self.settings(**sections)), {}, make_engine=lambda _: InlineEngine())


@pytest.fixture
def taken(tmp_path: Path) -> Taken:
    return Taken(tmp_path, "job.yaml")


def test_a_run_on_an_output_of_the_last_version_trains_nothing(taken: Taken) -> None:
    before = {path.name for path in (taken.out / "models").rglob("*.joblib")}

    first = taken.run(output={"unsigned": True})

    total = first.totals
    assert (total.trained, total.unchanged, total.skipped, total.failed) == (0, 4, 1, 1)
    assert {path.name for path in (taken.out / "models").rglob("*.joblib")} == before
    # From now on it is known that today's rules of reading give the same rows: nothing is read again.
    assert plan_alone(assemble(taken.settings())).reasons() == {"unchanged": 4, "failed": 1, "skipped": 1}


def test_a_new_way_of_reading_trains_only_the_keys_that_it_concerns(tmp_path: Path) -> None:
    """Version 0.1 gave all files of a key the deeper levels of the first one."""
    taken = Taken(tmp_path, "hive.yaml")

    report = taken.run()

    assert (report.totals.trained, report.totals.unchanged) == (2, 0)


def test_models_of_the_last_version_are_read_with_their_signatures_now_and_then(taken: Taken) -> None:
    public = GOLDEN / "public.pem"
    now = ModelSet.open(str(taken.out), allow_version_skew=True)
    then = ModelSet.open(str(taken.out), at=1, allow_version_skew=True)

    assert sorted(now) == ["shop 0", "shop 1", "shop 2", "shop 3"]
    assert [round(float(models["shop 3"].coef_[0])) for models in (now, then)] == [9, 4]
    for version in (1, 2):
        verify_release(open_store(str(taken.out)), version, public.read_bytes(), signed_for="/tmp/golden/out")


def test_versions_of_the_last_release_are_rolled_back_to_across_a_release_of_this_one(taken: Taken) -> None:
    data = taken.out.parent / "in" / "shop 1.csv.gz"
    data.write_bytes((taken.out.parent / "in" / "shop 2.csv.gz").read_bytes())
    assert taken.run(output={"unsigned": True}).totals.trained == 1

    Index(open_store(str(taken.out))).rollback(1)

    models = ModelSet.open(str(taken.out), allow_version_skew=True)
    assert [round(float(models[key].coef_[0])) for key in models] == [1, 2, 3, 4]
