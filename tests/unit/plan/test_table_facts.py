"""The reason that a plan gives for an exchange of rows, or against it."""

from __future__ import annotations

import numpy as np
import pytest

from job.plan.table_facts import facts
from tests.support.counted_tables import layout

TOGETHER = np.kron(np.eye(8, dtype=int), np.ones((4, 1), int))
"""keys of which each lies in one piece"""


@pytest.mark.parametrize(
    ("rows", "exchange", "why"),
    [
        (np.ones((3, 1), int), True, "all rows lie in one part of a file"),
        (np.ones((40, 2), int), True, "the same parts of the files have rows for several tasks"),
        (np.ones((1, 1), int), False, "one task reads all of it"),
        (TOGETHER, False, "the rows of a key lie together"),
    ],
)
def test_the_reason_for_an_exchange_fits_the_number_of_parts(rows: np.ndarray, exchange: bool, why: str) -> None:
    table = layout(rows)

    found = facts(table, table.keys, table.rows.astype(float))

    assert found.exchange == exchange
    assert found.why.startswith(why)
