"""The checks can fail: each rule of the protocol, broken on purpose by replacing one function, is caught by one of them.

Every case is played twice: as the code is, when nothing may be found, and mutated, when something must be.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos import mutations, scoring_mutations
from tests.chaos.mutation import Mutation, Patch

MUTATIONS = [*mutations.MUTATIONS, *scoring_mutations.MUTATIONS]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.rule)
def test_a_broken_rule_is_found_and_a_kept_one_is_not(
    mutation: Mutation, tmp_path_factory: pytest.TempPathFactory, s3: Any
) -> None:
    kept, broken = (mutation.place(tmp_path_factory.mktemp(name), s3.endpoint) for name in ("kept", "broken"))
    assert mutation.plays(kept) == [], "the code as it is"

    with Patch.context() as patch:
        mutation.breaks(patch)
        found = mutation.plays(broken)

    assert found, "nothing noticed that the rule was broken"


def test_there_are_at_least_ten_for_a_training_and_for_a_scoring() -> None:
    assert len({each.rule for each in mutations.MUTATIONS}) >= 10
    assert len({each.rule for each in scoring_mutations.MUTATIONS}) >= 10
    assert len({each.rule for each in MUTATIONS}) == len(MUTATIONS)
