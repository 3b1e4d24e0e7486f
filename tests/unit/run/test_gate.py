"""The gate, from the plan to the published version: which model is live after which night, and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from job.cli import main
from job.engine import EngineReport
from job.engine.inline import InlineEngine
from job.errors import ConfigurationError
from job.keys import model_name
from job.registry.index import Index
from job.registry.model_set import ModelSet
from job.registry.verify import verify
from job.run.assembly import assemble
from job.run.report import RunReport, lines
from job.worker.direct import work_on
from job.worker.work import Work, summary_row
from tests.support.folder_job import Job
from tests.support.signing_keys import PRIVATE, PUBLIC

METRIC = "neg_mean_absolute_error"
DEEP = {"_target_": "sklearn.tree.DecisionTreeRegressor", "max_depth": 1}
LINEAR = {"_target_": "sklearn.linear_model.LinearRegression"}
MEAN = {"_target_": "sklearn.dummy.DummyRegressor"}


def table(days: int, slope: float = 1.0, seed: int = 0, level: float = 0.0) -> bytes:
    """A line with noise, a row a day; more days begin with the same rows."""
    rng = np.random.default_rng(seed)
    n = np.arange(400)
    y = level + slope * n / 10 + rng.normal(size=400)
    frame = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=400), "n": n, "y": y})
    return frame[:days].to_csv(index=False).encode()


def sections(estimator: dict[str, Any], **promote: Any) -> dict[str, Any]:
    validation = {"method": "backtest", "column": "day", "windows": 3, "horizon": 14}
    return {
        "recipe": {"features": ["n"], "estimator": estimator, "metrics": [METRIC], "validation": validation},
        "promote": {"metric": METRIC, **promote},
    }


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Ten keys with a trend, of 100 days."""
    job = Job(tmp_path)
    night(job, 100)
    return job


def night(job: Job, days: int, keys: int = 10) -> None:
    for number in range(keys):
        job.put(f"k{number}.csv", table(days, seed=number))


def row(job: Job, key: str = "k0") -> dict[str, Any]:
    (found,) = Index(ModelSet.open(str(job.out))._store).read(keys=[key]).to_pylist()
    return found


def states(job: Job) -> dict[str, Any]:
    rows = Index(ModelSet.open(str(job.out))._store).read(columns=["key", "gate"]).to_pylist()
    return {each["key"]: each["gate"] for each in rows}


def added_up(report: RunReport) -> dict[str, int]:
    assert sum(report.gate.values()) == report.totals.trained
    return {state: number for state, number in report.gate.items() if number}


def test_a_better_recipe_replaces_the_live_models_and_a_worse_one_does_not(job: Job) -> None:
    first = job.run(**sections(MEAN))
    assert added_up(first) == {"first": 10}
    mean = row(job)
    assert (mean["gate"], mean["until"]) == ("first", "2024-04-09T00:00:00")

    night(job, 142)
    better = job.run(**sections(LINEAR))
    assert added_up(better) == {"promoted": 10}
    linear = row(job)
    assert linear["digest"] != mean["digest"]
    assert linear["gate_rows"] == 42
    assert linear["gate_challenger"] > linear["gate_champion"]
    assert linear["gate_gain"] > 0.5
    assert linear["gate_p"] < 0.001
    assert linear["until"] == "2024-05-21T00:00:00"

    night(job, 184)
    worse = job.run(**sections(MEAN))
    assert added_up(worse) == {"kept": 10}
    kept = row(job)
    assert kept["digest"] == linear["digest"]
    assert (kept["gate"], kept["until"], kept["judged_until"]) == ("kept", "2024-05-21T00:00:00", "2024-07-02T00:00:00")
    assert kept["challenger"] is not None
    assert worse.exit_code == 0
    assert "gate: 10 trained = 0 first + 0 promoted + 10 kept + 0 undecidable" in lines(worse)
    assert json.loads((job.out / "runs" / worse.run / "result.json").read_text())["gate"]["kept"] == 10


def test_the_night_after_a_key_was_kept_nothing_is_trained(job: Job) -> None:
    job.run(**sections(LINEAR))
    night(job, 142)
    assert added_up(job.run(**sections(MEAN))) == {"kept": 10}
    again = job.run(**sections(MEAN))
    assert (again.totals.unchanged, again.totals.trained) == (10, 0)
    assert again.gate == {}


