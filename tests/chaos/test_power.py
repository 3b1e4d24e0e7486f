"""Random schedules can fail: rules of the protocol, broken as in tests/chaos/mutations.py, are found by some of them.

``python -m tests.chaos.test_power SEEDS [RULE]`` prints the table of docs/explanation/evidence.md: each rule (those that begin with
RULE), how many seeds were played with it broken, and how many of them found something. In ``make chaos`` the first find ends
a rule's search.
"""

from __future__ import annotations

import sys
import time

import pytest

from tests.chaos import mutations, scoring_mutations
from tests.chaos.players import play
from tests.chaos.scoring_schedule import ScoringSchedule
from tests.chaos.training_schedule import TrainingSchedule

BROKEN = (
    mutations.touching_anything,
    mutations.without_order,
    mutations.without_if_match,
    mutations.without_transactions,
    mutations.outcome_before_model,
)
"""What a schedule can come upon: it has neither permissions, nor an S3 server to refuse anything."""
RARE = (
    scoring_mutations.keys_once,
    scoring_mutations.states_released_once,
    scoring_mutations.adopting_what_is_there,
)
"""Schedules have found each of these faults, but hundreds of them play without meeting one."""
PLAYED = {each.rule: (each.breaks, TrainingSchedule) for each in mutations.MUTATIONS if each.breaks in BROKEN} | {
    each.rule: (each.breaks, ScoringSchedule) for each in scoring_mutations.MUTATIONS if each.breaks not in RARE
}
PATIENCE = 400
"""seeds; the rarest find is one in seventy"""


def finds(rule: str, seed: int) -> str | None:
    """What a schedule finds in the code with this rule broken; nothing, if it ends as if all were well."""
    with pytest.MonkeyPatch.context() as patch:
        breaks, kind = PLAYED[rule]
        breaks(patch)
        try:
            problems = play(seed, kind).problems
        except Exception as error:  # a run that ends in a bug, or never comes to rest, is a find too
            problems = [f"{type(error).__name__}: {error}"]
    return problems[0] if problems else None


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("rule", PLAYED)
def test_a_broken_rule_is_found_by_a_random_schedule(rule: str) -> None:
    assert any(finds(rule, seed) for seed in range(PATIENCE))


def main(seeds: int, beginning: str = "") -> None:
    """Print the table."""
    print(
        "| rule that is broken | seeds played | found it | the first, and what it said | CPU s |\n|---|---|---|---|---|"
    )
    for rule in PLAYED:
        if not rule.startswith(beginning):
            continue
        begin, found = time.process_time(), {}
        for seed in range(seeds):
            said = finds(rule, seed)
            if said is not None:
                found[seed] = said
        first = next((f"{seed}: {said[:160]}" for seed, said in found.items()), "")
        spent = time.process_time() - begin
        print(f"| {rule} | {seeds} | {len(found)} | {first} | {spent:.0f} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
