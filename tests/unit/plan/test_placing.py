"""Where the rows of a table go, by the counts alone."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from job.plan.placing import Placement, place
from tests.support.counted_tables import layout


def placed(rows: np.ndarray, tasks: int, cores: int = 4, due: list[int] | None = None) -> Placement:
    table = layout(rows)
    chosen = table.keys if due is None else table.keys.take(pa.array(due))
    costs = rows.sum(axis=1)[np.arange(len(table.keys)) if due is None else due].astype(float)
    return place(table, chosen, costs, tasks, cores)


def test_keys_that_lie_all_over_the_table_are_exchanged_and_packed_largest_first() -> None:
    rows = np.ones((40, 12), int)
    rows[7] = 100
    found = placed(rows, 4)
    assert found.readers == 4
    assert found.assigned[7] == 0
    assert (found.assigned == 0).sum() == 1
    # Neighbouring pieces go to one reader, so that the order of blobs is that of rows.
    assert found.piece.tolist() == list(range(12))
    assert found.reader.tolist() == sorted(found.reader.tolist())
    assert set(found.reader.tolist()) == {0, 1, 2, 3}


def test_keys_that_lie_together_are_read_by_the_tasks_that_train_them() -> None:
    rows = np.zeros((40, 10), int)
    rows[np.arange(40), np.arange(40) // 4] = 10
    found = placed(rows, 4)
    assert found.readers == 0
    assert found.read_bytes <= 1.5 * found.bytes
    for key in range(40):
        mine = set(found.piece[found.reader == found.assigned[key]].tolist())
        assert key // 4 in mine
    assert np.bincount(found.assigned).tolist() == [10, 10, 10, 10]


def test_with_many_tasks_fewer_are_made_before_rows_are_exchanged() -> None:
    rows = np.zeros((40, 5), int)
    rows[np.arange(40), np.arange(40) // 8] = 10
    found = placed(rows, 32, cores=2)
    assert (found.readers, int(found.assigned.max()) + 1) == (0, 2)
    assert found.read_bytes == 6000


def test_some_pieces_are_read_twice_before_rows_are_exchanged_where_each_core_has_one_task() -> None:
    rows = np.zeros((8, 4), int)
    for key in range(8):
        rows[key, [key // 2, min(key // 2 + 1, 3)]] += 10 if key < 6 else 20  # pieces hold keys of two neighbours
    found = placed(rows, 4)
    assert (found.readers, found.read_bytes) == (0, 1.75 * found.bytes)
    rows[7, [0, 3]] = 10
    assert placed(rows, 4).readers > 0, "all pieces twice"


def test_only_pieces_that_hold_keys_that_are_due_are_read() -> None:
    rows = np.zeros((40, 10), int)
    rows[np.arange(40), np.arange(40) // 4] = 10
    found = placed(rows, 1, due=[3, 39])
    assert (found.piece.tolist(), found.bytes) == ([0, 9], 2000)
    scattered = placed(np.ones((40, 10), int), 4, due=[5, 6, 7, 8])
    assert scattered.bytes == 10_000


@pytest.mark.parametrize("tasks", [1, 3, 8])
def test_every_due_key_has_a_task_and_no_task_is_empty(tasks: int) -> None:
    random = np.random.default_rng(tasks)
    rows = random.integers(0, 2, (30, 6)) * random.integers(1, 50, (30, 6))
    rows[:, 0] = 1
    found = placed(rows, tasks)
    assert set(found.assigned.tolist()) == set(range(int(found.assigned.max()) + 1))