def test_the_same_rows_do_not_judge_night_after_night(job: Job) -> None:
    """A recipe that changes each night on the same data is judged once, and then waits for new rows."""
    job.run(**sections(LINEAR))
    night(job, 142)
    assert added_up(job.run(**sections(MEAN, on_undecidable="keep"))) == {"kept": 10}
    live = row(job)["digest"]
    for depth in (1, 2, 3):
        tried = job.run(**sections({**DEEP, "max_depth": depth}, on_undecidable="keep"))
        assert added_up(tried) == {"undecidable": 10}
        assert row(job)["digest"] == live
        assert row(job)["judged_until"] == "2024-05-21T00:00:00"
    assert row(job)["gate_note"] == "no held-out row is newer than what the live model has seen"


def test_rows_that_are_too_few_wait_for_more(job: Job) -> None:
    job.run(**sections(MEAN))
    for days, expected in ((110, "undecidable"), (120, "undecidable"), (130, "promoted")):
        night(job, days)
        assert added_up(job.run(**sections(LINEAR, on_undecidable="keep"))) == {expected: 10}
    assert row(job)["gate_rows"] == 30


@pytest.mark.parametrize(("policy", "replaced"), [("promote", True), ("keep", False)])
def test_what_cannot_be_decided_is_up_to_the_job(job: Job, policy: str, replaced: bool) -> None:
    job.run(**sections(LINEAR))
    before = row(job)
    night(job, 110)
    done = job.run(**sections(LINEAR, on_undecidable=policy))
    assert added_up(done) == {"undecidable": 10}
    after = row(job)
    assert after["gate"] == "undecidable"
    assert (after["digest"] != before["digest"]) == replaced
    assert (after["challenger"] is None) == replaced
    assert job.run(**sections(LINEAR, on_undecidable=policy)).totals.unchanged == 10


def test_a_live_model_that_cannot_be_loaded_is_told(job: Job) -> None:
    job.run(**sections(LINEAR))
    lost = job.out / model_name("k0", row(job, "k0")["digest"])
    lost.unlink()
    broken = job.out / model_name("k1", row(job, "k1")["digest"])
    broken.write_bytes(b"x" * broken.stat().st_size)
    night(job, 142)
    done = job.run(**sections(LINEAR))
    assert added_up(done)["undecidable"] == 2
    assert row(job, "k0")["gate_note"] == "the live model's file cannot be read"
    assert "bytes are not those that were published" in row(job, "k1")["gate_note"]
    assert verify(ModelSet.open(str(job.out))._store).damaged == ()  # both were replaced


def test_models_from_before_the_gate_are_undecidable_once(job: Job) -> None:
    plain = sections(LINEAR)
    plain["recipe"]["validation"] = "kfold"
    del plain["promote"]
    job.run(**plain)
    assert row(job)["until"] is None
    night(job, 142)
    assert added_up(job.run(**sections(LINEAR))) == {"undecidable": 10}
    assert row(job)["gate_note"] == "it is not recorded up to when the live model was fitted"
    night(job, 184)
    assert "undecidable" not in added_up(job.run(**sections(LINEAR)))


def test_without_a_gate_every_new_model_is_live_as_before(job: Job) -> None:
    job.run(**sections(LINEAR))
    night(job, 142)
    plain = sections(MEAN)
    del plain["promote"]
    done = job.run(**plain)
    assert done.gate == {}
    assert (row(job)["gate"], row(job)["gate_rows"], row(job)["challenger"]) == (None, None, None)
    assert ModelSet.open(str(job.out))["k0"].__class__.__name__ == "DummyRegressor"


def test_a_kept_challenger_is_published_by_hand_and_stays(job: Job) -> None:
    job.run(**sections(LINEAR))
    night(job, 142)
    job.run(**sections(MEAN))
    index = Index(ModelSet.open(str(job.out))._store)
    index.promote(["k0"])
    assert ModelSet.open(str(job.out))["k0"].__class__.__name__ == "DummyRegressor"
    assert ModelSet.open(str(job.out))["k1"].__class__.__name__ == "LinearRegression"
    assert row(job)["metrics"] == json.dumps({METRIC: json.loads(row(job)["metrics"])[METRIC]})
    assert job.run(**sections(MEAN)).totals.unchanged == 10
    night(job, 184)
    job.run(**sections(LINEAR))
    assert states(job)["k0"] == "promoted"  # the mean, by a line that the others had stayed with
    assert list(states(job).values()).count("kept") >= 7


def test_a_rollback_brings_the_live_model_back_and_it_is_judged_again(job: Job) -> None:
    job.run(**sections(MEAN))
    first = row(job)
    night(job, 142)
    job.run(**sections(LINEAR))
    Index(ModelSet.open(str(job.out))._store).rollback(1)
    assert row(job)["digest"] == first["digest"]
    again = job.run(**sections(LINEAR))
    assert added_up(again) == {"promoted": 10}
    assert row(job)["gate_rows"] == 42


