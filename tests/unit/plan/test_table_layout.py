"""Fingerprints of the keys of a table: rows by key and file."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.plan import table_layout

ENTRIES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 6), st.integers(1, 2**40)), min_size=1)


@pytest.mark.parametrize("places", [0, 10**9])
@given(entries=ENTRIES)
def test_rows_of_a_key_in_a_file_are_added_up_in_the_order_of_keys_and_files(
    places: int, entries: list[tuple[int, int, int]]
) -> None:
    wanted: Counter[tuple[int, int]] = Counter()
    for key, file, rows in entries:
        wanted[key, file] += rows
    number, file, rows = (np.array(each, np.int64) for each in zip(*entries, strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_layout, "_PLACES", places)
        found = table_layout._by_file(number.astype(np.int32), file, rows, 7)
    assert list(zip(*(each.tolist() for each in found), strict=True)) == [
        (*pair, wanted[pair]) for pair in sorted(wanted)
    ]
