"""Rows that the gate keeps: the live model stays, what is compared with is the challenger's, and a person may publish it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from job.errors import ConfigurationError, DamageError
from job.keys import model_name
from job.outcome import champion_token
from job.registry.index import Index, changes
from job.registry.verify import verify
from job.run.retention import gc
from job.store import Store, open_store
from tests.support.published import at, dumped, line, publish, put


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two live models."""
    store = open_store(str(tmp_path))
    publish(store, {"a": line(1.0), "b": line(2.0)}, until="2024-01-01T00:00:00", skill=0.1)
    return store


def row(store: Store, key: str) -> dict[str, Any]:
    (found,) = Index(store).read(keys=[key]).to_pylist()
    return found


def token(store: Store, key: str) -> str:
    live = row(store, key)
    return champion_token(live["digest"], live["judged_until"])


def kept(store: Store, key: str, minute: int, slope: float, **more: Any) -> dict[str, Any]:
    """The change of a run whose challenger was not better."""
    made = put(store, key, dumped(line(slope)))
    told = {name: made[name] for name in ("digest", "size", "rows", "metrics", "seconds", "versions")}
    told |= {
        "run": f"run-{minute}",
        "finished_at": at(minute).timestamp(),
        "skill": 0.5,
        "until": "2024-02-01T00:00:00",
    }
    return {
        "key": key, "action": "keep", "listed_at": at(minute), "data": f"d{minute}", "content": f"c{minute}",
        "recipe": "r2", "environment": "e2", "gate": "kept", "gate_champion": -1.0, "gate_challenger": -1.1,
        "gate_rows": 40, "gate_p": 0.9, "judged_until": "2024-02-01T00:00:00", "challenger": made["digest"],
        "challenger_row": json.dumps(told), "against": token(store, key), **more,
    }  # fmt: skip


def test_a_kept_key_keeps_its_model_and_is_compared_with_the_challengers_data(store: Store) -> None:
    before = row(store, "a")
    Index(store).release(changes([kept(store, "a", 5, 1.5)]), run="run-5")
    after = row(store, "a")
    for name in ("digest", "size", "run", "trained_at", "metrics", "skill", "until", "state", "versions"):
        assert after[name] == before[name]
    assert (after["data"], after["content"], after["recipe"], after["environment"]) == ("d5", "c5", "r2", "e2")
    assert (after["gate"], after["gate_rows"], after["judged_until"]) == ("kept", 40, "2024-02-01T00:00:00")
    assert after["listed_at"] == at(5)
    assert row(store, "b")["gate"] is None


def test_a_kept_key_that_was_stale_or_gone_is_live_again(store: Store) -> None:
    index = Index(store)
    failure = {"key": "a", "state": "failed", "reason": "fit_error", "message": "x", "listed_at": at(3)}
    index.release(changes([failure, {"key": "b", "action": "gone", "listed_at": at(3)}]), run="run-3")
    assert (row(store, "a")["state"], row(store, "b")["gone_since"]) == ("stale", at(3))
    index.release(changes([kept(store, key, 5, 1.5) for key in "ab"]), run="run-5")
    assert (row(store, "a")["state"], row(store, "a")["reason"], row(store, "b")["gone_since"]) == ("live", None, None)


@pytest.mark.parametrize("action", ["keep", "put"])
def test_a_change_that_was_decided_against_another_model_is_refused(store: Store, action: str) -> None:
    index = Index(store)
    late = kept(store, "a", 6, 1.5)
    if action == "put":
        late |= {"action": "put", "state": "live", "digest": late["challenger"], "size": 1}
    publish(store, {"a": line(9.0)}, minute=5)  # another run, meanwhile
    done = index.release(changes([late, {**kept(store, "b", 6, 1.5)}]), run="run-6")
    assert done.superseded == ("a",)
    assert row(store, "a")["gate"] is None
    assert row(store, "b")["gate"] == "kept"


def test_rows_that_have_judged_do_not_judge_again_in_a_run_that_was_at_work_meanwhile(store: Store) -> None:
    """Two drivers compare with the same live model: the one that comes second is refused, whatever it found."""
    first, second = kept(store, "a", 5, 1.5), kept(store, "a", 6, 1.6)
    second |= {"action": "put", "state": "live", "digest": second["challenger"], "size": 1, "gate": "promoted"}
    index = Index(store)
    index.release(changes([first]), run="run-5")
    assert index.release(changes([second]), run="run-6").superseded == ("a",)
    assert row(store, "a")["challenger"] == first["challenger"]