def test_a_key_that_fails_or_is_skipped_has_no_state(job: Job) -> None:
    job.run(**sections(LINEAR))
    night(job, 142)
    job.put("k0.csv", b"day,n,y\n2024-01-01,a,b\n")
    job.put("k1.csv", b"day,n,y\n")
    done = job.run(**sections(MEAN))
    assert (done.totals.failed + done.totals.skipped, done.totals.trained) == (2, 8)
    assert added_up(done) == {"kept": 8}
    assert row(job, "k0")["state"] == "stale"
    assert row(job, "k0")["gate"] == "first"


class SecondAttempt(InlineEngine):
    """Every task is at its second attempt: fits are guarded, each in a child process."""

    def run(self, work: Work, tasks: int, tick: Callable[[], None]) -> EngineReport:
        done = [work_on(work, task, 1, expendable=False) for task in range(tasks)]
        return EngineReport(summaries=tuple(summary_row(each) for each in done))


def test_guarded_fits_are_compared_as_well(job: Job) -> None:
    job.run(**sections(MEAN))
    night(job, 142)
    assert added_up(job.run(lambda _: SecondAttempt(), **sections(LINEAR))) == {"promoted": 10}
    assert row(job)["gate_rows"] == 42


def test_an_unchanged_recipe_on_new_rows_is_hardly_ever_promoted_in_an_a_a_test(tmp_path: Path) -> None:
    """100 keys whose truth does not change: the live model and the new one are equally good."""
    job = Job(tmp_path)
    for number in range(100):
        job.put(f"k{number:03}.csv", table(150, seed=number))
    settings = sections(LINEAR)
    job.run(**settings)
    for number in range(100):
        job.put(f"k{number:03}.csv", table(192, seed=number))
    done = job.run(**settings)
    found = added_up(done)
    assert found.get("undecidable", 0) == 0
    assert found.get("promoted", 0) <= 100 * 0.05


def test_a_truth_that_has_changed_is_found_for_nearly_every_key(tmp_path: Path) -> None:
    """Of 60 keys, the level of 30 jumps: the live model is wrong there, and the new one learns it from new rows."""
    job = Job(tmp_path)
    for number in range(60):
        job.put(f"k{number:03}.csv", table(100, slope=0.0, seed=number))
    tree = sections({"_target_": "sklearn.tree.DecisionTreeRegressor", "min_samples_leaf": 5})
    job.run(**tree)
    for number in range(60):
        body = table(100, 0.0, number).decode().splitlines()
        jump = 6.0 if number < 30 else 0.0
        body += table(170, 0.0, number, jump).decode().splitlines()[101:]
        job.put(f"k{number:03}.csv", "\n".join(body).encode())
    job.run(**tree)
    found = states(job)
    assert sum(found[f"k{number:03}"] == "promoted" for number in range(30)) >= 27
    assert sum(found[f"k{number:03}"] == "promoted" for number in range(30, 60)) <= 2


def test_a_score_that_does_not_go_with_the_recipe_is_refused_before_anything_runs(job: Job) -> None:
    with pytest.raises(ConfigurationError, match="'accuracy' is for classifiers") as caught:
        assemble(job.settings(**{**sections(LINEAR), "promote": {"metric": "accuracy"}}))
    assert caught.value.problems


def test_a_signed_set_stays_signed_through_the_gate_and_through_a_promotion_by_hand(
    job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key.pem").write_bytes(PRIVATE)
    (tmp_path / "public.pem").write_bytes(PUBLIC)
    signing = {"output": {"signing_key": str(tmp_path / "key.pem")}}
    job.run(**sections(LINEAR), **signing)
    night(job, 142)
    assert added_up(job.run(**sections(MEAN), **signing)) == {"kept": 10}
    store = ModelSet.open(str(job.out), public_key=PUBLIC)._store
    assert (verify(store, public_key=PUBLIC).checked, verify(store, public_key=PUBLIC).damaged) == (20, ())

    assert main.main(["promote", str(job.out), "k0"]) == 2
    assert Index(store).version() == 2
    assert main.main(["promote", str(job.out), "k0", "--signing-key", str(tmp_path / "key.pem")]) == 0
    assert "version 3 is signed" in capsys.readouterr().out
    models = ModelSet.open(str(job.out), public_key=PUBLIC)
    assert (models["k0"].__class__.__name__, models["k1"].__class__.__name__) == ("DummyRegressor", "LinearRegression")
