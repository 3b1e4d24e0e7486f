"""The digest of a key's rows: the same for every order, another for every other set of rows."""

from __future__ import annotations

import datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from job.worker.row_digest import digests


def one(table: pa.Table) -> str:
    return digests(table, np.array([0, table.num_rows]))[0]


def every_type(rows: int = 30) -> pa.Table:
    random = np.random.default_rng(0)
    return pa.table(
        {
            "f": random.normal(size=rows),
            "i": random.integers(-5, 5, rows),
            "s": [None if each % 7 == 3 else "é" * (each % 11) + str(each) for each in range(rows)],
            "b": [None if each % 5 == 0 else each % 2 == 0 for each in range(rows)],
            "d": [datetime.date(2024, 1, 1 + each % 28) for each in range(rows)],
            "n": [Decimal(each) / 4 for each in range(rows)],
            "l": [[each, None] for each in range(rows)],
        }
    )


def test_the_order_of_rows_and_how_they_are_stored_do_not_matter() -> None:
    table = every_type()
    shuffled = table.take(pa.array(np.random.default_rng(1).permutation(30)))
    chunked = pa.concat_tables([shuffled.slice(0, 7), shuffled.slice(7)])
    sliced = pa.concat_tables([every_type(3), table]).combine_chunks().slice(3)
    assert one(table) == one(shuffled) == one(chunked) == one(sliced)
    assert one(table.set_column(1, "i", table["i"].cast(pa.int8()))) == one(table)
    assert one(table.set_column(2, "s", table["s"].cast(pa.large_string()))) == one(table)


def test_a_row_has_the_same_hash_whatever_rows_are_beside_it() -> None:
    table = every_type()
    together = digests(table, np.array([0, 10, 11, 30]))
    assert together == [one(table.slice(0, 10)), one(table.slice(10, 1)), one(table.slice(11))]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a": [1, 2], "b": [3, 4]}, {"a": [1, 2], "b": [4, 3]}),
        ({"a": [1.0]}, {"a": [1]}),
        ({"a": ["1"]}, {"a": [1]}),
        ({"a": [0.0]}, {"a": [-0.0]}),
        ({"a": [0, 1]}, {"a": [None, 1]}),
        ({"a": ["", "x"]}, {"a": [None, "x"]}),
        ({"a": ["ab", "c"]}, {"a": ["a", "bc"]}),
        ({"a": ["x"], "b": ["yz"]}, {"a": ["xy"], "b": ["z"]}),
        ({"a": [1, 1]}, {"a": [1]}),
        ({"a": [1], "b": [2]}, {"b": [1], "a": [2]}),
        ({"a": ["x" * 8]}, {"a": ["x" * 9]}),
        ({"a": ["\0"]}, {"a": [""]}),
    ],
)
def test_other_rows_have_another_digest(before: dict[str, list[object]], after: dict[str, list[object]]) -> None:
    assert one(pa.table(before)) != one(pa.table(after))
