"""The barrier: one outcome for each planned key, by a fixed rule, or an error that names what is missing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.errors import AccountingError
from job.outcome import FAILED, SCHEMA, SKIPPED, TRAINED, UNCHANGED, Outcome, to_table
from job.plan.plan import Plan
from job.run.barrier import settle
from tests.support.planned import DATA, PRINTS, planned

DIGESTS = {"low": "0" * 64, "high": "f" * 64}


def outcome(key: str, status: str = TRAINED, digest: str | None = "low", **options: Any) -> Outcome:
    name = DIGESTS.get(digest or "") if status == TRAINED else None
    given = {"data": DATA[key], "recipe": "r", "environment": "e", "digest": name, **options}
    return Outcome(key=key, status=status, **given)


def settled(plan: Plan, *outcomes: Outcome, adopted: tuple[Outcome, ...] = ()) -> dict[str, dict[str, Any]]:
    table = settle(plan, to_table(list(outcomes)), to_table(list(adopted)), PRINTS)
    assert table.num_rows == len(set(table["key"].to_pylist()))
    return {row["key"]: row for row in table.to_pylist()}


ALL = tuple(outcome(key) for key in "abc")


def test_each_planned_key_has_one_outcome() -> None:
    assert {key: row["digest"] for key, row in settled(planned(), *ALL).items()} == dict.fromkeys("abc", "0" * 64)


def test_a_key_without_an_outcome_stops_the_release_and_is_named() -> None:
    with pytest.raises(AccountingError, match=r"1 planned partitions have no outcome: 'b'\n") as caught:
        settled(planned(), outcome("a"), outcome("c"))
    assert "Nothing was published" in caught.value.hint


def test_of_many_missing_keys_ten_are_named() -> None:
    names = [f"{number:02}.csv" for number in range(12)]
    with pytest.raises(AccountingError, match=r"12 planned partitions .*'09' …\n"):
        settle(planned(*names), SCHEMA.empty_table(), SCHEMA.empty_table(), PRINTS)
    with pytest.raises(AccountingError, match=r"10 planned partitions .*'09'\n"):
        settle(planned(*names[:10]), SCHEMA.empty_table(), SCHEMA.empty_table(), PRINTS)


@pytest.mark.parametrize("other", [{"data": "x"}, {"recipe": "x"}, {"environment": "x"}, {"data": ""}])
def test_an_outcome_of_something_else_than_was_planned_does_not_count(other: dict[str, str]) -> None:
    with pytest.raises(AccountingError, match="'b'"):
        settled(planned(), outcome("a"), outcome("b", **other), outcome("c"))


def test_an_outcome_of_a_key_that_was_not_planned_does_not_count() -> None:
    plan = planned("a.csv", "b.csv")
    assert settled(plan, *ALL).keys() == {"a", "b"}
    # Not even one that has the data of the first planned key.
    stray = outcome("c", data=DATA["a"])
    assert settled(plan, stray, outcome("a"), outcome("b")).keys() == {"a", "b"}


def test_an_outcome_of_another_key_is_no_trouble_to_a_plan_of_one() -> None:
    assert settled(planned("a.csv"), outcome("c"), outcome("a")).keys() == {"a"}


RANKED = (
    outcome("a", TRAINED, "low"), outcome("a", TRAINED, "high"), outcome("a", UNCHANGED), outcome("a", SKIPPED),
    outcome("a", FAILED),
)  # fmt: skip


@given(st.permutations(range(len(RANKED))), st.integers(1, len(RANKED)))
def test_trained_goes_before_unchanged_before_skipped_before_failed_whatever_their_order(
    order: list[int], count: int
) -> None:
    some = [RANKED[at] for at in order[:count]]
    best = RANKED[min(order[:count])]
    found = settled(planned("a.csv"), *some)["a"]
    assert (found["status"], found["digest"]) == (best.status, best.digest)


def test_an_outcome_of_this_run_goes_before_one_of_another() -> None:
    own, other = outcome("a", digest="high"), outcome("a", digest="low")
    assert settled(planned("a.csv"), own, adopted=(other,))["a"]["digest"] == "f" * 64


def test_what_was_planned_as_taken_over_is_told_so_and_nothing_else_is() -> None:
    plan = planned(adopt=("b",))
    found = settled(plan, outcome("a"), outcome("c"), adopted=(outcome("b"), outcome("c")))
    assert {key: row["adopted"] for key, row in found.items()} == {"a": False, "b": True, "c": False}


def test_nothing_planned_is_nothing_settled() -> None:
    plan = planned("a.csv", published=("a",))
    assert settled(plan, outcome("a"), outcome("b")) == {}
