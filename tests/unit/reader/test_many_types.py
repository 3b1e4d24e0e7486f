"""Types of a csv column for many keys at once: a bad text keeps few keys from the fast way."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from job.reader import many_types
from job.reader.many_types import GIVEN, OPEN, ManyTypes

KEYS, ROWS = 64, 5
BOUNDS = np.arange(KEYS + 1) * ROWS
BAD = 40
"""The key with a bad text, in its last row."""


def typed(kind: pa.DataType, bad: str) -> ManyTypes:
    texts = [f" {at}.5" for at in range(KEYS * ROWS)]
    texts[(BAD + 1) * ROWS - 1] = bad
    return many_types.declared(pa.array(texts), kind, BOUNDS, ".")


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.decimal128(9, 2)])
def test_a_text_that_is_not_of_the_declared_type_leaves_its_key_open_and_few_neighbours(kind: pa.DataType) -> None:
    found = typed(kind, "oh")

    opened = np.flatnonzero(found.kinds == OPEN).tolist()
    assert BAD in opened
    assert len(opened) <= KEYS // 16
    assert set(found.kinds.tolist()) == {OPEN, GIVEN}
    assert found.columns[GIVEN].type == kind
    for key in set(range(KEYS)) - set(opened):
        mine = found.columns[GIVEN].slice(key * ROWS, ROWS).cast(pa.float64()).to_pylist()
        assert mine == [at + 0.5 for at in range(key * ROWS, (key + 1) * ROWS)]


def test_texts_that_all_have_the_declared_type_leave_no_key_open() -> None:
    assert set(typed(pa.float64(), "1").kinds.tolist()) == {GIVEN}


def test_texts_of_which_none_has_the_declared_type_leave_each_key_open() -> None:
    column = pa.array(["oh"] * KEYS * ROWS)
    found = many_types.declared(column, pa.int64(), BOUNDS, ".")

    assert set(found.kinds.tolist()) == {OPEN}
    assert found.columns[OPEN].equals(column)
