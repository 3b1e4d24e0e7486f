"""The checks can fail: each rule of the protocol, broken on purpose by replacing one function, is caught by one of them.

Every case is played twice: as the code is, when nothing may be found, and mutated, when something must be.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.chaos.mutations import MUTATIONS, Mutation, Patch, Place


@pytest.fixture
def place(tmp_path: Path, s3: Any) -> Place:
    return Place(tmp_path, s3.endpoint)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.rule)
def test_a_broken_rule_is_found_and_a_kept_one_is_not(
    place: Place, mutation: Mutation, tmp_path_factory: pytest.TempPathFactory, s3: Any
) -> None:
    assert mutation.plays(place) == [], "the code as it is"

    again = Place(tmp_path_factory.mktemp("again"), s3.endpoint)
    with Patch.context() as patch:
        mutation.breaks(patch)
        found = mutation.plays(again)

    assert found, "nothing noticed that the rule was broken"


def test_there_are_at_least_ten() -> None:
    assert len({each.rule for each in MUTATIONS}) >= 10
