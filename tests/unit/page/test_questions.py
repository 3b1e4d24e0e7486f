"""What a page says of facts that are known: changes, failures, time line, metrics, the runs before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from job.cli import watch
from job.config.settings import StorageSide
from job.errors import ConfigurationError
from job.outcome import SCHEMA
from job.page import build, changes, facts, failures, metrics, night, quality, timing
from job.page.facts import Facts
from job.page.section import Section
from job.registry.index import ROW
from job.store.opening import open_store
from tests.support import fleets

NOW = datetime(2026, 11, 2, tzinfo=UTC)


def outcomes(rows: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([{"adopted": False, "attempt": 0, "task": 0, **row} for row in rows], schema=SCHEMA)


def published(**keys: tuple[str, float]) -> pa.Table:
    """Key to digest and r2."""
    rows = [
        {"key": key, "state": "live", "digest": digest, "metrics": f'{{"r2": {r2}}}'}
        for key, (digest, r2) in keys.items()
    ]
    return pa.Table.from_pylist(rows, schema=ROW)


def some(**given: Any) -> Facts:
    result = {
        "run": "r2", "job": "shops", "exit_code": 0, "version": 2, "published": True, "started_at": "2026-11-02T00:00:00+00:00",
        "seconds": 10.0, "phases": {"train": 5.0}, "workers": 2,
        "totals": {"planned": 4, "trained": 4, "unchanged": 0, "skipped": 0, "failed": 0, "adopted": 0},
    }  # fmt: skip
    made: dict[str, Any] = {
        "output": "s3://models/shops/", "result": result, "outcomes": None, "published": None, "before": None,
        "against": 1, "versions": (), "runs": (result,), "failed_before": {}, "now": NOW,
    }  # fmt: skip
    return Facts(**{**made, **given})


def rows_of(section: Section | None, name: str) -> list[tuple[Any, ...]]:
    assert section is not None
    every = [
        *section.grids,
        *(picture.grid for picture in section.pictures),
        *([section.behind] if section.behind else []),
    ]
    return list(next(grid for grid in every if grid.name == name).rows)


def test_a_model_that_got_worse_is_named_and_one_that_is_the_same_is_not_compared() -> None:
    found = changes.of(
        some(
            before=published(a=("1", 0.9), b=("1", 0.9), same=("7", 0.1)),
            published=published(a=("2", 0.4), b=("2", 0.95), same=("7", 0.1), new=("2", 0.0)),
        )
    )
    assert [row[0] for row in rows_of(found, "worse")] == ["a"]
    assert sorted(row[0] for row in rows_of(found, "then_and_now")) == ["a", "b"]
    assert found is not None
    assert found.answer == "2 keys with another model, 1 new: by r2, 1 worse and 1 better."


def test_where_lower_is_better_a_rise_is_a_loss() -> None:
    assert not metrics.higher_is_better("rmse")
    assert not metrics.higher_is_better("val_log_loss")
    assert metrics.higher_is_better("neg_root_mean_squared_error")
    assert metrics.higher_is_better("r2")
    assert metrics.worst_first("rmse", np.array([1.0, 3.0, np.nan, 2.0])).tolist() == [1, 3, 0]
    assert metrics.worst_first("r2", np.array([1.0, 3.0, np.nan, 2.0])).tolist() == [0, 3, 1]


def test_metrics_become_columns_whatever_a_function_wrote_in_them() -> None:
    texts = ['{"a": 1, "b": 2.5}', None, '{"b": NaN}', '{"a": "text", "b": 7}']
    columns = metrics.columns(pa.table({"metrics": pa.array(texts, pa.string())}))
    assert columns["a"][0] == 1
    assert np.isnan(columns["a"][1:]).all()
    assert columns["b"].tolist()[::3] == [2.5, 7]


def test_a_metric_that_no_model_has_is_refused_with_those_that_there_are() -> None:
    facts = some(before=published(a=("1", 0.9)), published=published(a=("2", 0.4)), metric="rmse")
    with pytest.raises(ConfigurationError, match="'rmse'"):
        changes.of(facts)


def test_keys_that_fail_every_night_come_first_and_messages_are_grouped() -> None:
    failed = {"status": "failed", "reason": "fit_error", "message": "singular"}
    rows = [{"key": key, **failed} for key in "abc"] + [{"key": "d", **failed, "message": "other"}]
    found = failures.of(some(outcomes=outcomes(rows), failed_before={"c": 3, "b": 1}, runs=({}, {}, {}, some().result)))
    assert [row[:2] for row in rows_of(found, "failing")] == [("c", 3), ("b", 1), ("a", 0), ("d", 0)]
    assert [(row[0], row[2]) for row in rows_of(found, "messages")] == [(3, "singular"), (1, "other")]


def test_the_time_line_has_a_bar_for_each_task_of_each_worker() -> None:
    start = 1_000_000.0
    fits = [("w:1", 0, 1.0, 1.0), ("w:1", 0, 2.0, 0.5), ("w:1", 2, 5.0, 1.0), ("w:2", 1, 4.0, 4.0)]
    rows = [
        {
            "key": f"k{at}",
            "status": "trained",
            "worker": worker,
            "task": task,
            "finished_at": start + end,
            "seconds": seconds,
        }
        for at, (worker, task, end, seconds) in enumerate(fits)
    ]
    found = timing.of(some(outcomes=outcomes(rows)))
    assert rows_of(found, "tasks") == [
        ("w:1", 0, 0.0, 2.0, 2, 0, 1.5),
        ("w:1", 2, 4.0, 5.0, 1, 0, 1.0),
        ("w:2", 1, 0.0, 4.0, 1, 0, 4.0),
    ]
    assert {row[0]: row[3] for row in rows_of(found, "workers")} == {"w:2": 0.8, "w:1": 0.5}


def test_tasks_that_ran_at_once_are_counted_and_one_after_the_other_are_not() -> None:
    def parallel(*spans: tuple[float, float]) -> int:
        rows = [
            {
                "key": f"k{at}",
                "status": "trained",
                "worker": f"w:{at}",
                "task": at,
                "finished_at": end,
                "seconds": end - begin,
            }
            for at, (begin, end) in enumerate(spans)
        ]
        return int(
            dict(zip(names(), rows_of(timing.of(some(outcomes=outcomes(rows))), "time")[0], strict=True))["at_once"]
        )

    def names() -> list[str]:
        row = {"key": "a", "status": "trained", "worker": "w", "finished_at": 1.0, "seconds": 1.0}
        section = timing.of(some(outcomes=outcomes([row])))
        assert section is not None
        assert section.behind is not None
        return [each.name for each in section.behind.columns]

    assert parallel((0, 2), (2, 4), (4, 5)) == 1
    assert parallel((0, 3), (1, 4), (2, 2.5)) == 3


def test_keys_that_took_no_time_do_not_count_for_the_median() -> None:
    took = [0.0, 0.0, 0.0, 2.0, 4.0, 4.0]
    rows = [
        {"key": f"k{at}", "status": "trained", "worker": "w", "finished_at": 10.0 + at, "seconds": each}
        for at, each in enumerate(took)
    ]
    found = timing.of(some(outcomes=outcomes(rows)))
    assert found is not None
    assert found.answer.endswith("The slowest fit took 4 s.")
    assert rows_of(found, "time")[0][-1] == 4.0


def test_skill_and_gate_are_shown_where_there_are_some_and_else_left_out() -> None:
    rows = [
        {
            "key": "a",
            "state": "live",
            "digest": "1",
            "metrics": '{"r2": 0.5}',
            "rows": 10,
            "skill": -0.1,
            "gate": "kept",
        },
        {
            "key": "b",
            "state": "live",
            "digest": "2",
            "metrics": '{"r2": 0.7}',
            "rows": 20,
            "skill": 0.4,
            "gate": "promoted",
        },
    ]
    table = pa.Table.from_pylist(rows, schema=ROW)
    before = pa.Table.from_pylist([{**each, "digest": "0"} for each in rows], schema=ROW)
    found = quality.of(some(published=table))
    assert found is not None
    assert found.answer.startswith("1 of 2 models do no better than their baseline")
    assert [row[0] for row in rows_of(found, "worst.skill")] == ["a", "b"]
    assert rows_of(found, "worst.r2")[0][-1] == "kept"
    assert rows_of(changes.of(some(published=table, before=before)), "gate") == [("kept", 1), ("promoted", 1)]
    assert [row[:2] for row in rows_of(changes.of(some(published=table, before=before)), "kept")] == [("a", "kept")]
    kept = changes.of(some(published=table, before=table))
    assert kept is not None
    assert kept.answer == "0 keys with another model, 0 new."
    assert [row[0] for row in rows_of(kept, "kept")] == ["a"]
    plain = quality.of(some(published=table.drop_columns(["skill", "gate"])))
    assert plain is not None
    assert "baseline" not in plain.answer
    assert len(rows_of(plain, "worst.r2")[0]) == len(rows_of(found, "worst.r2")[0]) - 2


def test_what_an_earlier_run_trained_is_not_on_the_time_line() -> None:
    row = {"key": "a", "status": "trained", "worker": "w:1", "finished_at": 1.0, "seconds": 1.0}
    assert timing.of(some(outcomes=outcomes([{**row, "adopted": True}]))) is None
    assert timing.of(some(outcomes=outcomes([row]))) is not None


@pytest.mark.parametrize(("code", "failed", "word"), [(0, 0, "Yes"), (0, 1, "Mostly"), (6, 1, "No"), (4, 0, "No")])
def test_the_verdict_follows_the_exit_code_and_the_failures(code: int, failed: int, word: str) -> None:
    result = {**some().result, "exit_code": code}
    result["totals"] = {**result["totals"], "failed": failed}
    assert night.verdict(result).startswith(f"{word}:")


def test_the_facts_are_of_the_newest_run_that_ended_and_of_those_before_it(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    runs = fleets.publish(store, 60, runs=4, failing=0.3)
    store.put("runs/zzz/run.json", b'{"run": "zzz", "started_at": "2026-12-01T00:00:00+00:00"}')
    found = facts.read(store)
    assert (found.run, found.version, found.against) == (runs[3], 4, 3)
    assert [each["run"] for each in found.runs] == runs
    assert max(found.failed_before.values()) == 3
    older = facts.read(store, run=runs[1], last=2)
    assert (older.version, older.against, [each["run"] for each in older.runs]) == (2, 1, runs[:2])


def test_a_run_that_is_not_there_is_refused(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    with pytest.raises(ConfigurationError, match="no run has ended"):
        facts.read(store)
    fleets.publish(store, 20, runs=1)
    with pytest.raises(ConfigurationError, match="'nightly'"):
        facts.read(store, run="nightly")


def test_a_page_without_a_published_table_or_outcomes_still_answers_what_it_can() -> None:
    assert changes.of(some()) is None
    assert timing.of(some()) is None
    assert failures.of(some()) is None
    assert night.of(replace(some(), runs=(some().result,))).answer.startswith("Yes")


def test_page_and_watch_work_on_s3(s3: Any, capsys: pytest.CaptureFixture[str]) -> None:
    store = open_store(f"s3://{s3.bucket()}/models", StorageSide(**s3.storage))
    runs = fleets.publish(store, 60, runs=3, failing=0.3, allowed=0.9)
    found = facts.read(store)
    assert (found.run, len(found.runs), max(found.failed_before.values())) == (runs[2], 3, 2)
    assert [each.name for each in build.sections(found)] == ["night", "models", "changes", "failures", "time", "age"]
    assert watch.main(store, None) == 0
    assert "no run is in flight" in capsys.readouterr().err
