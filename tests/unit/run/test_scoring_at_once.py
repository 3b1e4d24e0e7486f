"""Two scorings of one output at the same time: each row once, and what is known of a key belongs to its predictions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from job.cli.main import main
from job.engine import EngineReport
from job.engine.inline import InlineEngine
from job.errors import OutputError
from job.registry.index import Index
from job.registry.predictions import Predictions
from job.run import scored_before
from job.store import Store
from job.worker.direct import Work
from tests.support.score_job import ScoreJob, counts, rows

BROKEN = b"id,x,y\n1,a,2\n"


@pytest.fixture
def job(tmp_path: Path) -> ScoreJob:
    """Three keys with models and rows."""
    made = ScoreJob(tmp_path, keys=3)
    made.trained.run()
    return made


class Meanwhile(InlineEngine):
    """Does its work, and then something happens before the run releases."""

    def __init__(self, happens: Callable[[], None]) -> None:
        super().__init__()
        self._happens = happens

    def run(self, work: Work, tasks: int, tick: Callable[[], None]) -> EngineReport:
        done = super().run(work, tasks, tick)
        self._happens()
        return done


def state(job: ScoreJob, key: str) -> str:
    (row,) = Index(job.assembly().output).read(columns=["state"], keys=[key]).to_pylist()
    return str(row["state"])


def test_a_run_that_has_only_failures_to_tell_ends_another_that_was_planned_before_it(job: ScoreJob) -> None:
    job.score()
    good = rows(2.0, count=4)
    job.put("k1.csv", good)

    def fails() -> None:
        job.put("k1.csv", BROKEN)
        assert counts(job.score(run={"max_failed": 1})) == (0, 2, 0, 1)

    with pytest.raises(OutputError, match="another run released"):
        job.score(engine=lambda _: Meanwhile(fails))
    assert state(job, "k1") == "stale"
    job.put("k1.csv", good)
    job.score()
    job.score()
    assert job.keys() == {"k0": 6, "k1": 6 + 4, "k2": 6}, "the new rows are there once"
    assert state(job, "k1") == "live"


def test_a_run_that_has_only_failures_to_tell_ends_if_another_has_released(job: ScoreJob) -> None:
    job.score()
    good = rows(2.0, count=4)
    job.put("k1.csv", BROKEN)

    def succeeds() -> None:
        job.put("k1.csv", good)
        assert counts(job.score()) == (1, 2, 0, 0)

    with pytest.raises(OutputError, match="another run released"):
        job.score(engine=lambda _: Meanwhile(succeeds))
    assert state(job, "k1") == "live"
    assert counts(job.score()) == (0, 3, 0, 0)
    assert job.keys() == {"k0": 6, "k1": 6 + 4, "k2": 6}


def test_failures_are_told_by_the_next_run_if_their_run_died_before_it_had_told_them(
    job: ScoreJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.score()
    job.put("k1.csv", BROKEN)

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(scored_before, "derive", dies)
        with pytest.raises(KeyboardInterrupt):
            job.score(run={"max_failed": 1})
    assert state(job, "k1") == "live"
    scored_before.make_good(job.assembly().output)
    assert state(job, "k1") == "stale"
    scored_before.make_good(job.assembly().output)
    assert Index(job.assembly().output).version() == 2, "once"


@pytest.mark.parametrize("mode", ["append", "replace"])
def test_an_output_whose_first_run_had_only_failures_gets_its_columns_from_the_first_rows(
    job: ScoreJob, mode: str
) -> None:
    job.overrides = {"output": {"mode": mode}}
    for key in ("k0", "k1", "k2"):
        job.put(f"{key}.csv", BROKEN)
    first = job.score(run={"max_failed": 3})
    assert (first.version, counts(first), job.keys()) == (1, (0, 0, 0, 3), {})
    for at in range(3):
        job.put(f"k{at}.csv", rows(at + 1.0))
    assert counts(job.score()) == (3, 0, 0, 0)
    assert job.keys() == {"k0": 6, "k1": 6, "k2": 6}
    assert job.table().column_names[:4] == ["id", "x", "y", "prediction"]
    job.put("k2.csv", BROKEN)
    job.score(run={"max_failed": 1})
    assert job.predictions.rollback(2).metadata["restored"] == "2"
    assert state(job, "k2") == "live"


def test_a_key_that_is_skipped_again_changes_nothing_and_its_predictions_stay_known(job: ScoreJob) -> None:
    job.score()
    job.put("k1.csv", b"id,x,y\n")
    skipped = job.score()
    again = job.score()
    assert (counts(skipped), counts(again)) == ((0, 2, 1, 0),) * 2
    assert (skipped.version, again.version) == (2, 2)
    job.put("k1.csv", rows(2.0))
    assert counts(job.score()) == (0, 3, 0, 0), "its very rows were scored before"
    assert job.keys() == {"k0": 6, "k1": 6, "k2": 6}


@pytest.mark.parametrize("given", [["--hold"], ["1"], ["1", "--hold"]], ids=" ".join)
def test_a_rollback_or_hold_that_a_release_overtakes_changes_nothing_and_says_so(
    job: ScoreJob, given: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else the states of that release would come after the rollback, or never, and its rows be lost or doubled."""
    job.score()
    job.put("k2.csv", rows(3.0, count=5))
    job.score()
    job.put("k1.csv", rows(2.0, count=4))
    output, made_good = job.assembly().output, scored_before.make_good

    def and_another_releases(store: Store) -> None:
        made_good(store)
        with monkeypatch.context() as patch:
            patch.setattr(scored_before, "make_good", made_good)
            job.score()

    with monkeypatch.context() as patch:
        patch.setattr(scored_before, "make_good", and_another_releases)
        assert main(["rollback", str(job.out), *given]) == 5
    assert "another run released" in capsys.readouterr().err
    assert (Predictions(output).version(), Index(output).held()) == (3, False)
    assert main(["rollback", str(job.out), *given]) == 0
    assert job.keys()["k1"] == (6 if given[0] == "1" else 10)


def test_a_key_that_is_gone_makes_a_version_once(job: ScoreJob) -> None:
    job.score()
    (job.data / "k2.csv").unlink()
    assert [job.score().version for _ in range(3)] == [2, 2, 2]
    job.put("k2.csv", rows(3.0))
    assert [job.score().version for _ in range(2)] == [3, 3]
    assert job.keys() == {"k0": 6, "k1": 6, "k2": 6}
