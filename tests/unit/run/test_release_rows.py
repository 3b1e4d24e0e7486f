"""Settled outcomes become the rows of a release: of what changed, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from job.outcome import FAILED, SKIPPED, TRAINED, UNCHANGED, Outcome, to_table
from job.plan.plan import Plan
from job.registry import row as rules
from job.run import release_rows
from tests.support.planned import NOW, planned

FINISHED = datetime(2026, 11, 23, 12, 30, 15, 250000, tzinfo=UTC)
NOTHING_KNOWN = pa.table({name: pa.array([], pa.string()) for name in ("key", "state", "reason", "message")})
PRINTS = {"data": "d", "content": "c", "recipe": "r", "environment": "e", "source": "s", "bytes": 7}


def outcome(key: str, status: str, **options: Any) -> Outcome:
    if status == TRAINED:
        model = {"digest": "0" * 64, "size": 3, "metrics": "{}", "seconds": 0.5}
        options = {**model, "rows": 9, "finished_at": FINISHED.timestamp(), "warnings": "[]", **options}
    return Outcome(key=key, status=status, **{**PRINTS, **options})


def made(*outcomes: Outcome, plan: Plan | None = None, **options: Any) -> dict[str, dict[str, Any]]:
    given = {"retire_gone": False, "known": NOTHING_KNOWN, **options}
    table = release_rows.of(plan or planned(), to_table(list(outcomes)), run="run-1", versions="{}", **given)
    assert rules.checked(table).num_rows == table.num_rows
    rows = table.to_pylist()
    assert len({row["key"] for row in rows}) == len(rows)
    return {row["key"]: row for row in rows}


def known_rows(state: str, **columns: list[Any]) -> pa.Table:
    """What the index knows of keys without success."""
    return pa.table({**columns, "state": [state] * len(columns["key"])})


def said(row: dict[str, Any]) -> dict[str, Any]:
    """What a row says, without what it leaves open."""
    return {name: value for name, value in row.items() if value not in (None, "")}


def test_a_trained_key_is_put_live_with_all_that_describes_its_model() -> None:
    assert said(made(outcome("a", TRAINED))["a"]) == {
        "key": "a", "action": "put", "state": "live", "listed_at": NOW, "run": "run-1", "versions": "{}",
        "trained_at": FINISHED, "digest": "0" * 64, "size": 3, "rows": 9, "metrics": "{}", "warnings": "[]",
        "seconds": 0.5, **PRINTS,
    }  # fmt: skip


def test_a_failed_key_is_put_with_its_reason_and_no_fingerprints_so_that_it_is_tried_again() -> None:
    found = said(made(outcome("a", FAILED, reason="fit_error", message="no"))["a"])
    assert found == {
        "key": "a", "action": "put", "state": "failed", "listed_at": NOW, "run": "run-1", "reason": "fit_error",
        "message": "no", "source": "s", "bytes": 7,
    }  # fmt: skip


def test_a_skipped_key_is_put_with_its_fingerprints_so_that_it_is_not_read_again() -> None:
    found = said(made(outcome("a", SKIPPED, reason="empty", message="no", rows=0))["a"])
    assert found == {
        "key": "a", "action": "put", "state": "skipped", "listed_at": NOW, "run": "run-1", "reason": "empty",
        "message": "no", "rows": 0, **PRINTS,
    }  # fmt: skip


def test_a_key_with_equal_bytes_is_touched_with_its_new_fingerprints() -> None:
    assert said(made(outcome("a", UNCHANGED))["a"]) == {"key": "a", "action": "touch", "listed_at": NOW, **PRINTS}


def test_the_same_failure_again_changes_nothing_and_another_one_does() -> None:
    known = known_rows("failed", key=["a", "b", "c"], reason=["x", "x", "x"], message=["m", None, "m"])
    again = [outcome(key, FAILED, reason="x", message=text) for key, text in zip("abc", ("m", None, "n"), strict=True)]
    assert made(*again, known=known).keys() == {"c"}
    # Neither key nor reason nor message may be taken for a part of another.
    other = known_rows("failed", key=["a"], reason=["xm"], message=[""])
    assert made(again[0], known=other).keys() == {"a"}


def test_the_same_skip_again_of_a_key_that_keeps_its_model_changes_nothing() -> None:
    again = outcome("a", SKIPPED, reason="empty", message="no")
    stale = known_rows("stale", key=["a"], reason=["empty"], message=["no"])
    assert made(again, known=stale) == {}
    assert made(replace(again, message="other"), known=stale).keys() == {"a"}
    # A key that has failed so far, and has no model, is skipped from now on.
    assert made(again, known=known_rows("failed", key=["a"], reason=["empty"], message=["no"])).keys() == {"a"}


@pytest.mark.parametrize(("retire", "action"), [(False, "gone"), (True, "retire")])
def test_a_key_that_is_gone_is_marked_or_retired(retire: bool, action: str) -> None:
    plan = replace(planned(), gone=pa.chunked_array([["z"]], pa.string()))
    assert said(made(plan=plan, retire_gone=retire)["z"]) == {"key": "z", "action": action, "listed_at": NOW}


def test_a_key_that_is_back_is_touched_unless_it_has_a_row_of_its_own() -> None:
    plan = replace(planned(), returned=pa.chunked_array([["a", "b", "c", "d", "e"]], pa.string()))
    own = (outcome("a", TRAINED), outcome("b", FAILED, reason="x"), outcome("c", SKIPPED), outcome("d", UNCHANGED))
    found = made(*own, plan=plan)
    assert said(found["e"]) == {"key": "e", "action": "touch", "listed_at": NOW}
    assert {key: row["action"] for key, row in found.items()} == {
        "a": "put", "b": "put", "c": "put", "d": "touch", "e": "touch",
    }  # fmt: skip


def test_nothing_that_changed_is_an_empty_table_with_all_columns() -> None:
    table = release_rows.of(planned(), to_table([]), run="r", versions="{}", retire_gone=False, known=NOTHING_KNOWN)
    assert table.num_rows == 0
    assert table.column_names == rules.CHANGES.names
