"""What the published table says of the planned keys is the same, however its rows are ordered and sliced."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from job.arrow import digest_column
from job.plan import compare
from job.plan.compare import CODE, INDEX_COLUMNS, Fingerprints
from job.reader.spec import VERSION

NAMES = st.sampled_from(["", "a", "a/b", "b", "Z", "ä", "\U0001f600", "￿", *map(str, range(12))])
DIGEST = bytes(range(32))


def row(key: str, data: bytes) -> dict[str, Any]:
    return {
        "key": key,
        "state": "live",
        "data": data.hex(),
        "recipe": "r",
        "environment": "e",
        "content": f"content of {key}",
        "seconds": float(len(key)),
        "gone_since": None,
        "reading": VERSION,
    }


def table(rows: list[dict[str, Any]]) -> pa.Table:
    types = {"seconds": pa.float64(), "reading": pa.int64()}
    return pa.table(
        {name: pa.array([each[name] for each in rows], types.get(name, pa.string())) for name in INDEX_COLUMNS}
    )


@given(
    planned=st.sets(NAMES),
    published=st.dictionaries(NAMES, st.booleans()),
    shuffled=st.randoms(use_true_random=False),
    size=st.integers(1, 7),
)
def test_each_planned_key_meets_its_own_row_in_whatever_slice_it_is(
    planned: set[str], published: dict[str, bool], shuffled: Any, size: int
) -> None:
    keys = sorted(planned, key=str.encode)
    rows = [row(key, DIGEST if same else bytes(32)) for key, same in published.items()]
    shuffled.shuffle(rows)
    slices = [table(rows[begin : begin + size]) for begin in range(0, len(rows), size)]

    found = compare.compare(
        pa.array(keys, pa.string()),
        digest_column(DIGEST * len(keys)),
        slices,
        Fingerprints(recipe="r", environment="e"),
    )

    expected = ["new" if key not in published else "unchanged" if published[key] else "data" for key in keys]
    assert found.why.tolist() == [CODE[each] for each in expected]
    assert found.seconds.tolist() == [float(len(key)) if key in published else 0.0 for key in keys]
    assert found.content.to_pylist() == [f"content of {key}" if published.get(key) is False else None for key in keys]
    assert sorted(found.absent.to_pylist()) == sorted(published.keys() - planned)
    assert found.published == len(published)