def test_a_first_model_is_refused_where_there_is_one_by_now(store: Store) -> None:
    new = put(store, "c", dumped(line(3.0)), listed_at=at(6), against="", gate="first")
    publish(store, {"c": line(4.0)}, minute=5)
    assert Index(store).release(changes([new]), run="run-6").superseded == ("c",)


def test_a_keep_of_a_key_that_was_retired_is_refused(store: Store) -> None:
    late = kept(store, "a", 6, 1.5)
    Index(store).retire(["a"])
    assert Index(store).release(changes([late]), run="run-6").superseded == ("a",)
    assert Index(store).read(keys=["a"]).num_rows == 0


# ---- by hand


def test_a_challenger_is_published_by_hand(store: Store) -> None:
    index = Index(store)
    index.release(changes([kept(store, "a", 5, 1.5)]), run="run-5")
    before = row(store, "a")
    done = index.promote(["a"])
    after = row(store, "a")
    assert done.version == 3
    assert index.history()[0].operation == "promote"
    assert after["digest"] == before["challenger"]
    assert (after["gate"], after["gate_note"], after["gate_rows"]) == ("promoted", "by hand", 40)
    assert (after["challenger"], after["challenger_row"], after["judged_until"]) == (None, None, None)
    assert (after["skill"], after["until"], after["run"]) == (0.5, "2024-02-01T00:00:00", "run-5")
    assert after["trained_at"] == at(5)
    assert [after[name] for name in ("data", "content", "recipe", "environment")] == ["d5", "c5", "r2", "e2"]
    assert verify(store).damaged == ()


def test_a_run_that_listed_before_does_not_undo_it(store: Store) -> None:
    index = Index(store)
    index.release(changes([kept(store, "a", 5, 1.5)]), run="run-5")
    late = kept(store, "a", 6, 1.7)
    index.promote(["a"])
    assert index.release(changes([late]), run="run-6").superseded == ("a",)


@pytest.mark.parametrize(("keys", "message"), [(["zz"], "'zz' not published"), (["a", "b"], "no challenger of 'b'")])
def test_what_cannot_be_promoted_is_told_and_nothing_changes(store: Store, keys: list[str], message: str) -> None:
    index = Index(store)
    index.release(changes([kept(store, "a", 5, 1.5)]), run="run-5")
    with pytest.raises(ConfigurationError, match=message):
        index.promote(keys)
    assert index.version() == 2


def test_a_challenger_whose_file_is_gone_is_not_promoted(store: Store) -> None:
    Index(store).release(changes([kept(store, "a", 5, 1.5)]), run="run-5")
    store.delete([model_name("a", row(store, "a")["challenger"])])
    with pytest.raises(DamageError, match="the challenger of 'a' is not there any more"):
        Index(store).promote(["a"])


# ---- what stays, and what is looked at


def test_gc_keeps_a_challenger_as_long_as_a_version_that_names_it(store: Store) -> None:
    index = Index(store)
    index.release(changes([kept(store, "a", 5, 1.5)]), run="run-5")
    first = row(store, "a")["challenger"]
    index.release(changes([kept(store, "a", 6, 1.7)]), run="run-6")
    second = row(store, "a")["challenger"]
    gc(store, keep=2, dry_run=False, margin=0)
    assert store.head(model_name("a", first)) is not None
    gc(store, keep=1, dry_run=False, margin=0)
    assert store.head(model_name("a", first)) is None
    assert store.head(model_name("a", second)) is not None


def test_verify_reads_challengers_too(store: Store) -> None:
    Index(store).release(changes([kept(store, "a", 5, 1.5)]), run="run-5")
    assert (verify(store).checked, verify(store).damaged) == (3, ())
    store.delete([model_name("a", row(store, "a")["challenger"])])
    assert [key for key, _ in verify(store).damaged] == ["a"]


def test_a_rollback_brings_back_what_the_gate_knew_then(store: Store) -> None:
    index = Index(store)
    index.release(changes([kept(store, "a", 5, 1.5)]), run="run-5")
    index.promote(["a"])
    index.rollback(2)
    assert row(store, "a")["gate"] == "kept"
    index.promote(["a"])
    assert row(store, "a")["gate"] == "promoted"
