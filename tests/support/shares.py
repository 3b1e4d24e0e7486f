"""Which process of ``make test`` gets which tests: a file goes to one process, and the tests of Spark to the same one.

Where tests go to whoever is free, each process starts a session of Spark, and the fixtures of a file in each process
that gets some of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest
    from xdist.scheduler import LoadScopeScheduling

SPARK = "the session of Spark"
_USES_SPARK = re.compile(r"^tests/spark/|\[spark\b")
"""Tests of the folder, and those that are played on several engines by the names of these."""


def share(test: str) -> str:
    """The share that a test belongs to, by its id: its tests run in one process.

    Parameters
    ----------
    test
        Its id, from the root of the repository.
    """
    return SPARK if _USES_SPARK.search(test) else test.partition("::")[0]


def assert_shared() -> None:
    """Fail where the running test starts a session in a process that is not the one for it."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
    assert share(test) == SPARK, f"{test}: name what it is played on: spark, or move it to tests/spark"


def scheduler(config: pytest.Config, log: Callable[..., None]) -> LoadScopeScheduling:
    """Shares in the order of their first tests, so that what comes last is a single file."""
    from xdist.scheduler import LoadScopeScheduling

    class Shares(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return share(nodeid)

    config.option.loadscopereorder = False
    return Shares(config, log)
